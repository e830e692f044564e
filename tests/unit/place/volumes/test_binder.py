"""From the choice of a node to the bind of a pod whose claims are unbound.

Each test names what it was read from in volumebinding/binder.go at 1.36; what Kubernetes does
otherwise, or not at all, is said.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from herz.model.effects import Bind, PatchClaim, PatchPodStatus, PatchVolume, WakeAt
from herz.model.objects import KubernetesObject, PersistentVolume, PersistentVolumeClaim
from herz.model.outcomes import BindOutcome, PatchRefused
from tests.support.machine import SECOND, Harness, make_policy, only
from tests.support.objects import make_node
from tests.support.storage import (
    DYNAMIC,
    LOCAL,
    make_claim,
    make_class,
    make_csi_node,
    make_volume,
    using,
)

FAILED = 'running PreBind plugin "VolumeBinding": binding volumes: '
BY_CONTROLLER = {"pv.kubernetes.io/bound-by-controller": "yes"}


def harness(*objects: KubernetesObject) -> Harness:
    """Node a of zone a, and the objects."""
    made = Harness().apply(make_node("a", cpu="4", labels={"zone": "a"}))
    made.apply(make_class(LOCAL, "kubernetes.io/no-provisioner"), make_class(DYNAMIC))
    return made.apply(*objects)


def waits(*objects: KubernetesObject, claims: tuple[str, ...] = ("c",)) -> Harness:
    """A pod that was decided and waits for its claims."""
    made = harness(*objects).apply(using("p", *claims, requests={"cpu": "1"}))
    effects = made.step()
    assert made.state("p") == "waiting"
    assert not only(Bind, effects)
    assert made.used("a") == 1000
    return made


def said(made: Harness) -> str:
    """The condition that the next step writes."""
    (condition,) = only(PatchPodStatus, made.step())
    assert condition.reason == "SchedulerError"
    return condition.message.removeprefix(FAILED)


def is_back(made: Harness) -> bool:
    """Whether the pod gave its room up and is in the queue."""
    return made.state("p") == "backing_off" and made.used("a") == 0


def made_volume(name: str = "made", zone: str = "a") -> PersistentVolume:
    return make_volume(name, DYNAMIC, claim="c", zone=zone)


def test_bound_claims_are_waited_for_by_nobody() -> None:
    """AssumePodVolumes: all bound, nothing to do."""
    made = harness(make_claim("c", LOCAL, volume="pv"), make_volume("pv", claim="c", zone="a"))
    assert made.place(using("p", "c")).node == "a"


def test_a_volume_that_is_there_is_bound_ahead_and_the_pod_waits() -> None:
    """bindAPIUpdate and checkBindings, static; GetBindVolumeToClaim."""
    volumes = [make_volume("big", size="2Gi"), make_volume("pv", version="7")]
    made = harness(make_claim("c", LOCAL, version="5"), *volumes)
    made.apply(using("p", "c", requests={"cpu": "1"}))
    (patch,) = only(PatchVolume, made.step())
    assert (patch.name, patch.uid, patch.resource_version) == ("pv", "uid-pv", "7")
    assert (patch.claim_namespace, patch.claim_name, patch.claim_uid) == ("shop", "c", "uid-c")
    assert dict(patch.annotations) == BY_CONTROLLER
    assert (patch.pod, patch.decision) == ("uid-p", made.kept.records[-1].sequence)
    made.apply(make_volume("pv", claim="c", annotations=BY_CONTROLLER))
    assert not only(Bind, made.step())
    made.apply(make_claim("c", LOCAL, volume="pv"))
    (bind,) = only(Bind, made.step())
    assert (bind.node, bind.decision, made.state("p")) == ("a", patch.decision, "binding")
    made.answer(bind)
    assert made.state("p") == "bound"


def test_a_volume_to_be_made_is_asked_for_and_the_pod_waits() -> None:
    """bindAPIUpdate and checkBindings, dynamic; the volume's name is known at the end only."""
    made = harness(make_claim("c", version="5"))
    made.apply(using("p", "c", requests={"cpu": "1"}))
    (patch,) = only(PatchClaim, made.step())
    assert (patch.namespace, patch.name, patch.uid) == ("shop", "c", "uid-c")
    assert patch.resource_version == "5"
    assert patch.annotations == (("volume.kubernetes.io/selected-node", "a"),)
    made.apply(make_claim("c", selected="a"), make_claim("c", selected="a", volume="made"))
    assert not only(Bind, made.step())
    made.apply(made_volume())
    assert [bind.node for bind in only(Bind, made.step())] == ["a"]


