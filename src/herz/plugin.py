"""The public plugin contract: what a rule is, and what the runner promises it.

A rule is a class that names the Protocols it fulfils as bases (`class MyRule(Filter, Score)`).
It is constructed once with its arguments and a `ReasonBook`, then asked:

    prepare(pod, view)              once per pod signature         -> state | SKIP | Verdict
    filter(state, view, rows)       for rows that may have changed -> codes, 0 fits
    prepare_score(pod, view)        once per pod signature         -> state | SKIP | Verdict
    prescore(state, view, feasible) for every pod, PreScore only   -> state | SKIP
    score(state, view, rows)        for rows that may have changed -> raw points
    normalize(raw, low, high)       row by row                     -> points 0..100

`rows` is a slice (all rows) or an index array (the rows that changed): a rule is written once,
in numpy, for both. Codes and raw points are kept per pod signature and asked again only for
rows on which something changed that the rule `reads`; what a rule does not declare must not
move its answer (`herz fuzz plugin` looks for that). Everything is an int64: no float, clock,
random number or set order may reach an answer.

A third party registers its class in the entry point group `herz.plugins`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntFlag, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from herz.model.mix import MixEdition
    from herz.model.podinfo import PodInfo

Int64s: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.int16]
Rows: TypeAlias = slice | npt.NDArray[np.int64]

SCORE_MAX: Final = 100
"""The highest normalised score, as in Kubernetes."""
FINE_SCORE_MAX: Final = 1 << 30
"""The highest score of a rule that scores alone (`Score.points_max`)."""


class Skip(Enum):
    """The answer of `prepare` and `prescore` that takes a rule out for this pod."""

    SKIP = "skip"


SKIP: Final = Skip.SKIP


class Kind(Enum):
    """What a rejection leads to."""

    UNFIT = "Unschedulable"
    """Preemption of lower-priority pods may help."""
    NEVER_FITS = "UnschedulableAndUnresolvable"
    """Nothing that preemption can do helps."""
    WAIT = "Pending"
    """Something outside must happen first; the event that brings it wakes the pod at once."""
    ERROR = "Error"
    """The rule failed; the attempt fails and the error back-off applies."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rejection as a value: for all nodes when `prepare` returns it.

    Args:
        kind: what it leads to.
        plugin: the rule's name.
        reasons: its words, in order; never empty.
    """

    kind: Kind
    plugin: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The answer of `prepare` that restricts a pod to named nodes.

    Args:
        names: the nodes' names, sorted; names without a node are passed over.
        state: what `filter` and `score` are given.
    """

    names: tuple[str, ...]
    state: Any


class ReasonBook:
    """Interns (kind, plugin, reasons) as the int16 codes that filters return; 0 is "fits".

    One book serves one framework. Codes are process-local: a record holds the words.
    """

    LIMIT: Final = 32_767
    """Bound: codes are int16."""

    def __init__(self) -> None:
        self._verdicts: list[Verdict | None] = [None]
        self._codes: dict[tuple[Kind, str, tuple[str, ...]], int] = {}

    def code(self, kind: Kind, plugin: str, reasons: tuple[str, ...]) -> int:
        """The code of this rejection, made on first sight.

        Raises:
            OverflowError: more than `LIMIT` different rejections; a rule puts data that has
                no bound (a pod's name, a quantity) into its reasons.
        """
        key = (kind, plugin, reasons)
        found = self._codes.get(key)
        if found is not None:
            return found
        assert reasons, f"{plugin} rejects without a reason"
        if len(self._verdicts) > self.LIMIT:
            raise OverflowError(f"{plugin}: more than {self.LIMIT} different rejections")
        self._verdicts.append(Verdict(kind, plugin, reasons))
        self._codes[key] = len(self._verdicts) - 1
        return self._codes[key]

    def verdict(self, code: int) -> Verdict:
        """The rejection that a non-zero code stands for."""
        verdict = self._verdicts[code]
        assert verdict is not None, "code 0 is no rejection"
        return verdict

    def __len__(self) -> int:
        return len(self._verdicts)


