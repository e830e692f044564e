"""Half a group is caught; a whole one is not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from herz.errors import InvariantError
from herz.model.effects import Bind
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import (
    COSCHEDULING_GROUP_LABEL,
    KubernetesObject,
    ObjectMeta,
    Pod,
    PodGroup,
    PodSchedulingGroup,
    PodSpec,
)
from herz.model.workload import (
    GangSchedulingPolicy,
    GroupSchedulingPolicy,
    PodGroupSpec,
)
from herz.world.sim.checkers import History, Referee
from herz.world.sim.make import make_node

GANG = GroupSchedulingPolicy(gang=GangSchedulingPolicy(min_count=3))


def referee(group: PodGroup, pods: list[Pod]) -> Referee:
    made = Referee(History("unit", 0, 4), is_strict=True, is_budget_hard=False)
    node = make_node("n", {"cpu": 8, "pods": 10}, {})
    things: list[KubernetesObject] = [node, group, *pods]
    for thing in things:
        made.see(ObjectApplied(time_ns=0, object=thing))
    return made


def pod(number: int, *, is_labelled: bool) -> Pod:
    meta = ObjectMeta(name=f"p{number}", namespace="d", uid=f"u{number}")
    if is_labelled:
        labels = {COSCHEDULING_GROUP_LABEL: "g"}
        return Pod(metadata=replace(meta, labels=labels))
    return Pod(metadata=meta, spec=PodSpec(scheduling_group=PodSchedulingGroup(pod_group_name="g")))


def binds(count: int) -> list[Bind]:
    return [
        Bind(namespace="d", name=f"p{at}", uid=f"u{at}", node="n", decision=at)
        for at in range(count)
    ]


@pytest.mark.parametrize("is_labelled", [False, True])
def test_half_a_group_is_caught(*, is_labelled: bool) -> None:
    meta = ObjectMeta(name="g", namespace="d")
    group = PodGroup(metadata=meta, spec=PodGroupSpec(scheduling_policy=GANG))
    if is_labelled:
        version = "scheduling.x-k8s.io/v1alpha1"
        group = PodGroup(api_version=version, metadata=meta, spec=PodGroupSpec(min_member=3))
    pods = [pod(at, is_labelled=is_labelled) for at in range(4)]
    referee(group, pods).judge(binds(3), [])
    with pytest.raises(InvariantError, match=r"half a group: 2 of .*d/g are placed"):
        referee(group, pods).judge(binds(2), [])


def test_members_that_hold_room_count_and_groups_of_two_apis_do_not_meet() -> None:
    meta = ObjectMeta(name="g", namespace="d")
    group = PodGroup(metadata=meta, spec=PodGroupSpec(scheduling_policy=GANG))
    members = [pod(at, is_labelled=False) for at in range(4)]
    # Of another API and of the same name: it needs one pod only.
    other = PodGroup(api_version="scheduling.x-k8s.io/v1alpha1", metadata=meta)
    made = referee(group, [*members, pod(9, is_labelled=True)])
    made.see(ObjectApplied(time_ns=0, object=other))
    made.judge(binds(3), [])
    made.judge([replace(binds(1)[0], name="p9", uid="u9", decision=9)], [])
    # One of three is gone: with the next decision two would be placed, then three again.
    made.see(ObjectDeleted(time_ns=0, object=members[0]))
    made.judge([replace(binds(1)[0], name="p3", uid="u3", decision=10)], [])


def test_member_of_a_group_that_is_not_there_is_caught() -> None:
    meta = ObjectMeta(name="another", namespace="d")
    group = PodGroup(metadata=meta, spec=PodGroupSpec(scheduling_policy=GANG))
    with pytest.raises(InvariantError, match="which is not there"):
        referee(group, [pod(0, is_labelled=False)]).judge(binds(1), [])
