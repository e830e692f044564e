"""The volume controller and a provisioner: what becomes of claims after the machine's patches.

A claim whose volume is bound ahead to it is bound after a while; one whose node was selected gets a
volume made for it there, in the node's zone if it has one. Claims that bind at once are given a
volume when the run begins. Patches may be refused and volumes not be made, as the faults say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from msgspec.structs import replace

from herz.model.effects import PatchClaim, PatchVolume
from herz.model.events import WorldEvent
from herz.model.meta import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectMeta
from herz.model.objects import KubernetesObject
from herz.model.outcomes import PatchRefused
from herz.model.storage import (
    ClaimStatus,
    CSIVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeNodeAffinity,
    VolumeSpec,
    VolumeStatus,
)
from herz.world.sim.cluster import Cluster
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.faults import Dice
from herz.world.sim.result import SECOND_NS
from herz.world.sim.watch import Watch

LAND_NS: Final = SECOND_NS // 100
"""From a patch to the API's taking it."""
BIND_NS: Final = SECOND_NS
"""What the volume controller takes to bind a claim."""
PROVISION_NS: Final = 5 * SECOND_NS
"""What the provisioner takes to make a volume."""

ZONE: Final = "topology.kubernetes.io/zone"
COMPLETED: Final = "pv.kubernetes.io/bind-completed"
SELECTED: Final = "volume.kubernetes.io/selected-node"
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"

ThingT = TypeVar("ThingT", PersistentVolume, PersistentVolumeClaim)


