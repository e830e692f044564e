"""The ladder: the order of a batch, on the highest of three rungs that its bounds allow.

Step: queue. In comes a snapshot of the batch, out goes an `OrderResult`. It is a pure function:
bounds are counts of comparisons and of edges visited, never milliseconds.

1. Stable sort by (priority, then dependencies, then sequence). A configured comparator replaces
   the priority. Among pods of one priority a pod comes after those that it names; an edge
   against the priority is overruled, and recorded.
2. When rung 1 passes its bound, or the dependency graph has over 10,000 nodes or a cycle:
   topological order over the strong edges (weight over 0.85), whatever the priorities; where
   the edges leave a choice, rung 1's base order decides. Weak edges are dropped, those in cycles
   first, then the lightest, at most 15 % of all; the weak edges beyond that are kept where they
   close no circle. Edges inside a circle that is left cannot all hold: they are `broken`.
3. When both together pass the second bound: first in, first out, by sequence.

Every descent is in the result with its reason. The order ends in the sequence, which is unique:
there are no ties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from herz.errors import ConfigError, InvariantError
from herz.intake.order.candidate import Candidate
from herz.intake.order.comparator import Comparator, ComparatorFault, safe_sort
from herz.intake.order.digest import digest_of
from herz.intake.order.graph import (
    Edge,
    Graph,
    build_graph,
    count_named,
    find_cycles,
    topological_order,
)

RUNG_SORTED: Final = 1
RUNG_TOPOLOGICAL: Final = 2
RUNG_FIFO: Final = 3


def checked_rung(rung: int) -> int:
    """The rung of an `OrderLimited` event.

    Raises:
        ConfigError: there is no such rung.
    """
    if not RUNG_SORTED <= rung <= RUNG_FIFO:
        raise ConfigError(
            "no rung of the order",
            where="OrderLimited.rung",
            value=rung,
            fix=f"give a rung from {RUNG_SORTED} to {RUNG_FIFO}",
        )
    return rung


@dataclass(frozen=True, slots=True)
class OrderBounds:
    """The bounds of the ladder; part of the policy.

    A step is one comparison by a comparator, one name looked up, one edge visited, or one pod
    with dependencies visited by a walk over the graph. What is linear in the batch alone (the
    pods that no edge touches) is bounded by `batch_max` and not counted.

    The defaults are about 50 ms and 100 ms at the dearest step. Measured on 2 virtual CPUs (AMD
    EPYC, Python 3.11.7, shared with other work) by `python bench/micro/bench_order.py`: 0.72 to
    0.87 us a comparison, 1.3 us a step on rung 1 and 0.9 to 1.0 us on rung 2.

    Attributes:
        rung1_steps_max: steps after which rung 1 is left.
        both_steps_max: steps of rung 1 and 2 together after which rung 2 is left.
        graph_nodes_max: pods with dependencies above which rung 1 is left.
        weak_thousandths_max: an edge of this weight or less is weak.
        dropped_percent_max: how many of all edges rung 2 may drop.
    """

    rung1_steps_max: int = 40_000
    both_steps_max: int = 80_000
    graph_nodes_max: int = 10_000
    weak_thousandths_max: int = 850
    dropped_percent_max: int = 15

    def __post_init__(self) -> None:
        """Refuses bounds that contradict each other.

        Raises:
            ConfigError: names the bound and its remedy.
        """
        if not 0 <= self.rung1_steps_max <= self.both_steps_max:
            raise ConfigError(
                "bound out of range",
                where="queue.order.rung1_steps_max",
                value=self.rung1_steps_max,
                fix=f"use 0 to both_steps_max ({self.both_steps_max})",
            )
        if self.graph_nodes_max < 0:
            raise ConfigError(
                "bound out of range",
                where="queue.order.graph_nodes_max",
                value=self.graph_nodes_max,
                fix="use 0 or more",
            )
        if not 0 <= self.dropped_percent_max <= 100 or not 0 <= self.weak_thousandths_max <= 1000:
            raise ConfigError(
                "weak edges out of range",
                where="queue.order",
                value=(self.weak_thousandths_max, self.dropped_percent_max),
                fix="use weak_thousandths_max 0 to 1000 and dropped_percent_max 0 to 100",
            )


class Descent(NamedTuple):
    """One step down the ladder.

    Attributes:
        rung: the rung that was reached.
        reason: `comparisons`, `edges`, `nodes`, `cycle`, or `driver` (a logged input).
    """

    rung: int
    reason: str


class EdgeReference(NamedTuple):
    """An edge by its pods, as `namespace/name`: `before` was to be decided before `after`."""

    before: str
    after: str
    weight_thousandths: int


@dataclass(frozen=True, slots=True)
class OrderResult:
    """The order of a batch, and how it was found.

    Attributes:
        order: the batch's candidates, first to be decided first.
        rung: the rung that gave the order.
        descents: each step down, in order; () on rung 1.
        comparisons: calls of the comparator.
        edges_visited: names looked up, and edges and pods with edges visited by walks.
        edge_count: edges of the batch's graph; 0 when none was built.
        overruled: edges against the priority (rung 1).
        dropped: weak edges left out (rung 2), at most 15 % of all.
        broken: edges inside a circle that dropping could not open (rung 2).
        cycles: the members of each cycle of the graph, as `namespace/name`.
        fault: why the comparator is to be taken out of service; the order is then the default.
    """

    order: tuple[Candidate, ...]
    rung: int
    descents: tuple[Descent, ...] = ()
    comparisons: int = 0
    edges_visited: int = 0
    edge_count: int = 0
    overruled: tuple[EdgeReference, ...] = ()
    dropped: tuple[EdgeReference, ...] = ()
    broken: tuple[EdgeReference, ...] = ()
    cycles: tuple[tuple[str, ...], ...] = ()
    fault: ComparatorFault | None = None


class _Climb:
    """The work done on one batch, and what it found."""

    def __init__(self, bounds: OrderBounds, rung: int) -> None:
        self.bounds = bounds
        self.rung = rung
        self.descents = [Descent(rung, "driver")] if rung > RUNG_SORTED else []
        self.comparisons = 0
        self.edges_visited = 0
        self.overruled: list[Edge] = []
        self.dropped: list[Edge] = []
        self.broken: list[Edge] = []
        self.cycles: list[tuple[int, ...]] = []
        self.fault: ComparatorFault | None = None

    def descend(self, rung: int, reason: str) -> None:
        """Goes down to a rung; going to the rung where it is, or up, changes nothing."""
        if rung > self.rung:
            self.rung = rung
            self.descents.append(Descent(rung, reason))

    def spend(self, edges: int) -> bool:
        """Counts work that is about to be done on this rung; False when the rung is left instead.

        Work that would pass the rung's bound is neither done nor counted.
        """
        total = self.comparisons + self.edges_visited + edges
        if self.rung == RUNG_SORTED and total > self.bounds.rung1_steps_max:
            self.descend(RUNG_TOPOLOGICAL, "edges")
            self._fits_both(total)
            return False
        if not self._fits_both(total):
            return False
        self.edges_visited += edges
        return True

    def _fits_both(self, total: int) -> bool:
        """Whether this many steps are within both rungs' bound; else goes to the last rung."""
        if total > self.bounds.both_steps_max:
            self.descend(RUNG_FIFO, "edges")
        return self.rung < RUNG_FIFO


