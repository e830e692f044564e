"""What kube-scheduler's volume rules answer where its oracle holds no case."""

from __future__ import annotations

from typing import Any

import pytest

from herz.errors import ConfigError
from herz.model.objects import KubernetesObject, Node, Pod
from herz.place.outcome import NoFit
from herz.place.volumes.migration import (
    BETA_REGION,
    BETA_ZONE,
    ZONE,
    in_tree,
    translated_affinity,
    volume_handle,
)
from herz.plugin import Filter, Kind, Verdict
from tests.support.machine import World, make_policy
from tests.support.objects import make_node
from tests.support.storage import (
    LOCAL,
    make_claim,
    make_volume,
    using,
)
from tests.unit.place.plugins.volume_cases import (
    CASES,
    CLASSES,
    GCE_ZONE,
    LIMIT_1,
    Case,
    disk,
    ephemeral,
)


def world(*objects: KubernetesObject) -> World:
    here = World(make_policy()).nodes(
        make_node("a", labels={"zone": "a"}), make_node("b", labels={"zone": "b"})
    )
    for thing in (*CLASSES, *objects):
        if isinstance(thing, Pod):
            here.assign(thing, thing.spec.node_name)
        elif isinstance(thing, Node):
            here.nodes(thing)
        else:
            here.cluster.catalog.apply(thing)
    return here


def fitting(here: World, pod: Pod) -> tuple[str, str]:
    """The nodes that fit, and all that is said of the others."""
    sheet = here.framework.sheet(here.read(pod))
    found = here.decide(pod)
    if isinstance(sheet, Verdict):
        assert isinstance(found, NoFit)
        return "", found.message
    rows = here.cluster.nodes.rows
    names = [name for name in sorted(rows) if sheet.code(rows[name]) == 0]
    told = (reason for stage in found.path for reason, _ in stage.reasons)
    return "".join(names), " ".join(told)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_volume_rules_answer_as_the_source_says(case: Case) -> None:
    fits, told = fitting(world(*case.objects), case.pod)
    assert fits == case.fits, told
    assert case.why in told


def test_several_reasons_of_one_node_are_told_together() -> None:
    """volumebinding/binder.go FindPodVolumes: bound and unbound claims are both looked at."""
    objects: list[Any] = [
        *(make_claim("c", LOCAL, volume="pv"), make_volume("pv", claim="c", zone="a")),
        make_claim("d", LOCAL),
    ]
    found = world(*objects).decide(using("p", "c", "d"))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.NEVER_FITS
    assert found.message == (
        "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity,"
        " 2 node(s) didn't find available persistent volumes to bind."
    )


def test_a_lost_volume_is_told_where_no_other_volume_is_away() -> None:
    """volumebinding/binder.go checkBoundClaims, without VolumeZone, which would say it first."""
    here = World(make_policy(["VolumeBinding"])).nodes(
        make_node("a", labels={"zone": "a"}), make_node("b", labels={"zone": "b"})
    )
    for thing in (
        *(make_claim("c", LOCAL, volume="pv"), make_volume("pv", claim="c", zone="a")),
        make_claim("d", LOCAL, volume="lost"),
    ):
        here.cluster.catalog.apply(thing)
    found = here.decide(using("p", "c", "d"))
    assert isinstance(found, NoFit)
    assert found.message == (
        "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity,"
        " 1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."
    )


def test_limits_without_volume_binding_still_need_the_claim() -> None:
    here = World(make_policy(["NodeVolumeLimits"])).nodes(make_node("a"))
    for pod in (using("p", "c"), ephemeral()):
        found = here.decide(pod)
        assert isinstance(found, NoFit)
        assert found.kind is Kind.NEVER_FITS
        assert "looking up PVC" in found.message


def test_a_malformed_disk_is_an_error() -> None:
    """nodevolumelimits/csi.go checkAttachableInlineVolume, aws_ebs.go."""
    found = world().decide(disk("p", "awsElasticBlockStore", volumeID="aws://zone/odd"))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.ERROR
    assert "aws://zone/odd is no aws volume" in found.message


