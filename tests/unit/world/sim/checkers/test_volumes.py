"""Wrong uses of claims and volumes are caught; right ones are not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from herz.errors import InvariantError
from herz.model.effects import Bind, PatchClaim, PatchPodStatus, PatchVolume
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import KubernetesObject, Pod
from herz.model.record import Decided, Order, PodReference, Record
from herz.world.sim.checkers import History, Referee
from herz.world.sim.make import make_node
from tests.sim.first_fit import POLICY
from tests.support.storage import (
    DRIVER,
    DYNAMIC,
    IMMEDIATE,
    LOCAL,
    SELECTED,
    make_capacity,
    make_claim,
    make_class,
    make_csi_node,
    make_driver,
    make_volume,
    using,
)

SOLE = ("ReadWriteOncePod",)
CPU = {"cpu": "2"}


def referee(*things: KubernetesObject) -> Referee:
    """It knows two nodes in two zones, and what is given."""
    made = Referee(History("unit", 0, 4), is_strict=True, is_budget_hard=False)
    nodes = [make_node(f"n{z}", {"cpu": 2, "pods": 5}, {"zone": z, "host": f"n{z}"}) for z in "ab"]
    for thing in (*nodes, *things):
        see(made, thing)
    return made


def see(made: Referee, thing: KubernetesObject) -> None:
    made.see(ObjectApplied(time_ns=0, object=thing))


def bind(pod: Pod, node: str = "na", decision: int = 1) -> Bind:
    meta = pod.metadata
    return Bind(
        namespace=meta.namespace, name=meta.name, uid=meta.uid, node=node, decision=decision
    )


def placed(pod: Pod, node: str = "na", sequence: int = 1) -> Record:
    meta = pod.metadata
    return Record(
        decided=Decided.PLACE,
        engine="unit",
        node=node,
        order=Order(batch=1, rung=1),
        pod=PodReference(digest="", name=meta.name, namespace=meta.namespace, uid=meta.uid),
        policy=POLICY,
        previous="",
        sequence=sequence,
        snapshot="",
        term=0,
        time_ns="0",
    )


def given(pod: Pod, claim: str, volume: str, decision: int = 1) -> PatchVolume:
    return PatchVolume(
        name=volume,
        uid=f"uid-{volume}",
        resource_version="",
        claim_namespace="shop",
        claim_name=claim,
        claim_uid=f"uid-{claim}",
        annotations=(),
        pod=pod.metadata.uid,
        decision=decision,
    )


def made_on(pod: Pod, claim: str, node: str, decision: int = 1) -> PatchClaim:
    return PatchClaim(
        namespace="shop",
        name=claim,
        uid=f"uid-{claim}",
        resource_version="",
        annotations=((SELECTED, node),),
        pod=pod.metadata.uid,
        decision=decision,
    )


def test_bind_to_volumes_in_reach_is_right() -> None:
    pod = using("p", "c")
    volume = make_volume("v", claim="c", zone="a")
    referee(make_claim("c", LOCAL, volume="v"), volume, pod).judge([bind(pod)], [])


@pytest.mark.parametrize(
    ("things", "words"),
    [
        ([], "there is no claim shop/c"),
        ([make_claim("c", LOCAL)], "is not bound"),
        ([make_claim("c", LOCAL, volume="v")], "which is not there"),
        ([make_claim("c", LOCAL, volume="v"), make_volume("v", claim="d")], "is not of claim"),
        (
            [make_claim("c", LOCAL, volume="v"), make_volume("v", claim="c", zone="b")],
            "out of reach",
        ),
    ],
)
def test_bind_without_its_volumes_is_caught(things: list[KubernetesObject], words: str) -> None:
    pod = using("p", "c")
    with pytest.raises(InvariantError, match=words):
        referee(*things, pod).judge([bind(pod)], [])


def test_limit_counts_each_volume_once() -> None:
    things: list[KubernetesObject] = [make_csi_node("na", {DRIVER: 1})]
    for name in "cd":
        things.append(make_claim(name, LOCAL, volume=f"v{name}"))
        things.append(make_volume(f"v{name}", claim=name, handle=f"h{name}"))
    first, second, other = using("p", "c"), using("q", "c"), using("r", "d")
    made = referee(*things, first, second, other)
    made.judge([bind(first), bind(second)], [])
    with pytest.raises(InvariantError, match="the node holds 1"):
        made.judge([bind(other)], [])


def test_claim_for_one_pod_has_one_user() -> None:
    volume = make_volume("v", claim="c", modes=SOLE)
    first, second = using("p", "c"), using("q", "c")
    made = referee(make_claim("c", LOCAL, volume="v", modes=SOLE), volume, first, second)
    made.judge([bind(first)], [])
    with pytest.raises(InvariantError, match="is for one pod, and used by shop/p"):
        made.judge([bind(second, "nb", 2)], [])


def test_pod_waits_for_its_volume_and_is_bound() -> None:
    pod, claim = using("p", "c"), make_claim("c")
    made = referee(make_class(DYNAMIC), claim, pod)
    made.judge([made_on(pod, "c", "na")], [placed(pod)])
    see(made, make_volume("v", DYNAMIC, claim="c", zone="a"))
    see(made, make_claim("c", volume="v"))
    made.judge([bind(pod)], [])


@pytest.mark.parametrize("is_made", [False, True])
def test_bind_before_the_volume_is_there_is_caught(*, is_made: bool) -> None:
    pod = using("p", "c")
    made = referee(make_class(DYNAMIC), make_claim("c"), pod)
    made.judge([made_on(pod, "c", "na")], [placed(pod)])
    if is_made:
        see(made, make_volume("v", DYNAMIC, claim="c", zone="b"))
        see(made, make_claim("c", volume="v"))
    with pytest.raises(InvariantError, match="out of reach" if is_made else "is not bound"):
        made.judge([bind(pod)], [])


def test_waiting_pod_holds_room_until_it_fails() -> None:
    pod, large = using("p", "c", requests=CPU), using("q", requests=CPU)
    things = (make_class(DYNAMIC), make_claim("c"), pod, large)
    asked = made_on(pod, "c", "na")
    with pytest.raises(InvariantError, match="over-committed"):
        referee(*things).judge([asked, bind(large, decision=2)], [placed(pod)])
    made = referee(*things)
    made.judge([asked], [placed(pod)])
    meta = pod.metadata
    failed = PatchPodStatus(
        namespace="shop", name="p", uid=meta.uid, reason="SchedulerError", message=""
    )
    made.judge([failed, bind(large, decision=2)], [])


def test_late_bind_of_a_pod_that_is_gone_is_nobody_s_fault() -> None:
    pod = using("p", "c")
    made = referee(make_class(DYNAMIC), make_claim("c"), pod)
    made.judge([made_on(pod, "c", "na")], [placed(pod)])
    made.see(ObjectDeleted(time_ns=0, object=pod))
    made.judge([bind(pod)], [])


def test_placed_pod_that_waits_for_nothing_is_caught() -> None:
    pod = using("p")
    with pytest.raises(InvariantError, match="waits for no volume"):
        referee(pod).judge([], [placed(pod)])


def test_one_volume_for_two_claims_is_caught() -> None:
    first, second = using("p", "c"), using("q", "d")
    things = (make_class(LOCAL, "kubernetes.io/no-provisioner"), make_volume("v"))
    claims = [make_claim("c", LOCAL), make_claim("d", LOCAL)]
    made = referee(*things, *claims, first, second)
    patches = [given(first, "c", "v"), given(second, "d", "v", 2)]
    with pytest.raises(InvariantError, match="one volume for two claims: v was given to shop/c"):
        made.judge(patches, [placed(first), placed(second, sequence=2)])


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (make_volume("v", zone="b"), "out of reach"),
        (make_volume("v", "other"), "of another class"),
        (make_volume("v", size="1Mi"), "too small"),
        (make_volume("v", claim="other"), "one volume for two claims: v is of other"),
    ],
)
def test_volume_that_does_not_fit_its_claim_is_caught(volume: KubernetesObject, words: str) -> None:
    pod, found = using("p", "c"), make_class(LOCAL, "kubernetes.io/no-provisioner")
    with pytest.raises(InvariantError, match=words):
        referee(found, volume, make_claim("c", LOCAL), pod).judge(
            [given(pod, "c", "v")], [placed(pod)]
        )


@pytest.mark.parametrize(
    ("claim", "node", "words"),
    [
        (make_claim("c", size="2Gi"), "na", "too little storage is left"),
        (make_claim("c"), "nb", "too little storage is left"),
        (make_claim("c", selected="nb"), "na", "to be made elsewhere"),
        (make_claim("c", IMMEDIATE), "na", "is bound before any pod uses it"),
    ],
)
def test_volume_that_cannot_be_made_there_is_caught(
    claim: KubernetesObject, node: str, words: str
) -> None:
    pod = using("p", "c")
    left = (make_driver(), make_capacity("left", "a", "1Gi"))
    made = referee(make_class(DYNAMIC), make_class(IMMEDIATE), *left, claim, pod)
    with pytest.raises(InvariantError, match=words):
        made.judge([made_on(pod, "c", node)], [placed(pod, node)])


def test_patches_are_for_the_node_of_the_pod_that_waits() -> None:
    pod = using("p", "c")
    things = (make_class(DYNAMIC), make_claim("c"), pod)
    with pytest.raises(InvariantError, match="but elsewhere"):
        referee(*things).judge([made_on(pod, "c", "nb")], [placed(pod)])
    with pytest.raises(InvariantError, match="does not wait for volumes"):
        referee(*things).judge([made_on(pod, "c", "na")], [])


def test_one_volume_with_two_claims_is_caught() -> None:
    claim = make_claim("d", LOCAL, volume="v")
    made = referee(make_claim("c", LOCAL, volume="v"))
    see(made, make_claim("c", LOCAL, volume="v"))
    with pytest.raises(InvariantError, match="one volume for two claims"):
        see(made, replace(claim, metadata=replace(claim.metadata, uid="another")))