class Reads(IntFlag):
    """What a rule's answer for a row depends on; the runner asks again when it changes."""

    NOTHING = 0
    LABELS = 1
    TAINTS = 2
    """Taints and `spec.unschedulable`."""
    ALLOCATABLE = 4
    REQUESTED = 8
    """Resources asked by the pods on the row."""
    PORTS = 16
    IMAGES = 32
    FEATURES = 64
    DEVICES = 128
    """Shared accelerators' free shares."""
    ANNOTATIONS = 256
    NODES = 512
    """Which rows exist; only meaningful in `reads_all`."""
    MIX = 1024
    """The mix of pods seen so far (`View.mix`); only meaningful in `reads_all`."""


class EventKind(StrEnum):
    """What a cluster event is about, for hints, by Kubernetes' labels."""

    NODE_ADD = "NodeAdd"
    NODE_UPDATE = "NodeUpdate"
    ASSIGNED_POD_UPDATE = "AssignedPodUpdate"
    """A pod on a node takes less than before."""
    ASSIGNED_POD_DELETE = "AssignedPodDelete"
    """A pod left its node, or a reservation was released."""
    UNSCHEDULED_POD_UPDATE = "UnscheduledPodUpdate"
    """The waiting pod itself changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """A cluster event as hints see it.

    Args:
        kind: what happened.
        aspects: for NODE_UPDATE, the aspects of the node that changed.
        old: the object (Node or PodInfo) before; None when it was added.
        new: the object after; None when it was deleted.
    """

    kind: EventKind
    aspects: Reads = Reads.NOTHING
    old: Any = None
    new: Any = None


Hint: TypeAlias = Callable[["PodInfo", Change], bool]
"""Whether a change may make a pod that the rule rejected schedulable."""


@runtime_checkable
class Plugin(Protocol):
    """What all rules have.

    A rule's constructor takes `(args, reasons)`: its arguments from the policy (a mapping) and
    the framework's `ReasonBook`; it raises ConfigError for arguments that it does not know.
    """

    name: ClassVar[str]
    """Kubernetes' name where the rule is Kubernetes'; unique in a policy."""


@runtime_checkable
class PreEnqueue(Plugin, Protocol):
    """May keep a pod out of the active queue."""

    def admit(self, pod: PodInfo) -> Verdict | None:
        """None when the pod may be queued; otherwise why not (the pod is gated)."""
        ...


@runtime_checkable
class QueueSort(Plugin, Protocol):
    """Orders the ready pods; at most one in a policy, none means the built-in buckets."""

    def less(self, left: Any, right: Any) -> bool:
        """Whether `left` is decided before `right`; must be a strict weak order."""
        ...


@runtime_checkable
class Reading(Plugin, Protocol):
    """What filters and scores share: the declaration of what they read."""

    reads: ClassVar[Reads]
    """Aspects of a row that move the answer for that row."""
    reads_all: ClassVar[Reads]
    """Aspects that, changed on any row, move the answers for all rows."""

    def sign(self, pod: PodInfo) -> object:
        """What of the pod the answers depend on, as plain values (str, int, tuple, dict).

        Pods whose rules all sign alike share one sheet of codes and points. The fields
        `signature`, `digest`, `order_key` and `tie_key` of the pod are not there yet.
        """
        ...


@runtime_checkable
class Filter(Reading, Protocol):
    """Says on which rows a pod cannot go."""

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The state for `filter`, kept for all pods of this signature.

        It may read of the view only what no change moves (column numbers, row of a name is not
        such a thing): what moves is read in `filter`.

        Returns:
            Any state; SKIP when the rule has nothing to say to this pod; a Narrowed; or a
            Verdict that rejects the pod for all nodes.
        """
        ...

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        """Codes for the rows, shape (n,), int16, 0 where the pod fits."""
        ...


@runtime_checkable
class Score(Reading, Protocol):
    """Says how good each row is."""

    points_max: ClassVar[int] = SCORE_MAX
    """The highest points. Only a rule that is a policy's one score may have another maximum, up
    to FINE_SCORE_MAX: points of two scales cannot be weighed against each other."""

    def prepare_score(self, pod: PodInfo, view: View) -> Any:
        """The state for `score`: any state, SKIP (the rule adds 0), or a Verdict (Kind.ERROR)."""
        ...

    def score(self, state: Any, view: View, rows: Rows) -> Int64s:
        """Raw points for the rows, shape (n,); rows that do not fit may hold anything."""
        ...


