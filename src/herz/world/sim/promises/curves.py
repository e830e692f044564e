"""How long customers take in a queue, by how busy it is: simulated, one customer after another.

A pod is a queue with one server. Its customers come at random and take times of a given
variability; Lindley's recursion W' = max(0, W + S - A) gives every customer's wait. From many
windows that begin empty come the tail P(time in system > x) and the 99th percentile, by
utilisation, also above 1, where the queue grows until the window ends.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BUSY_MAX: Final = 2.0
BUSY_STEPS: Final = 100
"""Utilisations 0.02, 0.04, …, 2: a table's rows."""
WINDOWS: Final = 24
CUSTOMERS: Final = 1_000
"""Customers of one window; a window is a minute of one pod."""
TIMES: Final = 160
TIME_RATIO: Final = 1.06
"""Times in mean service times: 0.25 times powers of this, a table's columns."""
QUANTILE: Final = 0.99


class Queue:
    """The tables of one variability.

    Args:
        slow_share: thousandths of the customers that take long.
        slow_times: how many times as long as the others.
        seed: of its customers.
    """

    def __init__(self, slow_share: int, slow_times: int, seed: int) -> None:
        generator = random.Random(seed)
        count = WINDOWS * CUSTOMERS
        gaps = _exponential(generator, count).reshape(WINDOWS, CUSTOMERS)
        service = _exponential(generator, count)
        is_slow = np.array([generator.randrange(1000) < slow_share for _ in range(count)])
        service[is_slow] *= slow_times
        service = (service / service.mean()).reshape(WINDOWS, CUSTOMERS)
        self.times = 0.25 * np.cumprod(np.full(TIMES, TIME_RATIO))
        self._tail = np.zeros((BUSY_STEPS + 1, TIMES))
        self._quantile = np.zeros(BUSY_STEPS + 1)
        for step in range(BUSY_STEPS + 1):
            busy = max(BUSY_MAX * step / BUSY_STEPS, 0.01)
            spent = np.sort(_time_in_system(service, gaps / busy).ravel())
            self._tail[step] = 1 - np.searchsorted(spent, self.times, side="right") / count
            self._quantile[step] = spent[int(QUANTILE * count)]

    def quantile(self, busy: Floats) -> Floats:
        """The 99th percentile of the time in system, in mean service times, by utilisation."""
        step, share = _place(busy)
        low, high = self._quantile[step], self._quantile[step + 1]
        return low + (high - low) * share

    def tail(self, busy: Floats, limit: Floats) -> Floats:
        """The share of the customers who take longer than the limit, in mean service times."""
        step, share = _place(busy)
        column = np.minimum(np.searchsorted(self.times, limit), TIMES - 1)
        low, high = self._tail[step, column], self._tail[step + 1, column]
        return low + (high - low) * share


@lru_cache(maxsize=64)
def queue(slow_share: int, slow_times: int) -> Queue:
    """The tables of one variability, made once a process."""
    return Queue(slow_share, slow_times, seed=slow_share * 1_000 + slow_times)


def _time_in_system(service: Floats, gaps: Floats) -> Floats:
    """Lindley's recursion, unrolled: the sum of steps less its running minimum."""
    steps = np.zeros_like(service)
    steps[:, 1:] = service[:, :-1] - gaps[:, 1:]
    total = np.cumsum(steps, axis=1)
    waits = total - np.minimum(np.minimum.accumulate(total, axis=1), 0)
    return waits + service


def _exponential(generator: random.Random, count: int) -> Floats:
    # To a millionth: the last digits of a logarithm differ between machines, these do not.
    return np.array([int(generator.expovariate(1) * 1_000_000) + 1 for _ in range(count)]) / 1e6


def _place(busy: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    at = np.clip(busy, 0, BUSY_MAX * (1 - 1e-9)) * (BUSY_STEPS / BUSY_MAX)
    step = at.astype(np.int64)
    return step, at - step
