"""The safe sort: a user's comparator, held at arm's length.

Step: queue. In comes a batch and a comparator, out goes an order, or a fault that names the
comparator and the pods. The caller's list is never touched; comparisons are counted and bounded;
what the comparator says is checked for a strict weak order (irreflexive, asymmetric, transitive,
and with transitive incomparability).

The check is a sample whose size is a count, so it finds faults "as seen", never all of them: every
neighbour in the result, and pairs at distances 2, 4, 8, …, about n in all; every pair up to
EXHAUSTIVE_MAX pods. `herz fuzz` searches deeper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cmp_to_key
from typing import Final

from herz.errors import ConfigError
from herz.intake.order.candidate import Candidate, Less
from herz.intake.order.digest import digest_of

# Up to this many pods every pair is asked about: at most 120 pairs, 240 calls.
EXHAUSTIVE_MAX: Final = 16


class FaultKind(Enum):
    """How a comparator failed."""

    RAISED = "raised an exception"
    NO_BOOL = "answered with something else than True or False"
    NOT_IRREFLEXIVE = "puts a pod before itself"
    NOT_ASYMMETRIC = "puts each of two pods before the other"
    NOT_TRANSITIVE = "is not transitive"
    NOT_PERMUTATION = "lost or doubled a pod"


@dataclass(frozen=True, slots=True)
class ComparatorFault:
    """Why a comparator was taken out of service.

    Attributes:
        comparator: its name.
        kind: what it did.
        pods: the pods concerned, `namespace/name`, in the order that the detail speaks of them.
        detail: the contradiction, or the exception.
    """

    comparator: str
    kind: FaultKind
    pods: tuple[str, ...]
    detail: str

    @property
    def error(self) -> ConfigError:
        """The fault as an error for the user."""
        return ConfigError(
            f"the comparator {self.kind.value}: {self.detail}",
            where=f"queueSort {self.comparator}",
            value=list(self.pods),
            fix="make it a strict weak order (compare tuples of fixed keys); until then the"
            " default order is used",
        )


@dataclass(frozen=True, slots=True)
class Comparator:
    """A named QueueSort comparator.

    Attributes:
        name: the plugin's name.
        less: whether the first pod is decided strictly before the second. It must be a pure
            function of its two arguments.
    """

    name: str
    less: Less


@dataclass(frozen=True, slots=True)
class SortOutcome:
    """What the safe sort gave.

    Attributes:
        order: the sorted batch; () when there is a fault or the bound was met.
        classes: for each place of `order` the number of its class of equals, from 0 up.
        comparisons: calls of the comparator.
        fault: why the comparator is not to be used again; None when nothing was seen.
        is_over_bound: whether the sort was given up for its number of comparisons.
    """

    order: tuple[Candidate, ...]
    classes: tuple[int, ...]
    comparisons: int
    fault: ComparatorFault | None = None
    is_over_bound: bool = False


class _OverBoundError(Exception):
    """The sort asked more often than it may."""


class _FaultyError(Exception):
    """The comparator failed; carries the fault."""

    def __init__(self, fault: ComparatorFault) -> None:
        self.fault = fault
        super().__init__(fault.detail)


def safe_sort(
    batch: Sequence[Candidate], comparator: Comparator, comparisons_max: int
) -> SortOutcome:
    """The batch, stably sorted by the comparator; equals by their sequence.

    Args:
        batch: the pods; left as they are.
        comparator: user code; its exceptions become faults.
        comparisons_max: calls of the comparator, those of the check included.

    Cost: at most n·⌈log2 n⌉ calls to sort and about 5·n to check.
    """
    asked = _Asked(comparator, comparisons_max)
    try:
        # A copy, in sequence order: `sorted` is stable, so sequence is the last key.
        copy = sorted(batch, key=lambda candidate: candidate.sequence)
        for candidate in copy[:1] + copy[-1:]:
            asked.check_irreflexive(candidate)
        order = sorted(copy, key=cmp_to_key(asked.compare))
        asked.check_permutation(batch, order)
        classes = _classes(order, asked)
        _check_pairs(order, classes, asked)
    except _OverBoundError:
        return SortOutcome((), (), asked.count, is_over_bound=True)
    except _FaultyError as faulty:
        return SortOutcome((), (), asked.count, fault=faulty.fault)
    return SortOutcome(tuple(order), tuple(classes), asked.count)


class _Asked:
    """The comparator behind a counter and a catch-all."""

    __slots__ = ("_limit", "_name", "_user_less", "count")

    def __init__(self, comparator: Comparator, limit: int) -> None:
        self._user_less = comparator.less
        self._name = comparator.name
        self._limit = limit
        self.count = 0

    def less(self, one: Candidate, two: Candidate) -> bool:
        """The comparator's answer, or an exception that ends the sort."""
        if self.count >= self._limit:
            raise _OverBoundError
        self.count += 1
        try:
            answer = self._user_less(one, two)
        except Exception as error:
            raise self.faulty(FaultKind.RAISED, f"{type(error).__name__}: {error}", one, two) from (
                error
            )
        if answer is True or answer is False:
            return answer
        raise self.faulty(FaultKind.NO_BOOL, f"less gave {answer!r:.80}", one, two)

    def compare(self, one: Candidate, two: Candidate) -> int:
        """For `cmp_to_key`; list.sort only asks whether the result is below 0."""
        return -1 if self.less(one, two) else 0

    def relation(self, one: Candidate, two: Candidate) -> int:
        """Gives -1 when one is before two, 1 when after, 0 when they are equals."""
        before, after = self.less(one, two), self.less(two, one)
        if before and after:
            detail = f"less is true for {_pair(one, two)} and for {_pair(two, one)}"
            raise self.faulty(FaultKind.NOT_ASYMMETRIC, detail, one, two)
        return after - before

    def check_irreflexive(self, candidate: Candidate) -> None:
        """A pod is not before itself."""
        if self.less(candidate, candidate):
            detail = f"less is true for {_pair(candidate, candidate)}"
            raise self.faulty(FaultKind.NOT_IRREFLEXIVE, detail, candidate)

    def check_permutation(self, batch: Sequence[Candidate], order: list[Candidate]) -> None:
        """The result has the batch's pods, each once."""
        found = digest_of(candidate.item.order_key for candidate in order)
        wanted = digest_of(candidate.item.order_key for candidate in batch)
        if len(order) != len(batch) or found != wanted:
            detail = f"{len(batch)} pods came and {len(order)} left, with another digest"
            raise self.faulty(FaultKind.NOT_PERMUTATION, detail)

    def faulty(self, kind: FaultKind, detail: str, *pods: Candidate) -> _FaultyError:
        """The exception that carries the fault."""
        references = tuple(dict.fromkeys(pod.reference for pod in pods))
        return _FaultyError(ComparatorFault(self._name, kind, references, detail))


