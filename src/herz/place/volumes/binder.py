"""Volumes between a decision and its bind: what is assumed of them, asked for, and waited for.

A pod whose claims are unbound keeps its room and waits until the volume controller has bound
them. Meanwhile its volumes are assumed to be what they will be, so that no other pod is given
them; an assumption ends when the API shows it, or with the last pod that needs it.

Source: volumebinding/binder.go (`AssumePodVolumes`, `bindAPIUpdate`, `checkBindings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

from msgspec.structs import replace

from herz.model.effects import PatchClaim, PatchVolume
from herz.model.meta import ObjectMeta
from herz.model.node import Node
from herz.model.objects import KubernetesObject
from herz.model.podinfo import PodInfo
from herz.model.storage import ObjectReference, PersistentVolume, PersistentVolumeClaim
from herz.model.volumes import NO_PLAN, VolumePlan
from herz.place.catalog import Assumption, Catalog
from herz.place.columns import NodeTable
from herz.place.framework import Framework
from herz.place.volumes.claims import (
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    is_bound_to,
    is_fully_bound,
    not_found,
)
from herz.plugin import Change

Place: TypeAlias = tuple[type, str]
"""The kind and key of a claim or volume."""

KeyT = TypeVar("KeyT")

_TIMED_OUT = "context deadline exceeded"


@dataclass(slots=True)
class Waiting:
    """A pod that holds room and waits for its volumes.

    Attributes:
        uid: the pod's.
        node: where it is to go.
        decision: sequence of the record that decided it.
        deadline_ns: when it gives up.
        timeout_ns: how long its policy lets it wait.
        framework: of its profile.
        plan: what was asked for.
        seen: the objects that the API has shown as they were asked for.
    """

    uid: str
    node: str
    decision: int
    deadline_ns: int
    timeout_ns: int
    framework: Framework
    plan: VolumePlan
    seen: set[Place] = field(default_factory=set)


class Outcome(NamedTuple):
    """The end of a pod's waiting.

    Attributes:
        uid: the pod's.
        decision: sequence of the record that decided it.
        problem: why its volumes are not bound; empty when all are.
        changes: of what was assumed and is no more.
    """

    uid: str
    decision: int
    problem: str
    changes: tuple[Change, ...]


class VolumeBinder:
    """The pods that wait for volumes.

    Bound: the pods that hold room; each waits for the policy's time-out at most.

    Args:
        catalog: the objects; assumptions are made there.
        nodes: which nodes there are.
        frameworks: by profile, what knows the rule that plans.
    """

    def __init__(self, catalog: Catalog, nodes: NodeTable, frameworks: Sequence[Framework]) -> None:
        self._catalog = catalog
        self._nodes = nodes
        self._frameworks = frameworks
        self._waiting: dict[str, Waiting] = {}
        # By time-out, of which each profile has one: in the order of the decisions, which is then
        # that of the deadlines.
        self._lines: dict[int, dict[str, Waiting]] = {}
        # Who waits for an object; dicts, as sets have no order.
        self._by_place: dict[Place, dict[str, None]] = {}
        self._by_node: dict[str, dict[str, None]] = {}
        # The objects of which something is assumed, with the pods that need it.
        self._assumed: dict[Place, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def reserve(
        self, pod: PodInfo, node: str, plan: VolumePlan, decision: int, now_ns: int
    ) -> list[PatchClaim | PatchVolume]:
        """The pod waits from now on; what is to be asked of the API, perhaps nothing new."""
        assert plan != NO_PLAN, "there is something to wait for"
        framework = self._frameworks[pod.profile]
        timeout_ns = framework.bind_timeout_ns
        deadline_ns = now_ns + timeout_ns
        waiting = Waiting(pod.uid, node, decision, deadline_ns, timeout_ns, framework, plan)
        self._waiting[pod.uid] = waiting
        self._lines.setdefault(timeout_ns, {})[pod.uid] = waiting
        self._by_node.setdefault(node, {})[pod.uid] = None
        effects: list[PatchClaim | PatchVolume] = []
        for claim, volume in plan.static:
            self._await(waiting, claim)
            self._await(waiting, volume)
            shown = self._catalog.shown(PersistentVolume, volume.metadata.key)
            assert shown is not None, "what is assumed is in the API"
            ahead = _bound_ahead(claim, shown)
            if self._assume(waiting, shown, ahead, partial(_bound_ahead, claim)):
                effects.append(_patch_volume(waiting, claim, shown, ahead))
        for claim in plan.provisions:
            self._await(waiting, claim)
            asked = self._catalog.shown(PersistentVolumeClaim, claim.metadata.key)
            assert asked is not None, "what is assumed is in the API"
            selected = _selected(node, asked)
            if self._assume(waiting, asked, selected, partial(_selected, node)):
                effects.append(_patch_claim(waiting, asked))
        return effects

    def observe(self, thing: KubernetesObject) -> list[Outcome]:
        """The API showed a claim, a volume or a node, or that it is gone: whose waiting ends."""
        if not self._waiting:
            return []
        if isinstance(thing, Node):
            return self._check(self._by_node.get(thing.name, {}))
        if not isinstance(thing, PersistentVolumeClaim | PersistentVolume):
            return []
        place = type(thing), thing.metadata.key
        self._recognise(place)
        uids = dict(self._by_place.get(place, {}))
        if isinstance(thing, PersistentVolume) and thing.spec.claim_ref is not None:
            # The volume that was made for a claim: nobody knew its name.
            reference = thing.spec.claim_ref
            key = f"{reference.namespace}/{reference.name}"
            uids |= self._by_place.get((PersistentVolumeClaim, key), {})
        return self._check(uids)

    def refuse(self, effect: PatchClaim | PatchVolume, message: str) -> list[Outcome]:
        """The API refused a patch: all that wait for it give up."""
        if isinstance(effect, PatchClaim):
            place: Place = (PersistentVolumeClaim, f"{effect.namespace}/{effect.name}")
        else:
            place = (PersistentVolume, effect.name)
        return [self._end(uid, message) for uid in tuple(self._assumed.get(place, {}))]

    def expire(self, now_ns: int) -> list[Outcome]:
        """Time passed: who gives up."""
        if not self._lines:
            return []
        late: list[Waiting] = []
        for line in self._lines.values():
            for waiting in line.values():
                if waiting.deadline_ns > now_ns:
                    break
                late.append(waiting)
        late.sort(key=lambda waiting: waiting.decision)
        return [self._end(waiting.uid, _TIMED_OUT) for waiting in late]

    def next_wake_ns(self) -> int | None:
        """When the next pod gives up; None when none waits."""
        if not self._lines:
            return None
        firsts = (next(iter(line.values())) for line in self._lines.values())
        return min((first.deadline_ns for first in firsts), default=None)

    def release(self, uid: str) -> tuple[Change, ...]:
        """The pod waits no more; the changes of what was assumed for it. Idempotent."""
        waiting = self._waiting.pop(uid, None)
        if waiting is None:
            return ()
        line = self._lines[waiting.timeout_ns]
        del line[uid]
        if not line:
            del self._lines[waiting.timeout_ns]
        _drop(self._by_node, waiting.node, uid)
        changes = []
        for place in _places(waiting.plan):
            _drop(self._by_place, place, uid)
            if uid in self._assumed.get(place, {}):
                _drop(self._assumed, place, uid)
                if place not in self._assumed:
                    changes.append(self._catalog.restore(*place))
        return tuple(change for change in changes if change is not None)

    def _await(self, waiting: Waiting, thing: PersistentVolume | PersistentVolumeClaim) -> None:
        place = type(thing), thing.metadata.key
        self._by_place.setdefault(place, {})[waiting.uid] = None

    def _assume(
        self,
        waiting: Waiting,
        shown: PersistentVolume | PersistentVolumeClaim,
        wanted: PersistentVolume | PersistentVolumeClaim,
        assumption: Assumption,
    ) -> bool:
        """Whether the API must be asked: it does not show what is wanted, and nobody else did."""
        place = type(shown), shown.metadata.key
        if shown == wanted:
            waiting.seen.add(place)
            return False
        is_new = place not in self._assumed
        self._assumed.setdefault(place, {})[waiting.uid] = None
        if is_new:
            self._catalog.assume(*place, assumption)
        return is_new

    def _recognise(self, place: Place) -> None:
        """End an assumption that the API shows to be true."""
        holders = self._assumed.get(place)
        if holders is None:
            return
        shown = self._catalog.shown(*place)
        if shown is None or shown != self._catalog.get(*place):
            return
        del self._assumed[place]
        self._catalog.restore(*place)
        for uid in holders:
            self._waiting[uid].seen.add(place)

    def _check(self, uids: dict[str, None]) -> list[Outcome]:
        problems = [(uid, self._problem(self._waiting[uid])) for uid in uids]
        return [self._end(uid, problem) for uid, problem in problems if problem is not None]

    def _end(self, uid: str, problem: str) -> Outcome:
        decision = self._waiting[uid].decision
        told = f'running PreBind plugin "VolumeBinding": binding volumes: {problem}'
        return Outcome(uid, decision, told if problem else "", self.release(uid))

    def _problem(self, waiting: Waiting) -> str | None:
        """Why the pod must be decided anew; empty: all is bound; None: it waits on."""
        if waiting.node not in self._nodes.rows:
            return f"failed to get node: {not_found('node', waiting.node)}"
        static = [self._static(waiting, claim, volume) for claim, volume in waiting.plan.static]
        made = [self._provision(waiting, claim) for claim in waiting.plan.provisions]
        answers = (*static, *made)
        problem = next((answer for answer in answers if answer), None)
        return None if problem is None and None in answers else problem or ""

    def _static(
        self, waiting: Waiting, claim: PersistentVolumeClaim, volume: PersistentVolume
    ) -> str | None:
        name = volume.metadata.name
        its = self._catalog.shown(PersistentVolume, volume.metadata.key)
        mine = self._catalog.shown(PersistentVolumeClaim, claim.metadata.key)
        if its is None or its.metadata.uid != volume.metadata.uid:
            return f"failed to check binding: {not_found('persistentvolume', name)}"
        if mine is None or mine.metadata.uid != claim.metadata.uid:
            gone = not_found("persistentvolumeclaim", claim.metadata.name)
            return f"failed to check binding: {gone}"
        reference = its.spec.claim_ref
        if reference is not None and not is_bound_to(its, claim):
            return f'pv "{name}" is bound to another claim'
        if (PersistentVolume, name) not in waiting.seen:
            return None
        if reference is None or not reference.uid:
            return f'ClaimRef got reset for pv "{name}"'
        return self._bound(waiting, mine, its)

    def _provision(self, waiting: Waiting, claim: PersistentVolumeClaim) -> str | None:
        mine = self._catalog.shown(PersistentVolumeClaim, claim.metadata.key)
        if mine is None or mine.metadata.uid != claim.metadata.uid:
            gone = not_found("persistentvolumeclaim", claim.metadata.name)
            return f"failed to check provisioning pvc: {gone}"
        selected = mine.metadata.annotations.get(SELECTED_NODE)
        is_seen = (PersistentVolumeClaim, claim.metadata.key) in waiting.seen
        if selected is None and not is_seen:
            return None
        if selected != waiting.node:
            # How a provisioner says that it failed.
            return f'provisioning failed for PVC "{claim.metadata.name}"'
        volume = self._catalog.shown(PersistentVolume, mine.spec.volume_name)
        return None if volume is None else self._bound(waiting, mine, volume)

    def _bound(
        self, waiting: Waiting, claim: PersistentVolumeClaim, volume: PersistentVolume
    ) -> str | None:
        name = volume.metadata.name
        if not waiting.framework.reaches(volume, waiting.node):
            return f'pv "{name}" node affinity doesn\'t match node "{waiting.node}"'
        if not is_fully_bound(claim):
            return None
        # Kubernetes takes any volume here; this one might not be in reach.
        is_its = claim.spec.volume_name == name
        return "" if is_its else f'pvc "{claim.metadata.name}" is bound to another volume'


def _places(plan: VolumePlan) -> list[Place]:
    claims = [claim for claim, _ in plan.static] + list(plan.provisions)
    volumes = [volume for _, volume in plan.static]
    found: list[Place] = [(PersistentVolumeClaim, claim.metadata.key) for claim in claims]
    found += [(PersistentVolume, volume.metadata.key) for volume in volumes]
    return list(dict.fromkeys(found))


def _drop(table: dict[KeyT, dict[str, None]], key: KeyT, uid: str) -> None:
    held = table.get(key, {})
    held.pop(uid, None)
    if not held:
        table.pop(key, None)


def _bound_ahead(claim: PersistentVolumeClaim, volume: PersistentVolume) -> PersistentVolume:
    """The volume, bound ahead to the claim (`GetBindVolumeToClaim`); as it is if it was already."""
    meta, spec = claim.metadata, volume.spec
    reference = spec.claim_ref
    if reference is None or reference.uid != meta.uid:
        made = ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
        )
        spec = replace(spec, claim_ref=made)
    annotated = volume.metadata
    if not is_bound_to(volume, claim) and BOUND_BY_CONTROLLER not in annotated.annotations:
        annotated = _annotated(annotated, BOUND_BY_CONTROLLER, "yes")
    return replace(volume, metadata=annotated, spec=spec)


def _selected(node: str, claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    """The claim, with the node on which its volume is to be made."""
    return replace(claim, metadata=_annotated(claim.metadata, SELECTED_NODE, node))


def _annotated(meta: ObjectMeta, key: str, value: str) -> ObjectMeta:
    return replace(meta, annotations={**meta.annotations, key: value})


def _patch_claim(waiting: Waiting, claim: PersistentVolumeClaim) -> PatchClaim:
    meta = claim.metadata
    return PatchClaim(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
        annotations=((SELECTED_NODE, waiting.node),),
        pod=waiting.uid,
        decision=waiting.decision,
    )


def _patch_volume(
    waiting: Waiting,
    claim: PersistentVolumeClaim,
    shown: PersistentVolume,
    ahead: PersistentVolume,
) -> PatchVolume:
    before, after = shown.metadata.annotations, ahead.metadata.annotations
    assert ahead.spec.claim_ref is not None, "it is bound ahead"
    return PatchVolume(
        name=shown.metadata.name,
        uid=shown.metadata.uid,
        resource_version=shown.metadata.resource_version,
        claim_namespace=claim.metadata.namespace,
        claim_name=claim.metadata.name,
        claim_uid=claim.metadata.uid,
        annotations=tuple(sorted(after.items() - before.items())),
        pod=waiting.uid,
        decision=waiting.decision,
    )
