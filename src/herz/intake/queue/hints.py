"""The hints: which events may help which rejected pods, and the events that a cycle missed.

Step: queue. A plugin says for which kinds of events it wants a pod that it rejected to be looked
at again, and may look at the event itself. A pod is woken only by the plugins that rejected it.
Events that happen while a pod is in its cycle are kept and asked about when it comes back, so
that no wake-up falls between the snapshot and the rejection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from herz.errors import ConfigError
from herz.intake.queue.item import QueuedPod, QueueItem
from herz.intake.queue.ring import Ring

WILDCARD: Final = "*"

# Bound: answers to "which rules apply" that are kept; over it they are worked out again.
PLANS_MAX: Final = 4096


class QueueEvent(Protocol):
    """What happened in the cluster, as far as the queue reads it."""

    @property
    def kind(self) -> str:
        """The kind that rules subscribe to, such as `Node/Add`; `*` concerns every rule."""
        ...


class Outcome(Enum):
    """What an event means for a rejected pod."""

    STAY = "stay"
    AFTER_BACKOFF = "after_backoff"
    AT_ONCE = "at_once"


Answer = Callable[[QueueItem, QueueEvent], bool]
"""A plugin's hint: whether this event may let it accept this pod."""


@dataclass(frozen=True, slots=True)
class HintRule:
    """One plugin's interest.

    Attributes:
        plugin: the plugin's name, as `rejected_by` gives it.
        kinds: the kinds of events that may help; `*` for all.
        answer: looks at the pod and the event; None means that every such event helps.
    """

    plugin: str
    kinds: tuple[str, ...]
    answer: Answer | None = None


# Whether the plugin asked the pod to wait (then it is woken at once), and its answer.
_Plan = tuple[tuple[bool, Answer | None], ...]


class Hints:
    """The rules of all plugins.

    A plugin that never said anything is asked nothing: every event wakes the pods that it
    rejected, as in Kubernetes. A plugin that says () is woken by no event but the wildcard.

    Attributes:
        error_count: hints that raised; such an event wakes the pod.
        last_error: the last of them, named; "" before the first.
    """

    __slots__ = ("_plans", "_rules", "error_count", "last_error")

    def __init__(self, rules: Iterable[HintRule] = ()) -> None:
        """Takes the rules; several of one plugin add up.

        Raises:
            ConfigError: a rule without a plugin's name.
        """
        self._rules: dict[str, list[HintRule]] = {}
        for rule in rules:
            if not rule.plugin:
                raise ConfigError(
                    "a hint without a plugin", where="hints", fix="name the plugin that rejects"
                )
            self._rules.setdefault(rule.plugin, []).append(rule)
        self._plans: dict[tuple[tuple[str, ...], tuple[str, ...], str], _Plan] = {}
        self.error_count = 0
        self.last_error = ""

    def concerns(
        self, rejected_by: tuple[str, ...], pending_by: tuple[str, ...], kind: str
    ) -> bool:
        """Whether an event of this kind is of interest to any of the plugins."""
        return kind == WILDCARD or bool(self._plan(rejected_by, pending_by, kind))

    def outcome(self, pod: QueuedPod, event: QueueEvent) -> Outcome:
        """What the event means for this pod.

        A plugin that asked the pod to wait (`pending_by`) wakes it at once; one that rejected it
        wakes it after its back-off. Cost: O(rules of its plugins), one call each.
        """
        kind = event.kind
        if kind == WILDCARD:
            return Outcome.AT_ONCE if pod.pending_by else Outcome.AFTER_BACKOFF
        found = Outcome.STAY
        for is_pending, answer in self._plan(pod.rejected_by, pod.pending_by, kind):
            if found is not Outcome.STAY and not is_pending:
                continue
            if answer is None or self._ask(answer, pod, event):
                if is_pending:
                    return Outcome.AT_ONCE
                found = Outcome.AFTER_BACKOFF
        return found

    def _plan(self, rejected_by: tuple[str, ...], pending_by: tuple[str, ...], kind: str) -> _Plan:
        """The answers to ask, those of waiting plugins first; () when the kind helps nobody."""
        key = (rejected_by, pending_by, kind)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            found: list[tuple[bool, Answer | None]] = []
            for is_pending, plugins in ((True, pending_by), (False, rejected_by)):
                for plugin in plugins:
                    found += ((is_pending, answer) for answer in self._answers(plugin, kind))
            plan = self._plans[key] = tuple(found)
        return plan

    def _answers(self, plugin: str, kind: str) -> list[Answer | None]:
        """The plugin's answers for a kind; one that always wakes when it has no rule at all."""
        rules = self._rules.get(plugin)
        if rules is None:
            return [None]
        return [rule.answer for rule in rules if kind in rule.kinds or WILDCARD in rule.kinds]

    def _ask(self, answer: Answer, pod: QueuedPod, event: QueueEvent) -> bool:
        """The plugin's word. One that raises counts as yes: a lost wake-up is worse."""
        try:
            return answer(pod.item, event)
        except Exception as error:
            self.error_count += 1
            name = getattr(answer, "__qualname__", repr(answer))
            self.last_error = f"{name} raised {error!r} at {event.kind} for {pod.reference}"
            return True


class InFlightEvents:
    """The events since the first pod of the pods in cycle was popped.

    Attributes:
        in_flight: pods in cycle; nothing is kept while it is 0.
        dropped_count: events that left over the bound while pods were in cycle.

    Bound: `limit` events; the oldest leave. A pod whose cycle began before the oldest kept is
    told so by `missed`, and is then retried as if the lost event had woken it.
    """

    __slots__ = ("_limit", "_ring", "dropped_count", "in_flight")

    def __init__(self, limit: int) -> None:
        self._ring: Ring[tuple[QueueEvent, str | None]] = Ring()
        self._limit = limit
        self.in_flight = 0
        self.dropped_count = 0

    def __len__(self) -> int:
        return len(self._ring)

    def begin(self, pod: QueuedPod) -> None:
        """The pod's cycle begins: it will be asked about the events from now on."""
        pod.event_mark = self._ring.tail
        self.in_flight += 1

    def end(self, pod: QueuedPod) -> None:
        """The pod's cycle ends, whichever way. The second call changes nothing."""
        if pod.event_mark < 0:
            return
        pod.event_mark = -1
        self.in_flight -= 1
        if not self.in_flight and self._ring.head != self._ring.tail:
            self._ring.clear()

    def record(self, event: QueueEvent, uid: str | None = None) -> None:
        """Keeps an event; `uid` when it concerns one pod only. Nothing without pods in cycle."""
        if not self.in_flight:
            return
        if len(self._ring) >= self._limit:
            self._ring.popleft()
            self.dropped_count += 1
        self._ring.append((event, uid))

    def missed(self, pod: QueuedPod) -> bool:
        """Whether an event of the pod's cycle has left over the bound."""
        return 0 <= pod.event_mark < self._ring.head

    def of(self, pod: QueuedPod) -> list[QueueEvent]:
        """The events of the pod's cycle that concern it, oldest first."""
        assert pod.is_in_flight, "only a pod in cycle has events"
        uid = pod.item.uid
        one, two = self._ring.since(pod.event_mark)
        return [event for event, only in (*one, *two) if only is None or only == uid]