def _classes(order: list[Candidate], asked: _Asked) -> list[int]:
    """The class of equals of each place; asks about every pair of neighbours.

    A neighbour that belongs before its predecessor shows that the sort was misled.
    """
    classes = [0] * len(order)
    for place in range(1, len(order)):
        relation = asked.relation(order[place - 1], order[place])
        if relation > 0:
            raise _contradiction(order, place, asked)
        classes[place] = classes[place - 1] - relation
    return classes


def _contradiction(order: list[Candidate], place: int, asked: _Asked) -> _FaultyError:
    """The fault for a pod that the comparator puts before its predecessor in its own order.

    The sort never saw that answer, or saw another one: some third pod between the two closes
    the circle. Looks for it among the neighbours. Bound: EXHAUSTIVE_MAX pods to each side.
    """
    one, two = order[place - 1], order[place]
    low, high = max(0, place - EXHAUSTIVE_MAX), min(len(order), place + EXHAUSTIVE_MAX)
    for other in order[low:high]:
        if other is one or other is two:
            continue
        # two < one is known; a circle needs one <= other <= two.
        first, second = asked.relation(one, other), asked.relation(other, two)
        if first <= 0 and second <= 0:
            return _triple(one, other, two, (first, second, 1), asked)
    detail = f"it sorted {_pair(one, two)} but says that {two.reference} is before {one.reference}"
    return asked.faulty(FaultKind.NOT_TRANSITIVE, detail, one, two)


def _check_pairs(order: list[Candidate], classes: list[int], asked: _Asked) -> None:
    """Compares sampled pairs with what the classes say of them."""
    for low, high in _sample(len(order)):
        wanted = -1 if classes[low] < classes[high] else 0
        if asked.relation(order[low], order[high]) != wanted:
            raise _narrowed(order, classes, low, high, asked)


def _sample(count: int) -> Iterator[tuple[int, int]]:
    """Pairs of places: all for few pods, else n/2 + n/4 + … at distances 2, 4, 8 and so on.

    Bound: 105 pairs up to EXHAUSTIVE_MAX, else fewer than `count`.
    """
    if count <= EXHAUSTIVE_MAX:
        for low in range(count):
            for high in range(low + 2, count):
                yield low, high
        return
    distance = 2
    while distance < count:
        for low in range(0, count - distance, distance):
            yield low, low + distance
        distance *= 2


def _narrowed(
    order: list[Candidate], classes: list[int], low: int, high: int, asked: _Asked
) -> _FaultyError:
    """The fault for a pair that contradicts the classes, narrowed down to three pods.

    Every pair of neighbours agrees with the classes. So either a middle place agrees with both
    ends, and the three contradict each other, or one half contains the contradiction.
    Bound: log2 of the distance.
    """
    while high - low > 1:
        middle = (low + high) // 2
        if asked.relation(order[low], order[middle]) != _by_class(classes, low, middle):
            high = middle
        elif asked.relation(order[middle], order[high]) != _by_class(classes, middle, high):
            low = middle
        else:
            relations = (
                _by_class(classes, low, middle),
                _by_class(classes, middle, high),
                asked.relation(order[low], order[high]),
            )
            return _triple(order[low], order[middle], order[high], relations, asked)
    # Neighbours agreed when the classes were made: the comparator changed its mind.
    detail = f"it answered differently when asked again about {_pair(order[low], order[high])}"
    return asked.faulty(FaultKind.NOT_TRANSITIVE, detail, order[low], order[high])


def _by_class(classes: list[int], low: int, high: int) -> int:
    """What the classes say of two places: -1 for before, 0 for equals."""
    return -1 if classes[low] < classes[high] else 0


def _triple(
    one: Candidate, two: Candidate, three: Candidate, relations: tuple[int, int, int], asked: _Asked
) -> _FaultyError:
    """The fault that shows three pods and what was said of each pair."""
    words = {-1: "is before", 0: "equals", 1: "is after"}
    detail = "; ".join(
        f"{a.reference} {words[relation]} {b.reference}"
        for (a, b), relation in zip(
            ((one, two), (two, three), (one, three)), relations, strict=True
        )
    )
    return asked.faulty(FaultKind.NOT_TRANSITIVE, detail, one, two, three)


def _pair(one: Candidate, two: Candidate) -> str:
    """Two pods, as the arguments of a comparison."""
    return f"({one.reference}, {two.reference})"
