"""Whether a model on trial takes the place of the one in force, and when it is taken back.

Comes in: outcomes of placements for which both models said a probability before anything was
known. Goes out: one verdict. All terms are fixed before the first outcome comes:

- A trial ends at the first outcome with which there are enough outcomes, violations, pods and
  windows, and is judged once: no gain that was seen so far has a say in when.
- The candidate is promoted if the lower bound of the mean Brier improvement is above 0. The bound
  of candidate number k is one-sided at 0.05 / (k (k + 1)): for the first that is the 95 % interval,
  and over all candidates that there will ever be the chance to promote one that is no better is at
  most 5 %, for these numbers add up to it.
- After a promotion the model before is the one on trial. At `LOOKS` looks, each at an equal part of
  5 %, the promotion is taken back if the one before is better by the same bound.

Outcomes hang together, by the pod and by the hour, so the bound's variance is the larger one of
those between pods and between windows. A placement that was explored weighs by one over how
likely it was.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final, Literal

from herz.feedback.observe.promises import PlacementOutcome

OUTCOMES_MIN: Final = 1_000
VIOLATIONS_MIN: Final = 50
CLUSTERS_MIN: Final = 30
"""Fewer pods or windows than this tell nothing of the variance between them."""
ERROR: Final = 0.05
LOOK_EVERY: Final = 250
LOOKS: Final = 4
LOOK_WINDOWS: Final = 10
"""Look k is at the first outcome with which there are `LOOK_EVERY` times k, of `CLUSTERS_MIN` pods,
in `CLUSTERS_MIN` windows and so many more for each look before."""
WINDOW_MAX: Final = 1_000
"""Bound: of more outcomes in a window, the first count. A class of many pods must not fill a trial
with a few windows: nothing could be said of the variance between them."""
OUTCOMES_MAX: Final = 200_000
"""Bound: a trial that has not ended by then ends without a promotion."""
WHOLE: Final = 10_000
PARTS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trial came to.

    Args:
        says: `wait` for more outcomes; `promote` the candidate or `keep` what is in force; or,
            after a promotion, `roll-back` or `settled`.
        outcomes: how many counted.
        violations: in how many of them the promise was broken.
        mean: mean Brier improvement of the model on trial over the one in force.
        low: its lower bound at `error`; None where there is too little to tell.
        error: one-sided chance of a bound that is too high.
        clusters: of how many pods, or in how many windows, whichever are fewer.
    """

    says: Literal["wait", "promote", "keep", "roll-back", "settled"]
    outcomes: int
    violations: int
    mean: float = 0.0
    low: float | None = None
    error: float = 0.0
    clusters: int = 0


@dataclass(frozen=True, slots=True)
class _Compared:
    gain: float
    weight: float
    pod: str
    window: int


class _Pairs:
    """Outcomes that count: those of this policy, after the cut, for which both models spoke."""

    def __init__(self, policy: str, cut_window: int) -> None:
        self._policy, self._cut = policy, cut_window
        # Bound: OUTCOMES_MAX.
        self.seen: list[_Compared] = []
        self.violations = 0
        self._pods: set[str] = set()
        self._windows: Counter[int] = Counter()

    def add(self, outcome: PlacementOutcome) -> bool:
        """Whether the outcome counts."""
        placed = outcome.placement
        if placed.policy != self._policy or outcome.window <= self._cut:
            return False
        if placed.probability < 0 or placed.shadow < 0 or len(self.seen) >= OUTCOMES_MAX:
            return False
        if self._windows[outcome.window] >= WINDOW_MAX:
            return False
        kept = float(outcome.is_kept)
        ours, theirs = ((p / WHOLE - kept) ** 2 for p in (placed.probability, placed.shadow))
        share = PARTS if placed.propensity < 0 else max(placed.propensity, 1)
        self.seen.append(_Compared(ours - theirs, PARTS / share, outcome.uid, outcome.window))
        self.violations += not outcome.is_kept
        self._pods.add(outcome.uid)
        self._windows[outcome.window] += 1
        return True

    def has(self, outcomes: int, windows: int) -> bool:
        """Whether there are so many, of enough pods."""
        is_wide = len(self._pods) >= CLUSTERS_MIN and len(self._windows) >= windows
        return is_wide and len(self.seen) >= outcomes

    @property
    def clusters(self) -> int:
        """How many pods or windows there are, whichever are fewer."""
        return min(len(self._pods), len(self._windows))

    def waiting(self, error: float) -> Verdict:
        """How much there is so far; of gains nothing is said."""
        count = len(self.seen)
        return Verdict("wait", count, self.violations, error=error, clusters=self.clusters)

    def verdict(self, says: Literal["keep", "settled"], error: float) -> Verdict:
        """What there is now, with the bound; who asks looks at that."""
        mean, low = self.bound(error)
        return Verdict(says, len(self.seen), self.violations, mean, low, error, self.clusters)

    def bound(self, error: float) -> tuple[float, float | None]:
        """Mean improvement by the model on trial, and its lower bound."""
        total = math.fsum(one.weight for one in self.seen)
        if not total:
            return 0.0, None
        mean = math.fsum(one.weight * one.gain for one in self.seen) / total
        pods = _spread(((one.pod, one) for one in self.seen), mean)
        windows = _spread(((one.window, one) for one in self.seen), mean)
        if self.clusters < CLUSTERS_MIN:
            return mean, None
        return mean, mean - student(1 - error, self.clusters - 1) * max(pods, windows) / total