def order_batch(
    batch: Sequence[Candidate],
    comparator: Comparator | None = None,
    bounds: OrderBounds | None = None,
    *,
    rung_min: int = RUNG_SORTED,
) -> OrderResult:
    """The batch in the order in which it is to be decided.

    Args:
        batch: the pods in any order, with unique sequences; left as it is.
        comparator: a configured QueueSort; None for the default order.
        bounds: None for the defaults.
        rung_min: the rung to begin on, above 1 where a logged input of the driver says so.

    Raises:
        InvariantError: the order found is no permutation of the batch.

    Cost: O(n) for a sorted batch without dependencies; else bounded by `bounds`.
    """
    climb = _Climb(bounds or OrderBounds(), rung_min)
    base, classes = _base_order(batch, comparator, climb)
    graph = Graph((), 0)
    places: Sequence[int] | None = range(len(base))
    if any(candidate.item.after for candidate in base) and climb.rung < RUNG_FIFO:
        built = _build_within(base, climb)
        graph = built or graph
        places = None
        if built is not None and climb.rung == RUNG_SORTED:
            places = _sorted_rung(len(base), classes, built, climb)
        if built is not None and climb.rung == RUNG_TOPOLOGICAL:
            places = _topological_rung(len(base), built, climb)
    if climb.rung == RUNG_FIFO:
        order = sorted(base, key=_by_sequence)
    else:
        assert places is not None, "a rung above the last gives an order"
        order = [base[place] for place in places]
    _check_permutation(batch, order)
    return _result(order, base, graph, climb)