def test_the_order_in_which_the_api_shows_things_does_not_matter() -> None:
    made = waits(make_claim("c", LOCAL), make_volume("pv"))
    made.apply(make_claim("c", LOCAL, volume="pv"))
    assert not only(Bind, made.step())
    made.apply(make_volume("pv", claim="c", annotations=BY_CONTROLLER))
    assert only(Bind, made.step())


def test_two_pods_are_not_given_one_volume() -> None:
    """pvCache.Assume: what is promised is taken, before the API shows it."""
    made = harness(make_claim("c", LOCAL), make_claim("d", LOCAL))
    made.apply(make_volume("one"), make_volume("two"), using("p", "c"), using("q", "d"))
    assert sorted(patch.name for patch in only(PatchVolume, made.step())) == ["one", "two"]


def test_an_unrelated_change_does_not_undo_a_promise() -> None:
    """Kubernetes' assume cache forgets here, and may promise the volume twice."""
    made = waits(make_claim("c", LOCAL), make_claim("d", LOCAL), make_volume("one"))
    made.apply(make_volume("one", labels={"touched": "yes"}), using("q", "d"))
    assert not only(PatchVolume, made.step())
    assert made.state("q") == "unschedulable"
    made.delete(using("p", "c"))
    assert made.state("q") != "unschedulable"
    assert [patch.claim_name for patch in only(PatchVolume, made.step(10 * SECOND))] == ["d"]


def test_two_pods_of_one_claim_ask_once_and_go_to_one_node() -> None:
    made = waits(make_claim("c"), make_node("b", cpu="1"), claims=("c",))
    made.apply(using("q", "c"))
    effects = made.step()
    assert not only(PatchClaim, effects)
    assert made.state("q") == "waiting"
    made.delete(using("p", "c"))
    made.apply(make_claim("c", selected="a", volume="made"), made_volume())
    assert [bind.name for bind in only(Bind, made.step())] == ["q"]


def test_a_claim_that_is_bound_ahead_by_hand_needs_no_patch() -> None:
    """GetBindVolumeToClaim: nothing is dirty; the controller's part is waited for."""
    made = harness(make_claim("c", LOCAL), make_volume("pv", claim="c", phase="Available"))
    assert not only(PatchVolume, made.apply(using("p", "c")).step())
    assert made.state("p") == "waiting"
    made.apply(make_claim("c", LOCAL, volume="pv"))
    assert only(Bind, made.step())


def test_a_claim_named_without_its_uid_gets_the_uid_only() -> None:
    """GetBindVolumeToClaim: bound by the user, so without the controller's annotation."""
    made = harness(make_claim("c", LOCAL), make_volume("pv", claim="c", claim_uid=""))
    (patch,) = only(PatchVolume, made.apply(using("p", "c")).step())
    assert (patch.claim_uid, patch.annotations) == ("uid-c", ())


def test_a_node_selected_before_needs_no_patch() -> None:
    made = harness(make_claim("c", selected="a"))
    assert not only(PatchClaim, made.apply(using("p", "c")).step())
    assert made.state("p") == "waiting"


