"""What a step of the ladder costs, and a pod in the queue: calibrates the bounds' defaults.

Run from the repository's root, on an idle machine:

    PYTHONPATH=src python bench/micro/bench_order.py

It prints the cost of a comparison by a Python comparator and of an edge visited on rungs 1 and
2, the number of steps that take 50 and 100 ms at that cost, and the cost of a pod from `add` to
`bound` on the default path. Each figure is the minimum, median and maximum of ROUNDS rounds, in
CPU time of this process.
"""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha3_256
from statistics import median
from time import process_time_ns

from herz.intake import Comparator, OrderBounds, SchedulingQueue
from herz.intake.order import Candidate, Dependency, OrderResult, order_batch

ROUNDS = 9
PODS = 8192
EDGES_EACH = 8
QUEUED = 1000

# The bounds are far away, so that a round measures all of its steps.
FAR = OrderBounds(rung1_steps_max=1 << 40, both_steps_max=1 << 41)


@dataclass(frozen=True, slots=True)
class Item:
    """A pod with nothing but what the queue reads."""

    uid: str
    namespace: str
    name: str
    priority: int
    order_key: int
    gates: tuple[str, ...] = ()
    after: tuple[Dependency, ...] = ()


def make_items(count: int, *, edges_each: int, weight: int = 1000) -> list[Item]:
    """Pods in a keyed shuffle; each comes after `edges_each` pods of lower numbers."""
    items = []
    for number in range(count):
        digest = sha3_256(str(number).encode()).digest()
        named = sorted({int.from_bytes(digest[8 + i : 10 + i]) for i in range(edges_each)})
        after = tuple(Dependency(f"p{n % number}", weight) for n in named) if number else ()
        key = int.from_bytes(digest[:8])
        unique = tuple({dependency.name: dependency for dependency in after}.values())
        items.append(Item(f"u{number}", "bench", f"p{number}", key % 7, key, (), unique))
    return items


def measure(order: Callable[[], OrderResult]) -> tuple[list[float], int, OrderResult]:
    """Nanoseconds a step of each round, the steps of a round, and the last result."""
    figures = []
    for _ in range(ROUNDS):
        start = process_time_ns()
        result = order()
        spent = process_time_ns() - start
        steps = result.comparisons + result.edges_visited
        figures.append(spent / max(1, steps))
    return figures, steps, result


def less_by_name(one: Candidate, two: Candidate) -> bool:
    """A comparator such as users write: two keys, in Python."""
    if one.item.priority != two.item.priority:
        return one.item.priority > two.item.priority
    return one.item.order_key < two.item.order_key


def show(what: str, figures: list[float], unit: str, note: str = "") -> None:
    """One line of the report."""
    low, mid, high = min(figures), median(figures), max(figures)
    print(f"{what:<34} {low:9.1f} {mid:9.1f} {high:9.1f} {unit:<9} {note}")


def bench_ladder() -> list[float]:
    """Measures the steps of each rung; returns their median costs in nanoseconds."""
    plain = [Candidate(item, n) for n, item in enumerate(make_items(PODS, edges_each=0), 1)]
    # One priority, so that every edge binds: the dearest walk.
    items = make_items(PODS, edges_each=EDGES_EACH)
    flat = [
        Candidate(Item(i.uid, i.namespace, i.name, 0, i.order_key, (), i.after), n)
        for n, i in enumerate(items, 1)
    ]
    ring = [*flat[1:], Candidate(_closing(flat), 1)]
    medians = []
    for what, order in (
        ("comparison, rung 1", lambda: order_batch(plain, Comparator("bench", less_by_name), FAR)),
        ("edge or pod visited, rung 1", lambda: order_batch(flat, None, FAR)),
        ("edge or pod visited, rung 2", lambda: order_batch(ring, None, FAR)),
    ):
        figures, steps, result = measure(order)
        show(what, figures, "ns/step", f"{steps} steps, rung {result.rung}")
        medians.append(median(figures))
    return medians


def _closing(batch: list[Candidate]) -> Item:
    """The first pod again, now after the last one: closes cycles through the whole batch."""
    item = batch[0].item
    after = (Dependency(batch[-1].item.name),)
    return Item(item.uid, item.namespace, item.name, 0, item.order_key, (), after)


def bench_queue() -> None:
    """Measures the default path, a pod at a time, and an ordered batch beside it."""
    items = make_items(QUEUED * ROUNDS, edges_each=0)
    for what, comparator in (
        ("pod, add to bound, default", None),
        ("pod, add to bound, comparator", Comparator("bench", less_by_name)),
    ):
        figures = []
        for number in range(ROUNDS):
            queue = SchedulingQueue(comparator=comparator)
            batch = items[number * QUEUED : (number + 1) * QUEUED]
            start = process_time_ns()
            for item in batch:
                queue.add(item, 0)
            while (pod := queue.pop()) is not None:
                queue.reserved(pod)
                queue.binding(pod)
                queue.bound(pod)
            figures.append((process_time_ns() - start) / QUEUED)
        show(what, figures, "ns/pod", f"{QUEUED} pods")


def main() -> None:
    """Prints the report."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python", end=" ")
    print(f"{platform.python_version()}; minimum, median, maximum of {ROUNDS}")
    gc.disable()
    bench_queue()
    dearest = max(bench_ladder())
    for milliseconds in (50, 100):
        print(f"{milliseconds} ms at the dearest: {milliseconds * 1e6 / dearest:.0f} steps")
    defaults = OrderBounds()
    print(f"defaults: {defaults.rung1_steps_max} and {defaults.both_steps_max} steps", end=", ")
    print(f"{defaults.rung1_steps_max * dearest / 1e6:.0f} and", end=" ")
    print(f"{defaults.both_steps_max * dearest / 1e6:.0f} ms here")


if __name__ == "__main__":
    main()
