"""Preemption is kube-scheduler's, case by case: eligible, candidates, victims in order, choice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from herz.app import build_plugins
from herz.config import PluginEntry, Policy
from herz.intake.arrive import Arrivals
from herz.model.decode import convert
from herz.model.objects import Node, Pod, PodDisruptionBudget
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.outcome import NoFit
from herz.place.preemption.outcomes import NO_VICTIM
from herz.place.preemption.preemption import NO_VICTIMS, NotPreempted, Preempted, Preemption
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Kind, ReasonBook
from herz.profiles import preemption
from tests.oracle.oracle import Case, cases
from tests.oracle.test_oracle_rules import CATALOGUED, RULES


class Preempting:
    """One case, as Herz judges it."""

    def __init__(self, case: Case) -> None:
        entries = tuple(PluginEntry(name) for name in (*RULES, "DefaultPreemption"))
        self.book = ReasonBook()
        rules = build_plugins(Policy("oracle", entries), self.book)
        self.cluster = Cluster(SnapshotDigest())
        self.framework = Framework(
            self.cluster.nodes,
            self.cluster.view,
            rules,
            self.book,
            salt=7,
            nominations=self.cluster.nominations,
        )
        arrivals = Arrivals([], self.framework.sign, order_salt=b"")
        for name, kind in (*CATALOGUED.items(), ("pdbs", PodDisruptionBudget)):
            for thing in case.get(name, ()):
                self.cluster.catalog.apply(convert(kind, thing))
        for node in case["nodes"]:
            self.cluster.apply_node(convert(Node, node))
        for given in case["pods"]:
            info = arrivals.read(convert(Pod, given), ())
            self.cluster.assign(info, info.pod.spec.node_name, ())
        for given in case.get("nominated", ()):
            self.cluster.nominations.see(arrivals.read(convert(Pod, as_recorded(given)), ()))
        self.pod = arrivals.read(convert(Pod, case["pod"]), ())
        self.cluster.nominations.see(self.pod)
        self.found = self.framework.decide(self.pod)
        made = preemption(rules, self.cluster, self.framework)
        assert isinstance(made, Preemption)
        self.preemption = made

    def potential(self) -> list[str]:
        """The nodes that preemption may help."""
        sheet = self.preemption.sheet(self.pod)
        assert sheet is not None
        rows = self.preemption.potential(sheet)
        return sorted(self.cluster.nodes.name(row) for row in rows.tolist())

    def candidates(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What each potential node would cost, or why it is no candidate."""
        name = self.cluster.nodes.name
        sheet = self.preemption.sheet(self.pod)
        assert sheet is not None
        outcomes, trial, potential = self.preemption.worked(self.pod, sheet)
        found = {}
        for row in outcomes.candidates(potential).tolist():
            outcome = outcomes.outcome(row)
            found[name(row)] = {
                "victims": [placed.pod.key for placed in outcome.victims],
                "pdbViolations": outcome.violations,
            }
        refused = {}
        codes = outcomes.codes(potential, trial).tolist()
        for row, code in zip(potential.tolist(), codes, strict=True):
            if name(row) not in found:
                refused[name(row)] = self._why(code)
        return found, refused

    def _why(self, code: int) -> tuple[str, list[str]]:
        if code == NO_VICTIM:
            return Kind.NEVER_FITS.value, [NO_VICTIMS]
        verdict = self.book.verdict(code)
        return verdict.kind.value, sorted(verdict.reasons)


def as_recorded(nominated: dict[str, Any]) -> dict[str, Any]:
    """The nominated pod as the recorder's kube-scheduler saw it: bare, of priority 0.

    The recorder told the nominator of it, and not the queue; kube-scheduler takes what it knows of
    a nominated pod from the queue (`nominatedPodToInfo`), and has no more than its name otherwise.
    tests/unit/place/test_nominated.py has what nominated pods that wait in the queue lead to.
    """
    meta = nominated["metadata"]
    name = {key: meta[key] for key in ("name", "namespace", "uid")}
    return {**nominated, "metadata": name, "spec": {}}


def check(case: Case) -> None:
    judged = Preempting(case)
    expected = case["preemption"]
    assert isinstance(judged.found, NoFit)
    assert judged.found.message == case["fit_error"]
    result = judged.preemption.run(judged.pod)
    if not expected["eligible"]:
        assert isinstance(result, NotPreempted)
        assert result.message == f"preemption: {expected['message']}"
        return
    assert judged.potential() == sorted(expected["potential"])
    found, refused = judged.candidates()
    assert found == expected["candidates"]
    assert refused == {
        name: (status["code"], sorted(status["reasons"]))
        for name, status in expected["notCandidates"].items()
    }
    if not expected["candidates"]:
        assert isinstance(result, NotPreempted)
        return
    assert isinstance(result, Preempted)
    assert result.node == expected["chosen"]
    assert [placed.pod.key for placed in result.victims] == found[result.node]["victims"]


def test_oracle_preemption_agrees_case_by_case() -> None:
    wrong = []
    count = 0
    for case in cases("preemption"):
        count += 1
        try:
            check(case)
        except AssertionError as error:
            wrong.append(f"{case['id']}: {str(error)[:600]}")
    assert count > 100
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:8])


def test_oracle_preemption_cases_would_show_a_wrong_answer() -> None:
    """The comparison can fail: a case in which two victims change places is found."""
    case = next(
        case
        for case in cases("preemption")
        if any(len(one["victims"]) > 1 for one in case["preemption"].get("candidates", {}).values())
    )
    changed = json.loads(json.dumps(case))
    for one in changed["preemption"]["candidates"].values():
        one["victims"].reverse()
    check(case)
    with pytest.raises(AssertionError):
        check(changed)