class Storage:
    """Claims, volumes and classes of a run; without any it does nothing.

    Args:
        engine: virtual time.
        cluster: the nodes.
        watch: where changes go out.
        dice: faults.
        deliver: takes refusals.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        watch: Watch,
        dice: Dice,
        deliver: Callable[[WorldEvent], None],
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._watch = watch
        self._dice = dice
        self._deliver = deliver
        self._claims: dict[str, PersistentVolumeClaim] = {}
        self._volumes: dict[str, PersistentVolume] = {}
        self._classes: dict[str, StorageClass] = {}
        self._version = 0

    def add(self, thing: KubernetesObject) -> KubernetesObject:
        """Take an object over, if it is for storage; the object as the API shows it."""
        if isinstance(thing, StorageClass):
            self._classes[thing.metadata.name] = thing
        elif isinstance(thing, PersistentVolume):
            if not thing.status.phase:
                phase = "Bound" if thing.spec.claim_ref is not None else "Available"
                thing = replace(thing, status=VolumeStatus(phase=phase))
            thing = self._volumes[thing.metadata.name] = self._versioned(thing)
        elif isinstance(thing, PersistentVolumeClaim):
            if thing.spec.volume_name:
                thing = _annotated(thing, (COMPLETED, "yes"))
            thing = self._claims[thing.metadata.key] = self._versioned(thing)
        return thing

    def open(self) -> None:
        """All objects are there: claims that bind at once get their volumes."""
        for key, claim in self._claims.items():
            found = self._classes.get(claim.spec.storage_class_name or "")
            is_waiting = found is None or found.volume_binding_mode == "WaitForFirstConsumer"
            if not claim.spec.volume_name and not is_waiting:
                self._engine.at(self._in(PROVISION_NS), Rank.API, self._make, (key, ""))

    def patch(self, effect: PatchClaim | PatchVolume) -> None:
        """Carry a patch out after its latency."""
        self._engine.at(self._in(LAND_NS), Rank.API, self._land, effect)

    def _land(self, effect: PatchClaim | PatchVolume) -> None:
        key = f"{effect.namespace}/{effect.name}" if isinstance(effect, PatchClaim) else effect.name
        known: PersistentVolume | PersistentVolumeClaim | None = (
            self._claims.get(key) if isinstance(effect, PatchClaim) else self._volumes.get(key)
        )
        meta = ObjectMeta() if known is None else known.metadata
        is_old = (meta.uid, meta.resource_version) != (effect.uid, effect.resource_version)
        if is_old or self._dice.strikes("patch_refused"):
            message = f'Operation cannot be fulfilled on "{key}": the object has been modified'
            refusal = PatchRefused(time_ns=self._engine.now_ns, effect=effect, message=message)
            self._engine.at(self._engine.now_ns, Rank.WATCH, self._deliver, refusal)
        elif isinstance(effect, PatchClaim):
            self._put_claim(_annotated(self._claims[key], *effect.annotations))
            node = dict(effect.annotations).get(SELECTED, "")
            self._engine.at(self._in(PROVISION_NS), Rank.API, self._make, (key, node))
        else:
            self._bind_ahead(effect)

    def _bind_ahead(self, effect: PatchVolume) -> None:
        volume = _annotated(self._volumes[effect.name], *effect.annotations)
        reference = ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=effect.claim_namespace,
            name=effect.claim_name,
            uid=effect.claim_uid,
        )
        spec = replace(volume.spec, claim_ref=reference)
        self._put_volume(replace(volume, spec=spec, status=VolumeStatus(phase="Bound")))
        key = f"{effect.claim_namespace}/{effect.claim_name}"
        self._engine.at(self._in(BIND_NS), Rank.API, self._bind, (key, effect.name))

    def _make(self, what: tuple[str, str]) -> None:
        """Make a volume for the claim; none when its class makes none."""
        key, node = what
        claim = self._claims.get(key)
        found = None if claim is None else self._classes.get(claim.spec.storage_class_name or "")
        if claim is None or claim.spec.volume_name or found is None:
            return
        if found.provisioner in ("", NO_PROVISIONER):
            return
        # A class that makes volumes at once has nobody who would ask for them again.
        if node and self._dice.strikes("provision_failed"):
            self._put_claim(_without(claim, SELECTED))
            return
        meta, asked = claim.metadata, claim.spec
        name = f"pvc-{meta.uid}"
        reference = ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
        )
        spec = VolumeSpec(
            capacity=dict(asked.resources.requests),
            access_modes=asked.access_modes,
            claim_ref=reference,
            storage_class_name=asked.storage_class_name or "",
            volume_mode=asked.volume_mode,
            node_affinity=self._near(node),
            csi=CSIVolumeSource(driver=found.provisioner, volume_handle=name),
        )
        made = PersistentVolume(
            metadata=ObjectMeta(name=name, uid=f"volume-{meta.uid}"),
            spec=spec,
            status=VolumeStatus(phase="Bound"),
        )
        self._put_volume(made)
        self._bind((key, name))

    def _near(self, node: str) -> VolumeNodeAffinity | None:
        state = self._cluster.nodes.get(node)
        zone = "" if state is None else state.node.metadata.labels.get(ZONE, "")
        if not zone:
            return None
        item = NodeSelectorRequirement(key=ZONE, operator="In", values=(zone,))
        term = NodeSelectorTerm(match_expressions=(item,))
        return VolumeNodeAffinity(required=NodeSelector(node_selector_terms=(term,)))

    def _bind(self, what: tuple[str, str]) -> None:
        key, name = what
        claim = self._claims.get(key)
        if claim is None or claim.spec.volume_name:
            return
        spec = replace(claim.spec, volume_name=name)
        bound = replace(claim, spec=spec, status=ClaimStatus(phase="Bound"))
        self._put_claim(_annotated(bound, (COMPLETED, "yes")))

    def _put_claim(self, claim: PersistentVolumeClaim) -> None:
        self._claims[claim.metadata.key] = claim = self._versioned(claim)
        self._watch.applied(claim)

    def _put_volume(self, volume: PersistentVolume) -> None:
        self._volumes[volume.metadata.name] = volume = self._versioned(volume)
        self._watch.applied(volume)

    def _versioned(self, thing: ThingT) -> ThingT:
        self._version += 1
        meta = replace(thing.metadata, resource_version=str(self._version))
        return replace(thing, metadata=meta)

    def _in(self, delay_ns: int) -> int:
        return self._engine.now_ns + delay_ns


def _annotated(thing: ThingT, *pairs: tuple[str, str]) -> ThingT:
    annotations = {**thing.metadata.annotations, **dict(pairs)}
    return replace(thing, metadata=replace(thing.metadata, annotations=annotations))


def _without(claim: PersistentVolumeClaim, annotation: str) -> PersistentVolumeClaim:
    meta = claim.metadata
    kept = {key: value for key, value in meta.annotations.items() if key != annotation}
    return replace(claim, metadata=replace(meta, annotations=kept))