Step = Callable[[Harness], object]
STATIC = (make_claim("c", LOCAL), make_volume("pv"))
LANDED = make_volume("pv", claim="c", annotations=BY_CONTROLLER)
ENDS: list[tuple[str, tuple[KubernetesObject, ...], Step, str]] = [
    (
        "provisioner gives up",
        (make_claim("c"),),
        lambda made: made.apply(make_claim("c", selected="a"), make_claim("c")),
        'provisioning failed for PVC "c"',
    ),
    (
        "another selects",
        (make_claim("c"),),
        lambda made: made.apply(make_claim("c", selected="b")),
        'provisioning failed for PVC "c"',
    ),
    (
        "claim goes",
        (make_claim("c"),),
        lambda made: made.delete(make_claim("c")),
        'failed to check provisioning pvc: persistentvolumeclaim "c" not found',
    ),
    (
        "claim is made anew",
        (make_claim("c"),),
        lambda made: made.apply(make_claim("c", uid="other")),
        'failed to check provisioning pvc: persistentvolumeclaim "c" not found',
    ),
    (
        "volume is made out of reach",
        (make_claim("c"),),
        lambda made: made.apply(
            made_volume(zone="b"), make_claim("c", selected="a", volume="made")
        ),
        'pv "made" node affinity doesn\'t match node "a"',
    ),
    (
        "volume goes",
        STATIC,
        lambda made: made.delete(make_volume("pv")),
        'failed to check binding: persistentvolume "pv" not found',
    ),
    (
        "claim of a volume goes",
        STATIC,
        lambda made: made.delete(make_claim("c", LOCAL)),
        'failed to check binding: persistentvolumeclaim "c" not found',
    ),
    (
        "volume is taken",
        STATIC,
        lambda made: made.apply(make_volume("pv", claim="other")),
        'pv "pv" is bound to another claim',
    ),
    (
        "volume is let go",
        STATIC,
        lambda made: made.apply(LANDED, make_volume("pv")),
        'ClaimRef got reset for pv "pv"',
    ),
    (
        "claim is bound to another",
        STATIC,
        lambda made: made.apply(LANDED, make_claim("c", LOCAL, volume="else")),
        'pvc "c" is bound to another volume',
    ),
    (
        "node moves",
        (make_claim("c", LOCAL), make_volume("pv", zone="a")),
        lambda made: made.apply(
            make_volume("pv", claim="c", zone="a", annotations=BY_CONTROLLER),
            make_node("a", labels={"zone": "b"}),
        ),
        'pv "pv" node affinity doesn\'t match node "a"',
    ),
]


@pytest.mark.parametrize(
    ("objects", "end", "why"), [one[1:] for one in ENDS], ids=[o[0] for o in ENDS]
)
def test_what_ends_the_waiting(objects: tuple[KubernetesObject, ...], end: Step, why: str) -> None:
    """checkBindings: each condition that requires binding to fail and be retried."""
    made = waits(*objects)
    end(made)
    assert is_back(made)
    assert said(made) == why
    assert (
        made.machine.counters['scheduler_volume_scheduling_stage_error_total{operation="bind"}']
        == 1
    )


def test_a_node_that_goes_ends_the_waiting() -> None:
    made = waits(make_claim("c"))
    made.delete(make_node("a"))
    assert made.state("p") == "backing_off"
    assert said(made) == 'failed to get node: node "a" not found'


def test_time_ends_the_waiting() -> None:
    """BindPodVolumes: wait.PollUntilContextTimeout, 600 s by default."""
    made = harness(make_claim("c")).apply(using("p", "c", requests={"cpu": "1"}))
    assert [wake.time_ns for wake in only(WakeAt, made.step())] == [600 * SECOND]
    made.step(599 * SECOND)
    assert made.state("p") == "waiting"
    (condition,) = only(PatchPodStatus, made.step(SECOND))
    assert condition.message == f"{FAILED}context deadline exceeded"
    assert is_back(made)


def test_the_time_is_the_policys() -> None:
    made = Harness(make_policy(args={"VolumeBinding": {"bindTimeoutSeconds": 7}}))
    made.apply(make_node("a"), make_class(DYNAMIC), make_claim("c"), using("p", "c"))
    assert [wake.time_ns for wake in only(WakeAt, made.step())] == [7 * SECOND]


