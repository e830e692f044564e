"""The dependency graph of one batch, and the two walks over it.

Step: queue. Pods are places in the batch's base order (0 is decided first when nothing else is
said), edges say "before". Each walk's cost is known before it starts, in edges and nodes, so a
bound can refuse it without a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from herz.intake.order.candidate import Candidate


class Edge(NamedTuple):
    """One dependency inside the batch.

    Attributes:
        before: place of the pod that was named.
        after: place of the pod that carries the annotation.
        weight_thousandths: 0 to 1000.
    """

    before: int
    after: int
    weight_thousandths: int


class Graph(NamedTuple):
    """The edges of a batch.

    Attributes:
        edges: in the order of `after`, then of the annotation.
        node_count: the pods that an edge touches.
    """

    edges: tuple[Edge, ...]
    node_count: int


def count_named(batch: Sequence[Candidate]) -> int:
    """How many names the annotations of the batch have; the cost of `build_graph` in edges."""
    return sum(len(candidate.item.after) for candidate in batch)


def build_graph(base: Sequence[Candidate]) -> Graph:
    """The graph of the batch in its base order. Names outside the batch make no edge.

    Cost: O(pods + names).
    """
    places: dict[tuple[str, str], int] = {}
    for place, candidate in enumerate(base):
        # Tie: two pods of one name (one is about to vanish): the first in the base order counts.
        places.setdefault((candidate.item.namespace, candidate.item.name), place)
    edges: list[Edge] = []
    nodes: set[int] = set()
    for place, candidate in enumerate(base):
        for name, weight in candidate.item.after:
            before = places.get((candidate.item.namespace, name))
            if before is not None:
                edges.append(Edge(before, place, weight))
                nodes.add(before)
                nodes.add(place)
    return Graph(tuple(edges), len(nodes))


def topological_order(count: int, edges: Iterable[Edge]) -> list[int]:
    """The places 0 to count - 1, each as early as the edges and its number allow.

    A pod waits for those it names and lets the others pass; nobody is pulled forward by being
    named. Shorter than `count` when there is a cycle: its members, and those behind it, lack.

    Cost: O(count + edges), and O(log n) for a pod that waits.
    """
    blocked: dict[int, int] = {}
    successors: dict[int, list[int]] = {}
    for before, after, _ in edges:
        successors.setdefault(before, []).append(after)
        blocked[after] = blocked.get(after, 0) + 1
    left = dict(blocked)
    # Tie: none, places are unique.
    freed: list[int] = []
    order: list[int] = []
    # One more turn than there are places, so that those freed by the last one come out too.
    for place in range(count + 1):
        while freed and freed[0] < place:
            _emit(heappop(freed), order, successors, left, freed)
        if place < count and place not in blocked:
            _emit(place, order, successors, left, freed)
    return order


def _emit(
    place: int,
    order: list[int],
    successors: dict[int, list[int]],
    left: dict[int, int],
    freed: list[int],
) -> None:
    """Decides a place next and frees those that waited for it last."""
    order.append(place)
    for after in successors.get(place, ()):
        left[after] -= 1
        if not left[after]:
            heappush(freed, after)


def find_cycles(count: int, edges: Sequence[Edge]) -> list[tuple[int, ...]]:
    """The strongly connected groups of two or more places, and places that wait for themselves.

    Each group is sorted, and the groups are sorted by their first place.

    Cost: O(count + edges); the costly part only for the places in or behind a cycle.
    """
    done = set(topological_order(count, edges))
    if len(done) == count:
        return []
    successors: dict[int, list[int]] = {p: [] for p in range(count) if p not in done}
    cycles: list[tuple[int, ...]] = []
    for before, after, _ in edges:
        if before not in done and after not in done:
            successors[before].append(after)
            if before == after:
                cycles.append((before,))
    groups = _strong_components(successors)
    alone = {member for group in groups if len(group) > 1 for member in group}
    cycles = [cycle for cycle in dict.fromkeys(cycles) if cycle[0] not in alone]
    return sorted(cycles + [tuple(sorted(group)) for group in groups if len(group) > 1])


def _strong_components(successors: dict[int, list[int]]) -> list[list[int]]:
    """Tarjan's strongly connected components, without recursion.

    Source: R. Tarjan, Depth-first search and linear graph algorithms, SIAM J. Comput. 1972.
    """
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    components: list[list[int]] = []
    for root in successors:
        if root in number:
            continue
        # A frame is a place and how many of its successors are walked.
        frames: list[tuple[int, int]] = [(root, 0)]
        while frames:  # Bound: each edge is walked once
            place, walked = frames.pop()
            if walked == 0:
                number[place] = low[place] = len(number)
                stack.append(place)
                on_stack.add(place)
            elif (child := successors[place][walked - 1]) in on_stack:
                low[place] = min(low[place], low[child])
            if walked < len(successors[place]):
                frames.append((place, walked + 1))
                child = successors[place][walked]
                if child not in number:
                    frames.append((child, 0))
            elif low[place] == number[place]:
                components.append(_pop_component(place, stack, on_stack))
    return components


def _pop_component(root: int, stack: list[int], on_stack: set[int]) -> list[int]:
    """Takes the finished component off Tarjan's stack."""
    component: list[int] = []
    while not component or component[-1] != root:  # Bound: the component's members
        component.append(stack.pop())
        on_stack.discard(component[-1])
    return component