class Trial:
    """One candidate beside the model in force.

    Args:
        policy: digest of the policy that has both.
        number: how many candidates there have been, this one included.
        cut_window: the last window that training may have seen.
    """

    def __init__(self, policy: str, number: int, cut_window: int = -1) -> None:
        assert number >= 1, "candidates are counted from 1"
        self.error: float = ERROR / (number * (number + 1))
        self._pairs = _Pairs(policy, cut_window)
        self._verdict: Verdict | None = None

    def add(self, outcome: PlacementOutcome) -> Verdict:
        """One more outcome; once there is a verdict other than `wait`, it stays."""
        pairs = self._pairs
        if self._verdict is not None or not pairs.add(outcome):
            return self.verdict
        count, broken = len(pairs.seen), pairs.violations
        is_enough = count >= OUTCOMES_MIN and broken >= VIOLATIONS_MIN
        if (is_enough and pairs.clusters >= CLUSTERS_MIN) or count >= OUTCOMES_MAX:
            found = pairs.verdict("keep", self.error)
            if found.low is not None and found.low > 0 and broken >= VIOLATIONS_MIN:
                found = replace(found, says="promote")
            self._verdict = found
        return self.verdict

    @property
    def verdict(self) -> Verdict:
        """What can be said now."""
        return self._verdict or self._pairs.waiting(self.error)


class Watch:
    """A model that was promoted, beside the one before, which is on trial now.

    Args:
        policy: digest of the policy that has both.
        cut_window: the last window before the promotion.
    """

    def __init__(self, policy: str, cut_window: int = -1) -> None:
        self.error: float = ERROR / LOOKS
        self._pairs = _Pairs(policy, cut_window)
        self._looks = 0
        self._verdict: Verdict | None = None

    def add(self, outcome: PlacementOutcome) -> Verdict:
        """One more outcome; `roll-back` and `settled` stay."""
        pairs = self._pairs
        if self._verdict is not None or not pairs.add(outcome):
            return self.verdict
        is_full = len(pairs.seen) >= OUTCOMES_MAX
        windows = CLUSTERS_MIN + LOOK_WINDOWS * self._looks
        if is_full or pairs.has(LOOK_EVERY * (self._looks + 1), windows):
            self._looks += 1
            found = pairs.verdict("settled", self.error)
            if found.low is not None and found.low > 0:
                self._verdict = replace(found, says="roll-back")
            elif is_full or self._looks == LOOKS:
                self._verdict = found
        return self.verdict

    @property
    def verdict(self) -> Verdict:
        """What can be said now."""
        return self._verdict or self._pairs.waiting(self.error)


def student(share: float, freedom: int) -> float:
    """Quantile of Student's distribution, by the expansion around the normal one.

    Within 1 % for 29 degrees of freedom and shares up to 0.9995; never below the normal quantile
    for shares above a half.
    """
    z = NormalDist().inv_cdf(share)
    one = (z**3 + z) / 4
    two = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    three = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + one / freedom + two / freedom**2 + three / freedom**3


def _spread(clustered: Iterable[tuple[Hashable, _Compared]], mean: float) -> float:
    """Root of the sum of the clusters' squared deviations, with its correction."""
    sums: dict[Hashable, float] = {}
    for name, one in clustered:
        sums[name] = sums.get(name, 0.0) + one.weight * (one.gain - mean)
    count = len(sums)
    total = math.fsum(each * each for each in sums.values())
    return math.sqrt(total * count / max(count - 1, 1))