@pytest.mark.parametrize(("name", "kind"), [(LOCAL, PatchVolume), (DYNAMIC, PatchClaim)])
def test_a_refused_patch_ends_the_waiting(
    name: str, kind: type[PatchClaim] | type[PatchVolume]
) -> None:
    """bindAPIUpdate: an error of the API is the pod's."""
    made = harness(make_claim("c", name), make_volume("pv")).apply(using("p", "c"))
    effects = made.step()
    (patch,) = [effect for effect in effects if isinstance(effect, kind)]
    made.machine.apply(PatchRefused(time_ns=made.now, effect=patch, message="conflict"))
    assert made.state("p") == "backing_off"
    assert said(made) == "conflict"
    made.machine.apply(PatchRefused(time_ns=made.now, effect=patch, message="conflict"))
    assert made.state("p") == "backing_off"


def test_a_pod_that_goes_waits_for_nothing() -> None:
    made = waits(*STATIC)
    made.delete(using("p", "c"))
    assert made.state("p") == ""
    assert made.used("a") == 0
    shown = made.cluster.catalog.get(PersistentVolume, "pv")
    assert shown is not None
    assert shown.spec.claim_ref is None
    assert not only(WakeAt, made.apply(LANDED).step(700 * SECOND))


def test_a_pod_that_somebody_else_binds_waits_for_nothing() -> None:
    made = waits(*STATIC)
    made.apply(using("p", "c", node="a", requests={"cpu": "1"}))
    assert made.state("p") == "bound"
    made.apply(make_claim("c", LOCAL, volume="pv"), LANDED)
    assert not only(Bind, made.step())


def test_a_change_of_the_waiting_pod_changes_nothing() -> None:
    made = waits(*STATIC)
    made.apply(using("p", "c", requests={"cpu": "1"}, labels={"new": "yes"}))
    assert made.state("p") == "waiting"
    made.apply(LANDED, make_claim("c", LOCAL, volume="pv"))
    assert only(Bind, made.step())


def test_a_refused_bind_comes_again_and_its_claims_are_bound_then() -> None:
    made = waits(*STATIC)
    made.apply(LANDED, make_claim("c", LOCAL, volume="pv"))
    (bind,) = only(Bind, made.step())
    made.answer(bind, BindOutcome.REFUSED, "conflict")
    assert [again.node for again in only(Bind, made.step(10 * SECOND))] == ["a"]


def test_what_is_assumed_is_in_the_snapshot_and_leaves_it() -> None:
    made = harness(make_claim("c"), make_volume("pv"))
    before = made.snapshot.digest(b"")
    made.apply(using("p", "c")).step()
    assert made.snapshot.digest(b"") != before
    made.delete(using("p", "c"))
    assert made.snapshot.digest(b"") == before


def test_the_smallest_volume_by_name_is_chosen_whatever_the_order() -> None:
    """FindMatchingVolume: the smallest; Kubernetes takes any of the smallest."""
    volumes = [make_volume("b"), make_volume("a"), make_volume("c", size="3Gi")]
    for given in (volumes, volumes[::-1]):
        made = harness(make_claim("c", LOCAL), *given).apply(using("p", "c"))
        assert [patch.name for patch in only(PatchVolume, made.step())] == ["a"]


def test_the_smaller_claim_is_served_first() -> None:
    """findMatchingVolumes: sort.Sort(byPVCSize)."""
    made = harness(make_claim("c", LOCAL, size="2Gi"), make_claim("d", LOCAL, size="1Gi"))
    made.apply(make_volume("one", size="2Gi"), make_volume("two", size="3Gi"))
    made.apply(using("p", "c", "d"))
    found = {patch.claim_name: patch.name for patch in only(PatchVolume, made.step())}
    assert found == {"d": "one", "c": "two"}


def test_a_csi_node_that_goes_does_not_trouble_the_waiting() -> None:
    made = waits(make_claim("c"), make_csi_node("a", {"csi.example.com": 5}))
    made.delete(make_csi_node("a"))
    made.apply(PersistentVolumeClaim(metadata=make_claim("other").metadata))
    assert made.state("p") == "waiting"