def _base_order(
    batch: Sequence[Candidate], comparator: Comparator | None, climb: _Climb
) -> tuple[Sequence[Candidate], Sequence[int]]:
    """The batch by its first key, then by sequence, and each place's class of equal first keys.

    The integer sort of the default order is not counted: the batch comes sorted from the
    buckets, and at worst it is bounded by the size of a batch.
    """
    if comparator is not None and climb.rung == RUNG_SORTED:
        outcome = safe_sort(batch, comparator, climb.bounds.rung1_steps_max)
        climb.comparisons = outcome.comparisons
        climb.fault = outcome.fault
        if outcome.is_over_bound:
            climb.descend(RUNG_TOPOLOGICAL, "comparisons")
        elif outcome.fault is None:
            return outcome.order, outcome.classes
    base = sorted(batch, key=_by_priority)
    return base, [-candidate.item.priority for candidate in base]


def _build_within(base: Sequence[Candidate], climb: _Climb) -> Graph | None:
    """The graph, or None when building it would pass the second bound."""
    named = count_named(base)
    # Rung 2 needs the graph as well: what the first bound refuses is asked of the second.
    if not climb.spend(named) and not climb.spend(named):
        return None
    graph = build_graph(base)
    if graph.node_count > climb.bounds.graph_nodes_max:
        climb.descend(RUNG_TOPOLOGICAL, "nodes")
    return graph


def _sorted_rung(
    count: int, classes: Sequence[int], graph: Graph, climb: _Climb
) -> list[int] | None:
    """Rung 1: the edges among equals hold; None when this rung is left."""
    among_equals = [edge for edge in graph.edges if classes[edge.before] == classes[edge.after]]
    against = [edge for edge in graph.edges if classes[edge.before] > classes[edge.after]]
    if climb.rung > RUNG_SORTED or not climb.spend(graph.node_count + len(graph.edges)):
        return None
    places = topological_order(count, among_equals)
    has_cycle = len(places) < count
    if against and not has_cycle:
        # A cycle over several priorities needs an edge against them. It harms no order on this
        # rung, but the graph has it: the issue sends such a batch to rung 2.
        if not climb.spend(graph.node_count + len(graph.edges)):
            return None
        has_cycle = len(topological_order(count, graph.edges)) < count
    if has_cycle:
        climb.descend(RUNG_TOPOLOGICAL, "cycle")
        return None
    climb.overruled = against
    return places


