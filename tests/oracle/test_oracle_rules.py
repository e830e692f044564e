"""The rules' answers are kube-scheduler's, case by case: nodes, reasons, scores, totals, text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from herz.app import build_plugins
from herz.config import PluginEntry, Policy
from herz.intake.arrive import Arrivals
from herz.model.decode import convert
from herz.model.objects import (
    CSINode,
    KubernetesObject,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    StorageClass,
)
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.outcome import Choice, NoFit
from herz.place.sheet import Sheet
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Kind, ReasonBook
from tests.oracle.oracle import Case, cases

RULES = (
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
)
FAMILIES = (
    *("resources", "taints", "nodeaffinity", "ports_images", "spread", "podaffinity", "mixed"),
    "volumes",
)
CATALOGUED: dict[str, type[KubernetesObject]] = {
    "namespaces": Namespace,
    "services": Service,
    "replicasets": ReplicaSet,
    "statefulsets": StatefulSet,
    "replicationcontrollers": ReplicationController,
    "persistentvolumes": PersistentVolume,
    "persistentvolumeclaims": PersistentVolumeClaim,
    "storageclasses": StorageClass,
    "csinodes": CSINode,
}
WEIGHTS = {"TaintToleration": 3, "NodeAffinity": 2, "PodTopologySpread": 2, "InterPodAffinity": 2}


class Judged:
    """One case, as Herz judges it."""

    def __init__(self, case: Case) -> None:
        args = {
            given["name"]: given["args"]
            for given in case.get("config", {}).get("pluginConfig", [])
            if given["name"] in RULES
        }
        policy = Policy("oracle", tuple(PluginEntry(n, args=args.get(n, {})) for n in RULES))
        self.book = ReasonBook()
        rules = build_plugins(policy, self.book)
        self.cluster = Cluster(SnapshotDigest())
        nodes = self.cluster.nodes
        self.framework = Framework(nodes, self.cluster.view, rules, self.book, salt=7)
        arrivals = Arrivals([], self.framework.sign, order_salt=b"")
        for node in case["nodes"]:
            self.cluster.apply_node(convert(Node, node))
        for name, kind in CATALOGUED.items():
            for thing in case.get(name, []):
                self.cluster.catalog.apply(convert(kind, thing))
        for number, given in enumerate(case["pods"]):
            given["metadata"].setdefault("uid", f"uid-{number}")
            info = arrivals.read(convert(Pod, given), ())
            self.cluster.assign(info, info.pod.spec.node_name, ())
        case["pod"]["metadata"].setdefault("uid", "uid-incoming")
        self.pod = arrivals.read(convert(Pod, case["pod"]), ())
        self.found = self.framework.decide(self.pod)


def sheet_of(judged: Judged) -> Sheet:
    sheet = judged.framework.sheet(judged.pod)
    assert isinstance(sheet, Sheet)
    return sheet


def rejections(judged: Judged) -> dict[str, dict[str, Any]]:
    sheet = sheet_of(judged)
    nodes = judged.cluster.nodes
    found = {}
    for position, code in enumerate(sheet.table.first().tolist()):
        if code > 0:
            row = position if sheet.rows is None else int(sheet.rows[position])
            verdict = judged.book.verdict(code)
            found[nodes.name(row)] = {
                "plugin": verdict.plugin,
                "code": verdict.kind.value,
                "reasons": sorted(verdict.reasons),
            }
    return found


def points(judged: Judged) -> dict[str, dict[str, int]]:
    sheet = sheet_of(judged)
    rows = judged.cluster.nodes.rows
    found = {}
    for index, rule in enumerate(sheet.score_names):
        by_position = sheet.table.points(index).tolist()
        where = list(range(len(by_position))) if sheet.rows is None else sheet.rows.tolist()
        at = dict(zip(where, by_position, strict=True))
        found[rule] = {name: at[row] for name, row in rows.items() if row in at}
    return found


def check(case: Case) -> None:
    judged = Judged(case)
    status = case["prefilter"].get("status")
    if status is not None:
        assert isinstance(judged.found, NoFit)
        assert judged.found.kind.value == status["code"]
        assert judged.found.rejected_by == (status["plugin"],)
        assert judged.found.message == case["fit_error"]
        return
    if "error" in case:
        assert isinstance(judged.found, NoFit)
        assert judged.found.kind is Kind.ERROR
        return
    expected = {
        name: {**given, "reasons": sorted(given["reasons"])}
        for name, given in case["filter"].items()
    }
    assert rejections(judged) == expected
    if not case["feasible"]:
        assert isinstance(judged.found, NoFit)
        assert judged.found.message == case["fit_error"]
        return
    assert isinstance(judged.found, Choice)
    mine = points(judged)
    for rule in RULES:
        if rule in case["scores"]:
            zeros = dict.fromkeys(case["feasible"], 0)
            given = mine.get(rule, zeros)
            assert {n: given[n] for n in case["feasible"]} == case["scores"][rule], rule
        else:
            given = mine.get(rule, {})
            skipped = [given.get(name, 0) for name in case["feasible"]]
            assert not any(skipped), f"{rule} should have been skipped"
    assert judged.found.node in case["best"]
    best = judged.found.top[0].total
    assert best == max(
        sum(WEIGHTS.get(rule, 1) * given[name] for rule, given in case["scores"].items())
        for name in case["feasible"]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_oracle_rules_agree_case_by_case(family: str) -> None:
    wrong = []
    count = 0
    for case in cases(family):
        count += 1
        try:
            check(case)
        except AssertionError as error:
            wrong.append(f"{case['id']}: {str(error)[:300]}")
    assert count >= 100
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:5])


def test_oracle_cases_would_show_a_wrong_answer() -> None:
    """The comparison can fail: a case whose expected score is moved by one is found."""
    case = next(c for c in cases("resources") if c["feasible"])
    node = case["feasible"][0]
    changed = json.loads(json.dumps(case))
    changed["scores"]["NodeResourcesFit"][node] += 1
    check(case)
    with pytest.raises(AssertionError):
        check(changed)