HANDLES: list[tuple[str, dict[str, Any], dict[str, str], str | None]] = [
    ("gcePersistentDisk", {"pdName": "d"}, {}, "zones/UNSPECIFIED/disks/d"),
    ("gcePersistentDisk", {"pdName": "d"}, {BETA_ZONE: "us-a-b"}, "zones/us-a-b/disks/d"),
    ("gcePersistentDisk", {"pdName": "d"}, {ZONE: "us-a-b__us-a-c"}, "regions/us-a/disks/d"),
    ("gcePersistentDisk", {"pdName": "d"}, {ZONE: "us-a-b__us-x-c"}, None),
    ("gcePersistentDisk", {"pdName": "d"}, {ZONE: "us-a-b__odd"}, None),
    ("awsElasticBlockStore", {"volumeID": "vol-1"}, {}, "vol-1"),
    ("awsElasticBlockStore", {"volumeID": "aws://zone/vol-1"}, {}, "vol-1"),
    ("awsElasticBlockStore", {"volumeID": "aws:///vol-1/"}, {}, "vol-1"),
    ("awsElasticBlockStore", {"volumeID": "aws://zone/a/vol-1"}, {}, None),
    ("azureDisk", {"diskName": "d", "diskURI": "/sub/d"}, {}, "/sub/d"),
    ("cinder", {"volumeID": "v"}, {}, "v"),
    ("portworxVolume", {"volumeID": "v"}, {}, "v"),
    ("nfs", {"server": "s"}, {}, None),
]


@pytest.mark.parametrize(("kind", "source", "labels", "handle"), HANDLES)
def test_in_tree_volumes_have_the_handles_of_their_drivers(
    kind: str, source: dict[str, Any], labels: dict[str, str], handle: str | None
) -> None:
    """csi-translation-lib/plugins: TranslateInTreePVToCSI of each."""
    volume = make_volume("pv", labels=labels, spec={kind: source})
    found = volume_handle(volume)
    assert found == handle or (handle and found and found.endswith(handle))
    assert (in_tree(volume) is None) == (kind == "nfs")


def test_old_zone_labels_become_the_drivers_topology() -> None:
    """csi-translation-lib/plugins/in_tree_volume.go translateTopologyFromInTreeToCSI."""
    by_label = translated_affinity(make_volume("pv", labels={BETA_ZONE: "x__ y"}), GCE_ZONE)
    assert by_label is not None
    ((item,),) = [term.match_expressions for term in by_label.node_selector_terms]
    assert (item.key, item.operator, item.values) == (GCE_ZONE, "In", ("x", "y"))
    wanted = [
        {"key": key, "operator": "In", "values": ["v"]} for key in (BETA_ZONE, BETA_REGION, "other")
    ]
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": wanted}]}}
    by_term = translated_affinity(make_volume("pv", spec={"nodeAffinity": affinity}), GCE_ZONE)
    assert by_term is not None
    keys = [item.key for term in by_term.node_selector_terms for item in term.match_expressions]
    assert keys == [GCE_ZONE, "topology.kubernetes.io/region", "other"]
    assert translated_affinity(make_volume("pv"), GCE_ZONE) is None


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ({"bindTimeoutSeconds": -1}, "time-out below zero"),
        ({"shape": []}, "shape"),
        ({"bindTimeoutSeconds": "x"}, "int"),
    ],
)
def test_wrong_arguments_are_refused(args: dict[str, Any], what: str) -> None:
    """apis/config/validation ValidateVolumeBindingArgs; `shape` needs an alpha gate."""
    with pytest.raises(ConfigError, match=what):
        World(make_policy(["VolumeBinding"], {"VolumeBinding": args}))


def test_a_claim_for_one_pod_closes_all_nodes_until_it_is_free() -> None:
    """volumerestrictions satisfyReadWriteOncePod, and its AddPod and RemovePod."""
    here = world(make_claim("c", LOCAL, volume="pv", modes=["ReadWriteOncePod"]), make_volume("pv"))
    held = here.assign(using("x", "c"), "a")
    found = here.decide(using("p", "c"))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.UNFIT
    assert "ReadWriteOncePod" in found.message
    info = here.read(using("p", "c"))
    rule = next(rule for rule, _ in here.rules if rule.name == "VolumeRestrictions")
    assert isinstance(rule, Filter)
    view = here.cluster.view
    state = rule.prepare(info, view)
    everywhere = slice(None)
    assert rule.filter(state, view, everywhere)[here.cluster.nodes.rows["b"]] != 0
    assert not rule.filter(state, view.without((held.uid,)), everywhere).any()
    assert rule.filter(state, view.without((held.uid,)).with_(held, 1), everywhere).all()
    assert rule.filter(state, view, everywhere).all()
    here.cluster.forget(held.uid)
    assert not isinstance(here.decide(using("p", "c")), NoFit)


def test_limits_follow_pods_that_come_and_go() -> None:
    here = world(LIMIT_1, make_claim("c"), make_claim("d"))
    pod = here.read(using("p", "c"))
    assert fitting(here, pod.pod)[0] == "ab"
    held = here.assign(using("x", "d"), "a")
    assert fitting(here, pod.pod)[0] == "b"
    here.cluster.forget(held.uid)
    assert fitting(here, pod.pod)[0] == "ab"
