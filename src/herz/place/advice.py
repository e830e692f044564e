"""Rules that give way: what Kubernetes does not have may be advice instead of a limit.

Step filter, a second time. Comes in: a pod that the policy refused everywhere. Goes out: a node
that only rules refuse which give way, or the refusal, with the names of the rules that alone are
to blame. The rules are not asked otherwise for it: the same policy decides again without them. A
pod that fits at once never comes here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from herz.config.modes import RESERVATIONS, RuleTerms
from herz.model.podinfo import PodInfo
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.nominated import Genuine
from herz.place.outcome import Choice, NoFit
from herz.place.preemption.preemption import Preemption
from herz.place.sheet import Sheet
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Kind, Mode

CACHE_BYTES: Final = 128 << 20
"""Bound: memory for what rules said, in each of the policies without some."""
POLICIES_MAX: Final = 16
"""Bound: such policies that are remembered; the least recently used goes first."""
FELL_BACK: Final = "fell-back"
"""Begins the mark of a rule that was to refuse, until its limit had passed."""
PREFERRED_AGAINST: Final = "preferred-against"
"""Begins the mark of a rule that only prefers, and refused the node."""

_SECOND_NS: Final = 1_000_000_000


@dataclass(slots=True)
class _Refused:
    """Pods, one or a gang's, that rules of ours alone refused.

    Args:
        first_ns: since when.
        uids: which pods, in order.
    """

    first_ns: int
    uids: dict[str, None] = field(default_factory=dict)


class Advice:
    """Which rules of one profile give way to whom, and since when they refuse.

    Args:
        cluster: the cluster.
        framework: the whole policy.
        snapshot: the digest that follows since when pods are refused: decisions read it.
        terms: of the rules that may give way.
        own_rules: the rules that kube-scheduler does not have.
        preemption: of the whole policy; None: it does not preempt.
        pods: uids of the pods that rules of ours alone have refused, those of other profiles too.
        frameworks: of all profiles.

    Bound: the pods that wait.
    """

    def __init__(
        self,
        cluster: Cluster,
        framework: Framework,
        snapshot: SnapshotDigest,
        terms: Mapping[str, RuleTerms],
        own_rules: Collection[str],
        preemption: Preemption | None,
        pods: set[str],
        frameworks: Sequence[Framework],
    ) -> None:
        self._frameworks = frameworks
        self._cluster, self._framework, self._snapshot = cluster, framework, snapshot
        self._terms, self._preemption = terms, preemption
        self._own = frozenset((*own_rules, *terms))
        self._all = frozenset(terms)
        prefer = frozenset(name for name, one in terms.items() if one.mode is Mode.PREFER)
        limits = {one.fall_back_after_ns for one in terms.values() if one.mode is Mode.REFUSE}
        self._limits = sorted(limits - {0})
        # Who gives way once so many of the limits have passed.
        self._ladder = [prefer]
        for limit in self._limits:
            due = {name for name, one in terms.items() if 0 < one.fall_back_after_ns <= limit}
            self._ladder.append(prefer | due)
        # Who will give way, and who may be to blame at all.
        self._wider = tuple(dict.fromkeys((self._ladder[-1], self._all)))
        self._without_by: OrderedDict[frozenset[str], Framework] = OrderedDict()
        self._preemptions: dict[frozenset[str], Preemption] = {}
        self._pods = pods
        self._told: set[str] = set()
        # By the pod's uid, or its gang.
        self._since: dict[str, _Refused] = {}
        # When each is due, by limit; what is due first comes first.
        self._waits: dict[int, dict[str, int]] = {limit: {} for limit in self._limits}

    # ---- the second answer ----------------------------------------------------------------

    def again(self, pod: PodInfo, found: NoFit, now_ns: int) -> Choice | NoFit:
        """The answer to a pod that fits nowhere, once those rules have given way that do.

        Args:
            pod: the pod.
            found: what the whole policy says.
            now_ns: the step's time.
        """
        if found.kind is Kind.ERROR or not self._concern(pod, found):
            return found
        given = self._given(pod, now_ns)
        if given:
            other = self._without(given).decide(pod)
            if isinstance(other, Choice):
                return self._taken(pod, found, other, given)
            found = other
            if found.kind is Kind.ERROR:
                return found
        for names in self._wider:
            if names > given:
                other = self._without(names).decide(pod)
                if isinstance(other, Choice):
                    return self._alone(pod, found, other, names, given, now_ns)
        return found

    def _concern(self, pod: PodInfo, found: NoFit) -> bool:
        """Whether a rule that may give way refused any node."""
        if not self._all.isdisjoint((*found.rejected_by, *found.pending_by)):
            return True
        return RESERVATIONS in self._all and self._cluster.nominations.keeps_from(pod)

    def _given(self, pod: PodInfo, now_ns: int) -> frozenset[str]:
        """The rules that give way to the pod now."""
        known = self._since.get(_holder(pod)) if self._since else None
        if known is None:
            return self._ladder[0]
        return self._ladder[bisect_right(self._limits, now_ns - known.first_ns)]

    def _taken(self, pod: PodInfo, found: NoFit, other: Choice, given: frozenset[str]) -> Choice:
        marks = []
        for name in self._refusing(pod, other.row, given, given):
            is_advice = self._terms[name].mode is Mode.PREFER
            marks.append(f"{PREFERRED_AGAINST if is_advice else FELL_BACK}:{name}")
        # What the whole policy said comes first: the record tells what the rules cost.
        path = [
            replace(stage, stage="filter:relaxed") if stage.stage == "filter" else stage
            for stage in other.path
        ]
        return replace(other, path=(*found.path, *path), marks=tuple(marks))

    def _alone(
        self,
        pod: PodInfo,
        found: NoFit,
        other: Choice,
        names: frozenset[str],
        given: frozenset[str],
        now_ns: int,
    ) -> NoFit:
        """The refusal, with the rules without which there is a node."""
        alone = self._refusing(pod, other.row, names - given, names)
        if not alone:
            return found  # A rule answers otherwise than a moment ago.
        is_patient = names == self._ladder[-1]
        limit = ""
        if is_patient:
            self._note(pod, now_ns)
            seconds = max(self._terms[name].fall_back_after_ns for name in names - given)
            limit = f", for {seconds // _SECOND_NS} s at most"
        message = f"{found.message} Refused by {', '.join(alone)} alone{limit}."
        return replace(found, message=message, alone=alone, is_patient=is_patient)

    def _refusing(
        self, pod: PodInfo, row: int, among: frozenset[str], names: frozenset[str]
    ) -> tuple[str, ...]:
        """Those among the rules that refuse the row, which without all the names fits."""
        found = []
        for name in sorted(among):
            sheet = self._without(names - {name}).sheet(pod)
            if not isinstance(sheet, Sheet) or sheet.code(row) != 0:
                found.append(name)
        return tuple(found)

    def _without(self, names: frozenset[str]) -> Framework:
        """The policy without these rules."""
        if not names:
            return self._framework
        made = self._without_by.get(names)
        if made is None:
            nominations = self._cluster.nominations
            made = self._without_by[names] = self._framework.without(
                names,
                Genuine(nominations) if RESERVATIONS in names else nominations,
                cache_bytes=CACHE_BYTES,
            )
            if len(self._without_by) > POLICIES_MAX:
                self._without_by.popitem(last=False)
        self._without_by.move_to_end(names)
        return made

    # ---- what others must know ------------------------------------------------------------

    def forget(self) -> None:
        """Ask the rules everything anew."""
        for framework in (self._framework, *self._without_by.values()):
            framework.forget()
        for room in (self._preemption, *self._preemptions.values()):
            if room is not None:
                room.forget()

    @property
    def lenient(self) -> Framework:
        """The policy without all rules that ever give way: what it bars stays barred."""
        return self._without(self._ladder[-1])

    def preemption(self, pod: PodInfo, now_ns: int) -> Preemption | None:
        """Preemption without the rules that give way to the pod; None when none does.

        Room that is kept for others stays theirs: nobody is preempted to take it.
        """
        names = self._given(pod, now_ns) - {RESERVATIONS}
        if not names or self._preemption is None:
            return None
        made = self._preemptions.get(names)
        if made is None:
            # Bound: one for each limit.
            made = self._preemptions[names] = Preemption(
                self._cluster,
                self._without(names),
                self._preemption.terms,
                bytes_max=CACHE_BYTES,
                frameworks=self._frameworks,
            )
        return made

    def is_news(self, pod: PodInfo, found: NoFit) -> bool:
        """Whether rules of ours alone refuse the pod, for the first time that it is told."""
        by = found.rejected_by
        if not found.alone and not (by and self._own.issuperset(by)):
            return False
        is_new = pod.uid not in self._told
        self._told.add(pod.uid)
        self._pods.add(pod.uid)
        return is_new

    # ---- time -----------------------------------------------------------------------------

    def _note(self, pod: PodInfo, now_ns: int) -> None:
        """Rules of ours alone refuse the pod: their limits run from the first time."""
        holder = _holder(pod)
        known = self._since.get(holder)
        if known is None:
            known = self._since[holder] = _Refused(now_ns)
            self._snapshot.add("queue", _element(holder, now_ns))
            for limit, waits in self._waits.items():
                waits[holder] = now_ns + limit
        known.uids[pod.uid] = None
        self._pods.add(pod.uid)

    def ended(self, pod: PodInfo) -> None:
        """The API shows the pod on a node, or it is gone."""
        self._pods.discard(pod.uid)
        self._told.discard(pod.uid)
        holder = _holder(pod)
        known = self._since.get(holder)
        if known is None:
            return
        known.uids.pop(pod.uid, None)
        if not known.uids:
            del self._since[holder]
            self._snapshot.remove("queue", _element(holder, known.first_ns))
            for waits in self._waits.values():
                waits.pop(holder, None)

    def due(self, now_ns: int) -> list[str]:
        """Uids of the pods, one of each gang, to whom a rule gives way from now on."""
        found: list[str] = []
        if not self._since:
            return found
        for waits in self._waits.values():
            while waits and next(iter(waits.values())) <= now_ns:  # Bound: those that wait.
                holder = next(iter(waits))
                del waits[holder]
                found.append(next(iter(self._since[holder].uids)))
        return found

    def next_wake_ns(self) -> int | None:
        """When a rule next gives way to a pod."""
        if not self._since:
            return None
        firsts = [next(iter(waits.values())) for waits in self._waits.values() if waits]
        return min(firsts, default=None)


class Advices:
    """What `Advice` says, of each pod by its own profile.

    Attributes:
        pods: uids of all pods that rules of ours alone have refused.
    """

    def __init__(
        self,
        cluster: Cluster,
        frameworks: Sequence[Framework],
        snapshot: SnapshotDigest,
        terms: Sequence[Mapping[str, RuleTerms]],
        own_rules: Collection[str],
        preemptions: Sequence[Preemption | None],
    ) -> None:
        self.pods: set[str] = set()
        self._by_profile = [
            Advice(cluster, framework, snapshot, some, own_rules, room, self.pods, frameworks)
            for framework, some, room in zip(frameworks, terms, preemptions, strict=True)
        ]

    def forget(self) -> None:
        """Ask the rules everything anew, those that give way and those that do not."""
        for one in self._by_profile:
            one.forget()

    @property
    def lenient(self) -> tuple[Framework, ...]:
        """By profile, the policy without all rules that ever give way."""
        return tuple(one.lenient for one in self._by_profile)

    def again(self, pod: PodInfo, found: NoFit, now_ns: int) -> Choice | NoFit:
        """As `Advice.again`."""
        return self._by_profile[pod.profile].again(pod, found, now_ns)

    def preemption(self, pod: PodInfo, now_ns: int) -> Preemption | None:
        """As `Advice.preemption`."""
        return self._by_profile[pod.profile].preemption(pod, now_ns)

    def is_news(self, pod: PodInfo, found: NoFit) -> bool:
        """As `Advice.is_news`."""
        return self._by_profile[pod.profile].is_news(pod, found)

    def ended(self, pod: PodInfo) -> None:
        """As `Advice.ended`."""
        self._by_profile[pod.profile].ended(pod)

    def due(self, now_ns: int) -> list[str]:
        """As `Advice.due`, profile by profile."""
        if not self.pods:
            return []
        return [uid for one in self._by_profile for uid in one.due(now_ns)]

    def next_wake_ns(self) -> int | None:
        """As `Advice.next_wake_ns`."""
        if not self.pods:
            return None
        times = [one.next_wake_ns() for one in self._by_profile]
        return min([time for time in times if time is not None], default=None)


def _holder(pod: PodInfo) -> str:
    return pod.pod_group or pod.uid


def _element(holder: str, first_ns: int) -> bytes:
    return f"refused\0{holder}\0{first_ns}".encode()