@runtime_checkable
class PreScore(Score, Protocol):
    """A score whose raw points depend on which rows fit; it is asked again for every pod."""

    def prescore(self, state: Any, view: View, feasible: Int64s) -> Any:
        """The state for `score`, given the feasible rows (sorted); or SKIP."""
        ...


@runtime_checkable
class Normalize(Score, Protocol):
    """A score that is not 0..100 by itself."""

    def normalize(self, raw: Int64s, low: int, high: int) -> Int64s:
        """Points 0..100 for raw points, given their extent over the feasible rows.

        Must be a function of its arguments only, element by element.
        """
        ...


@runtime_checkable
class Reserve(Plugin, Protocol):
    """Chooses the shared devices on the node; the first such rule of a policy does."""

    def choose(self, pod: PodInfo, view: View, row: int) -> tuple[int, ...]:
        """The devices that the pod takes on the row; empty when it asks for none."""
        ...


@runtime_checkable
class Hints(Plugin, Protocol):
    """Says which changes may help pods that this rule rejected; without it, all may."""

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """By kind, whether a change may help; None: always. A kind that is absent never does."""
        ...


class View(Protocol):
    """The cluster as rules see it: columns by row, and cheap what-if overlays.

    Row numbers are stable while a node lives. Rows without a node are never asked for an
    answer that counts; their values are zero.
    """

    @property
    def size(self) -> int:
        """The number of rows, including those without a node."""
        ...

    @property
    def count(self) -> int:
        """The number of nodes."""
        ...

    def row(self, name: str) -> int | None:
        """The row of the node of this name."""
        ...

    def node_name(self, row: int) -> str:
        """The name of the node at a row that has one."""
        ...

    def resource(self, name: str) -> int:
        """The column of a resource; one of zeros when no node has ever had it."""
        ...

    @property
    def allocatable(self) -> Int64s:
        """Allocatable by (resource column, row): cpu in milli, others in units."""
        ...

    @property
    def requested(self) -> Int64s:
        """Sum of the requests of the pods on the row, by (resource column, row)."""
        ...

    @property
    def nonzero(self) -> Int64s:
        """As `requested` for cpu (0) and memory (1), with Kubernetes' score-only defaults."""
        ...

    def labels(self, key: str) -> npt.NDArray[np.int32]:
        """By row: the interned value of the label, 0 where the node has no such label."""
        ...

    def label_id(self, value: str) -> int:
        """The id under which `labels` holds this value, now and later; never 0."""
        ...

    def label_integers(self, key: str) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """By row: the label's value as int64, and whether it is an integer."""
        ...

    @property
    def unschedulable(self) -> npt.NDArray[np.bool_]:
        """By row: `spec.unschedulable`."""
        ...

    @property
    def taint_sets(self) -> npt.NDArray[np.int32]:
        """By row: the interned set of taints; 0 is the empty set."""
        ...

    def taints(self, taint_set: int) -> tuple[Any, ...]:
        """The taints of an interned set, in the node's order."""
        ...

    @property
    def feature_sets(self) -> npt.NDArray[np.int32]:
        """By row: the interned set of declared features; 0 is the empty set."""
        ...

    def features(self, feature_set: int) -> frozenset[str]:
        """The features of an interned set."""
        ...

    def image_rows(self, name: str) -> Mapping[int, int]:
        """Row to size in bytes, for the nodes that hold the image."""
        ...

    def port_rows(self, protocol: str, port: int) -> Mapping[int, tuple[str, ...]]:
        """Row to the host addresses on which the port is taken."""
        ...

    @property
    def devices(self) -> Int64s:
        """Free milli of shared accelerators by (row, device); negative where nothing is free.

        That is so where there is no device, and where the API holds more pods on one than fit.
        """
        ...

    @property
    def mix(self) -> MixEdition | None:
        """The mix of pods seen so far; None while there are too few.

        None, too, when no rule of the policy declares Reads.MIX in `reads_all`.
        """
        ...

    def without(self, uids: tuple[str, ...]) -> View:
        """The same cluster without these pods (preemption's question)."""
        ...

    def with_(self, pod: PodInfo, row: int) -> View:
        """The same cluster with this pod on this row (nominated pods, gangs)."""
        ...


def row_count(view: View, rows: Rows) -> int:
    """How many answers a rule owes for these rows."""
    return view.size if isinstance(rows, slice) else len(rows)