def _topological_rung(count: int, graph: Graph, climb: _Climb) -> list[int] | None:
    """Rung 2: the strong edges hold; None when this rung is left."""
    if not climb.spend(graph.node_count + 2 * len(graph.edges)):
        return None
    climb.cycles = find_cycles(count, graph.edges)
    climb.dropped, kept = _drop_weak(graph.edges, _members(climb.cycles), climb.bounds)
    if climb.cycles:
        # Two more searches: for circles with weak edges left, then for wholly strong ones.
        if not climb.spend(2 * (graph.node_count + 2 * len(graph.edges))):
            return None
        weak_max = climb.bounds.weak_thousandths_max
        kept = _break_circles(count, kept, weak_max, climb)
        kept = _break_circles(count, kept, 1000, climb)
    if not climb.spend(graph.node_count + len(kept)):
        return None
    places = topological_order(count, kept)
    assert len(places) == count, "no circle is left"
    return places


def _drop_weak(
    edges: Sequence[Edge], group_of: dict[int, int], bounds: OrderBounds
) -> tuple[list[Edge], list[Edge]]:
    """The weak edges that are left out, and the other edges, each in the graph's order."""
    allowed = len(edges) * bounds.dropped_percent_max // 100
    weak = [edge for edge in edges if edge.weight_thousandths <= bounds.weak_thousandths_max]
    # Tie: an edge is unique by its two places.
    weak.sort(
        key=lambda edge: (
            not _is_inside(edge, group_of),
            edge.weight_thousandths,
            edge.after,
            edge.before,
        )
    )
    dropped = frozenset(weak[:allowed])
    kept = [edge for edge in edges if edge not in dropped]
    return [edge for edge in edges if edge in dropped], kept


def _break_circles(count: int, edges: list[Edge], weight_max: int, climb: _Climb) -> list[Edge]:
    """Takes the edges up to a weight out of the circles that are left; returns the others."""
    group_of = _members(find_cycles(count, edges))
    if not group_of:
        return edges
    kept: list[Edge] = []
    for edge in edges:
        is_broken = edge.weight_thousandths <= weight_max and _is_inside(edge, group_of)
        (climb.broken if is_broken else kept).append(edge)
    return kept


def _members(cycles: Iterable[tuple[int, ...]]) -> dict[int, int]:
    """The number of the cycle of each place that is in one."""
    return {place: number for number, cycle in enumerate(cycles) for place in cycle}


def _is_inside(edge: Edge, group_of: dict[int, int]) -> bool:
    """Whether both ends are members of one cycle's group."""
    group = group_of.get(edge.before)
    return group is not None and group == group_of.get(edge.after)


def _check_permutation(batch: Sequence[Candidate], order: Sequence[Candidate]) -> None:
    """The postcondition of every rung. Raises InvariantError."""
    found = digest_of(candidate.item.order_key for candidate in order)
    wanted = digest_of(candidate.item.order_key for candidate in batch)
    if len(order) != len(batch) or found != wanted:
        raise InvariantError(
            f"the order of {len(batch)} pods has {len(order)}, digest {found:#x} for {wanted:#x}"
        )


def _result(
    order: Sequence[Candidate], base: Sequence[Candidate], graph: Graph, climb: _Climb
) -> OrderResult:
    """The climb in terms of pods instead of places."""

    def refer(edges: Iterable[Edge]) -> tuple[EdgeReference, ...]:
        return tuple(
            EdgeReference(base[before].reference, base[after].reference, weight)
            for before, after, weight in edges
        )

    is_fifo = climb.rung == RUNG_FIFO
    return OrderResult(
        order=tuple(order),
        rung=climb.rung,
        descents=tuple(climb.descents),
        comparisons=climb.comparisons,
        edges_visited=climb.edges_visited,
        edge_count=len(graph.edges),
        overruled=refer(climb.overruled),
        # On the last rung no edge holds, so none is said to be left out.
        dropped=() if is_fifo else refer(climb.dropped),
        broken=() if is_fifo else refer(climb.broken),
        cycles=tuple(tuple(base[place].reference for place in cycle) for cycle in climb.cycles),
        fault=climb.fault,
    )


def _by_priority(candidate: Candidate) -> tuple[int, int]:
    """The key of the default order."""
    return -candidate.item.priority, candidate.sequence


def _by_sequence(candidate: Candidate) -> int:
    """The key of the last rung."""
    return candidate.sequence
