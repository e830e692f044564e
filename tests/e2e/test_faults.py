"""A short round of faults under load; what each check of a round sees; one journal, one writer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from herz.errors import WorldError
from herz.model.journal import Batch
from herz.world.store.files import FileStore
from tests.faults import checks
from tests.faults.__main__ import read
from tests.faults.round import Outcome, Plan, Round, summary
from tests.support.proxy import Seen

Content = dict[str, Any]
ROOT = "/api/v1/namespaces/default/pods"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_round_comes_right(tmp_path: Path) -> None:
    outcome = asyncio.run(Round(Plan(4, seconds=6, pods=40, nodes=4), tmp_path).run())
    assert not outcome.problems
    assert outcome.faults
    assert outcome.bound >= 36, "what was not deleted before"


def test_rounds_of_several_sittings_are_one_table(tmp_path: Path) -> None:
    log = tmp_path / "rounds.jsonl"
    assert read(log) == read(None) == []
    first, second = Outcome(Plan(1, 60, 500, 4)), Outcome(Plan(2, 60, 500, 4, tmp_path))
    first.recovered_seconds, second.recovered_seconds = 2.0, 1.0
    first.bound, second.bound = 450, 440
    second.problems, second.faults["429"] = ["p has no node"], 7
    lines = [json.dumps(one.told()) for one in (first, second)]
    # A sitting that was killed left half a line: that round is none.
    log.write_text("\n".join([*lines, lines[0][:20]]), encoding="utf-8")
    total = summary(read(log))
    assert (total["rounds"], total["problems"], total["bound"]) == (2, 1, 890)
    assert (total["recovered_seconds_p99"], total["faults"]) == (2.0, {"429": 7})
    assert total["kinds"] == {"graceful": 1, "quiet": 1}


def seen(method: str, path: str, status: int = 200, uid: str = "", **query: str) -> Seen:
    return Seen(method, path, {name: [text] for name, text in query.items()}, status, None, uid, 0)


def pod(name: str, cpu: str, node: str = "", **status: str) -> Content:
    container = {"resources": {"requests": {"cpu": cpu}}}
    spec = {"nodeName": node, "containers": [container]}
    return {"metadata": {"name": name}, "spec": spec, "status": status}


NODE: Content = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2"}}}


def test_the_checks_see_what_is_wrong() -> None:
    taken = [
        seen("POST", f"{ROOT}/p/binding", 201, "u"),
        seen("POST", f"{ROOT}/q/binding", 201, "v"),
    ]
    assert not checks.bound_twice(taken)
    assert checks.bound_twice([*taken, seen("POST", f"{ROOT}/p/binding", 201, "u")])
    assert not checks.bound_twice([*taken, seen("POST", f"{ROOT}/p/binding", 409, "u")])
    assert checks.unbound([pod("a", "1"), pod("b", "1", "n")]) == ["a has no node"]
    full = [pod("a", "1500m", "n"), pod("b", "500m", "n"), pod("c", "1", "n", phase="Failed")]
    assert not checks.overfull([NODE], full)
    assert checks.free(NODE, full) == 0
    assert checks.overfull([NODE], [*full, pod("d", "1m", "n")]) == ["n holds 2001m of 2"]
    assert checks.overfull([NODE], [pod("e", "1", "n", phase="Failed", reason="OutOfcpu")])
    assert checks.told_secrets({"r0": "token abc"}, ["abc"])
    assert not checks.told_secrets({"r0": "token (hidden)"}, ["abc"])


def test_requests_beyond_the_charts_grants_are_seen() -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    allowed = [
        seen("GET", "/version"),
        seen("GET", "/apis/storage.k8s.io/v1"),
        seen("GET", "/api/v1/nodes", watch="true"),
        seen("GET", "/api/v1/pods", limit="500"),
        seen("GET", f"{ROOT}/p"),
        seen("POST", f"{ROOT}/p/binding"),
        seen("PATCH", f"{ROOT}/p/status"),
        seen("DELETE", f"{ROOT}/p"),
        seen("POST", leases),
        seen("PUT", f"{leases}/herz"),
        seen("POST", "/apis/events.k8s.io/v1/namespaces/default/events"),
    ]
    assert not checks.beyond_grants(allowed)
    for more, grant in (
        (seen("POST", ROOT), "create  pods"),
        (seen("PATCH", f"{ROOT}/p"), "patch  pods"),
        (seen("POST", f"{ROOT}/p/eviction"), "create  pods/eviction"),
        (seen("GET", "/api/v1/secrets"), "list  secrets"),
        (seen("DELETE", f"{leases}/herz"), "delete coordination.k8s.io leases"),
        (seen("GET", "/api/v1/namespaces/default/configmaps", watch="1"), "watch  configmaps"),
    ):
        assert checks.beyond_grants([*allowed, more]) == [f"{grant} is not granted"]
    assert checks.beyond_grants([seen("DELETE", f"{ROOT}/p")], "least")


def test_a_stale_leaders_append_fails(tmp_path: Path) -> None:
    old = FileStore.open(tmp_path, 1)
    new = FileStore.open(tmp_path, 2)
    try:
        with pytest.raises(WorldError, match="term 1 is over: the leader's is 2"):
            old.append(Batch(0, b""), expected=0, sync=True)
        new.append(Batch(0, b""), expected=0, sync=True)
        with pytest.raises(WorldError, match="term 1 is over"):
            FileStore.open(tmp_path, 1)
    finally:
        old.close()
        new.close()
