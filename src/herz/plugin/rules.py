"""The Protocols that rules fulfil."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, runtime_checkable

from herz.plugin.changes import EventKind, Hint, Reads
from herz.plugin.verdicts import Verdict
from herz.plugin.view import Codes, Int64s, Rows, View

if TYPE_CHECKING:
    from herz.model.podinfo import PodInfo
    from herz.model.storage import PersistentVolume
    from herz.model.volumes import VolumePlan

SCORE_MAX: Final = 100
"""The highest normalised score, as in Kubernetes."""
FINE_SCORE_MAX: Final = 1 << 30
"""The highest score of a rule that scores alone (`Score.points_max`)."""


class Mode(StrEnum):
    """What becomes of a pod where only rules that Kubernetes does not have refuse it."""

    PREFER = "Prefer"
    """It goes there when no other node fits."""
    REFUSE = "Refuse"
    """It waits: until the policy's limit, or for ever."""


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
    reads_prepare: ClassVar[Reads] = Reads.NOTHING
    """Aspects that `prepare` and `prepare_score` read: when one changes, they are asked again."""

    def sign(self, pod: PodInfo) -> object:
        """What of the pod the answers depend on, as plain values (str, int, tuple, dict).

        Pods whose rules all sign alike share one sheet of codes and points. The fields
        `signature`, `digest`, `order_key` and `tie_key` of the pod are not there yet.
        """
        ...


@runtime_checkable
class Versioned(Reading, Protocol):
    """A rule that can tell cheaply whether what it declares in `reads_all` moved its answers."""

    def version(self, state: Any, view: View) -> object:
        """A value that differs from before whenever the answers for all rows may."""
        ...


@runtime_checkable
class RowVersioned(Reading, Protocol):
    """A rule that can tell cheaply whether what it declares in `reads` moved any row's answer."""

    def row_version(self, state: Any, view: View) -> object:
        """A value that differs from before whenever some row's answer may; None: cannot tell."""
        ...


@runtime_checkable
class Based(Reading, Protocol):
    """A rule that can tell whether what `reads_prepare` names moved what it prepared."""

    def basis(self, pod: PodInfo, view: View) -> Hashable:
        """What the preparations read of these aspects; states are kept while it stays equal."""
        ...


@runtime_checkable
class Filter(Reading, Protocol):
    """Says on which rows a pod cannot go."""

    modes: ClassVar[tuple[Mode, ...]] = (Mode.REFUSE, Mode.PREFER)
    """How a policy may run the rule, the default first. A rule whose refusals are advice has PREFER
    first; one that guards what cannot be had twice has REFUSE alone, as Kubernetes' rules and
    those that are `Summing`, `Reserve` or `PreBind` always have."""

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The state for `filter`, kept for all pods of this signature.

        It may read of the view only what no change moves (column numbers; the row of a name is
        not such a thing) and what `reads_prepare` names: what else moves is read in `filter`.

        Returns:
            Any state; SKIP or SKIP_NOW when the rule has nothing to say to this pod; a Narrowed;
            or a Verdict that rejects the pod for all nodes.
        """
        ...

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        """Codes for the rows, shape (n,), int16, 0 where the pod fits."""
        ...


@runtime_checkable
class Summing(Filter, Protocol):
    """A filter that only compares sums of requests with what rows offer.

    What-ifs then need no overlay: preemption asks such a rule by arithmetic.
    """

    def asks(self, state: Any) -> Mapping[str, int]:
        """What must be left of each resource, by name; a row fits exactly when all of it is."""
        ...


@runtime_checkable
class Score(Reading, Protocol):
    """Says how good each row is."""

    points_max: ClassVar[int] = SCORE_MAX
    """The highest points. Only a rule that is a policy's one score may have another maximum, up
    to FINE_SCORE_MAX: points of two scales cannot be weighed against each other."""

    def prepare_score(self, pod: PodInfo, view: View) -> Any:
        """The state for `score`.

        Returns:
            Any state; SKIP or SKIP_NOW (the rule adds 0); or a Verdict (Kind.ERROR).
        """
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


@dataclass(frozen=True, slots=True)
class PreemptionTerms:
    """What preemption may do beyond Kubernetes' rules.

    Args:
        is_budget_hard: disruption budgets are limits, and victims are evicted, not deleted.
        is_room_needed: a pod may be a victim only when it fits on another node.
    """

    is_budget_hard: bool = False
    is_room_needed: bool = False


@runtime_checkable
class PostFilter(Plugin, Protocol):
    """Has room made, by preemption, for pods that fit on no node; at most one in a policy."""

    @property
    def terms(self) -> PreemptionTerms:
        """What preemption may do."""
        ...


@runtime_checkable
class PreBind(Plugin, Protocol):
    """Says what must happen to claims and volumes before a bind; a policy's first is asked."""

    bind_timeout_ns: int
    """After which a pod that waits for this gives its room up and tries again."""

    def plan(self, pod: PodInfo, view: View, row: int) -> VolumePlan | Verdict:
        """What must happen before the pod may be bound to the row; empty when nothing must."""
        ...

    def reaches(self, volume: PersistentVolume, view: View, row: int) -> bool:
        """Whether the node at the row can mount the volume."""
        ...


@runtime_checkable
class Hints(Plugin, Protocol):
    """Says which changes may help pods that this rule rejected; without it, all may."""

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """By kind, whether a change may help; None: always. A kind that is absent never does."""
        ...
