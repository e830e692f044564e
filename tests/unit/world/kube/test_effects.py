"""Writes and their outcomes: behaviours 1 to 6, 14, 28 to 32, 34, 39 and 40, from our side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from herz.model.decode import convert
from herz.model.effects import (
    Bind,
    DeletePod,
    Effect,
    EmitEvent,
    Evict,
    Nominate,
    PatchClaim,
    PatchPodStatus,
    PatchVolume,
)
from herz.model.events import WorldEvent
from herz.model.objects import Pod
from herz.model.outcomes import BindFinished, PatchRefused, RemovalRefused
from herz.world.kube import effects as module
from herz.world.kube import posting as posting_module
from herz.world.kube.effects import Writer
from herz.world.kube.limits import Calls, Limits
from herz.world.kube.posting import Posting
from herz.world.kube.transport import NoAnswerError, Reply
from tests.support.fake_api import FakeApi, Request, lost, meta, reply, status

POD = "/api/v1/namespaces/default/pods/p"
BIND = Bind(
    namespace="default",
    name="p",
    uid="u",
    node="n-1",
    decision=7,
    annotations=(("herz.dev/decision", "7"),),
)
WHO = {"namespace": "default", "name": "p", "uid": "u"}
Answer = Reply | NoAnswerError | None
Content = dict[str, Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.001, 0.002))


class Desk:
    """A writer with a scripted server."""

    def __init__(self, script: Callable[[Request], Answer], known: Content | None = None) -> None:
        self.api = FakeApi(script)
        self.told: list[WorldEvent] = []
        self.may_write = True
        self.known = None if known is None else convert(Pod, known)
        calls = Calls(self.api, Limits(), lambda: self.may_write)
        self.posting = Posting(calls, "herz", "herz-here")
        self.writer = Writer(
            calls, self.posting, self.told.append, lambda _: self.known, lambda: 99
        )

    async def do(self, *effects: Effect) -> None:
        for effect in effects:
            self.writer.carry_out(effect)
        async with asyncio.timeout(20):
            await self.writer.idle.wait()
            await self.posting.idle.wait()

    def outcomes(self) -> list[str]:
        return [one.outcome for one in self.told if isinstance(one, BindFinished)]


def play(
    script: Callable[[Request], Answer],
    work: Callable[[Desk], Awaitable[None]],
    known: Content | None = None,
) -> Desk:
    async def main() -> Desk:
        desk = Desk(script, known)
        await work(desk)
        assert desk.writer.pending == 0
        return desk

    return asyncio.run(main())


def carried(
    script: Callable[[Request], Answer], *effects: Effect, known: Content | None = None
) -> Desk:
    async def work(desk: Desk) -> None:
        await desk.do(*effects)

    return play(script, work, known)


def in_turn(*answers: Answer) -> Callable[[Request], Answer]:
    left = list(answers)
    return lambda _: left.pop(0)


def bound_pod(node: str, uid: str = "u") -> Reply:
    return reply(200, {"metadata": meta("p", uid), "spec": {"nodeName": node}})


def test_01_a_bind_names_uid_node_and_decision() -> None:
    desk = carried(lambda _: reply(201, status(201)), BIND)
    (asked,) = desk.api.asked
    assert (asked.method, asked.path) == ("POST", f"{POD}/binding")
    assert asked.content == {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {
            "annotations": {"herz.dev/decision": "7"},
            "name": "p",
            "namespace": "default",
            "uid": "u",
        },
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n-1"},
    }
    assert desk.told == [BindFinished(time_ns=99, uid="u", decision=7, outcome="bound")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "outcome", "message"),
    [
        (bound_pod("n-1"), "bound", ""),
        (bound_pod("n-2"), "refused", "is already assigned"),
        (bound_pod(""), "refused", "is already assigned"),
        (bound_pod("n-1", uid="other"), "refused", "another pod has its name"),
        (None, "refused", "the pod is gone"),
    ],
)
def test_02_a_conflict_is_settled_by_reading_the_pod(
    found: Answer, outcome: str, message: str
) -> None:
    conflict = reply(409, status(409, "Conflict", "pod p is already assigned to node"))
    desk = carried(in_turn(conflict, found), BIND)
    (told,) = desk.told
    assert isinstance(told, BindFinished)
    assert told.outcome == outcome
    assert message in told.message
    assert told.resolved is UNSET, "an answer came at once"


@pytest.mark.parametrize("first", [lost(), reply(500, status(500)), reply(504, status(504))])
@pytest.mark.parametrize(("node", "outcome"), [("n-1", "bound"), ("", "refused")])
def test_04_a_bind_without_an_answer_is_unknown_until_the_api_tells(
    first: Answer, node: str, outcome: str
) -> None:
    # The pod cannot be read at once either: it is asked for until it can.
    desk = carried(in_turn(first, lost(), reply(503, status(503)), bound_pod(node)), BIND)
    assert desk.outcomes() == ["unknown", outcome]
    assert [one.method for one in desk.api.asked] == ["POST", "GET", "GET", "GET"]
    unknown, known = [one for one in desk.told if isinstance(one, BindFinished)]
    assert unknown.code == (first.status if isinstance(first, Reply) else UNSET)
    assert (unknown.resolved, known.resolved) == (UNSET, "read")
    assert (known.resource_version is not UNSET) == (outcome == "bound")


def test_04_the_watch_may_settle_an_unknown_bind_first() -> None:
    async def work(desk: Desk) -> None:
        desk.writer.carry_out(BIND)
        await desk.api.until(lambda: len(desk.api.asked) > 3)
        assert desk.outcomes() == ["unknown"]
        pod = {"metadata": meta("p", "u"), "spec": {"nodeName": "n-1"}}
        desk.writer.seen(convert(Pod, pod))
        await desk.writer.idle.wait()
        assert desk.outcomes() == ["unknown", "bound"]

    play(lambda _: lost(), work)


def test_04_what_was_not_sent_is_sent_again_and_refused_in_the_end() -> None:
    desk = carried(in_turn(lost(is_sent=False), reply(201)), BIND)
    assert desk.outcomes() == ["bound"]
    desk = carried(lambda _: lost(is_sent=False), BIND)
    assert desk.outcomes() == ["refused"]
    assert len(desk.api.asked) == module.TRIES_MAX


def test_14_the_watch_may_be_before_the_answer_and_both_are_one_outcome() -> None:
    async def work(desk: Desk) -> None:
        desk.writer.carry_out(BIND)
        pod = {"metadata": meta("p", "u"), "spec": {"nodeName": "n-1"}}
        desk.writer.seen(convert(Pod, pod))
        await desk.writer.idle.wait()
        assert desk.outcomes() == ["bound"]
        # It is settled: what the watch shows later is no outcome of it.
        desk.writer.seen(convert(Pod, pod))
        assert desk.outcomes() == ["bound"]

    play(lambda _: reply(201), work)


def test_14_a_pod_that_the_watch_shows_elsewhere_was_not_bound_by_us() -> None:
    async def work(desk: Desk) -> None:
        desk.writer.carry_out(BIND)
        pod = {"metadata": meta("p", "u"), "spec": {"nodeName": "n-9"}}
        desk.writer.seen(convert(Pod, pod))
        await desk.writer.idle.wait()
        (told,) = desk.told
        assert isinstance(told, BindFinished)
        assert (told.outcome, told.message) == ("refused", "the pod is on n-9")

    play(lambda _: reply(409, status(409)), work)


def test_16_nothing_is_sent_by_a_replica_that_does_not_lead() -> None:
    async def work(desk: Desk) -> None:
        desk.may_write = False
        await desk.do(BIND, DeletePod(**WHO, message="m"))
        assert desk.api.asked == []
        assert desk.outcomes() == ["refused"]

    play(lambda _: reply(201), work)


def test_28_a_nomination_is_a_patch_of_the_status_and_an_empty_one_ends_it() -> None:
    desk = carried(lambda _: reply(200), Nominate(**WHO, node="n-2"), Nominate(**WHO, node=""))
    first, second = desk.api.asked
    assert (first.method, first.path) == ("PATCH", f"{POD}/status")
    assert first.content_type == "application/strategic-merge-patch+json"
    assert first.content == {"metadata": {"uid": "u"}, "status": {"nominatedNodeName": "n-2"}}
    assert second.content["status"] == {"nominatedNodeName": None}


def test_29_a_victim_is_marked_then_deleted_by_its_uid() -> None:
    known = {"metadata": {**meta("p", "u"), "generation": 3}}
    desk = carried(lambda _: reply(200), DeletePod(**WHO, message="m"), known=known)
    mark, deletion = desk.api.asked
    (condition,) = mark.content["status"]["conditions"]
    assert condition.pop("lastTransitionTime").endswith("Z")
    assert condition == {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "m",
        "lastProbeTime": None,
        "observedGeneration": 3,
    }
    assert (deletion.method, deletion.path) == ("DELETE", POD)
    assert deletion.content["preconditions"] == {"uid": "u"}
    assert desk.told == []


@pytest.mark.parametrize(("code", "is_refused"), [(404, False), (409, False), (403, True)])
def test_29_a_victim_that_is_gone_is_no_refusal(code: int, is_refused: bool) -> None:
    def script(asked: Request) -> Answer:
        return reply(200) if asked.method == "PATCH" else reply(code, status(code))

    desk = carried(script, DeletePod(**WHO, message="m"))
    assert [type(one) for one in desk.told] == [RemovalRefused] * is_refused


def test_29_a_deletion_without_an_answer_is_repeated() -> None:
    desk = carried(
        in_turn(reply(200), lost(), reply(503), reply(200)), DeletePod(**WHO, message="")
    )
    assert [one.method for one in desk.api.asked] == ["PATCH", "DELETE", "DELETE", "DELETE"]
    assert desk.told == []


def test_29_an_eviction_that_breaks_a_budget_is_refused_at_once() -> None:
    budget = status(429, "TooManyRequests", "Cannot evict pod")
    budget["details"] = {"causes": [{"reason": "DisruptionBudget"}]}
    desk = carried(lambda _: reply(429, budget), Evict(**WHO))
    (asked,) = desk.api.asked
    assert asked.path == f"{POD}/eviction"
    assert asked.content["deleteOptions"] == {"preconditions": {"uid": "u"}}
    (told,) = desk.told
    assert isinstance(told, RemovalRefused)
    assert "Cannot evict pod" in told.message


UNFIT = PatchPodStatus(**WHO, reason="Unschedulable", message="0/3 nodes are available")


def with_condition(**changes: Any) -> Content:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 2,
        **changes,
    }
    return {
        "metadata": {**meta("p", "u"), "generation": 2},
        "status": {"conditions": [condition]},
    }


def test_31_a_condition_is_written_only_when_it_changes() -> None:
    assert carried(lambda _: reply(200), UNFIT, known=with_condition()).api.asked == []
    # Other words: the time of the transition stays.
    desk = carried(lambda _: reply(200), UNFIT, known=with_condition(message="other"))
    (condition,) = desk.api.asked[0].content["status"]["conditions"]
    assert condition["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert (condition["reason"], condition["observedGeneration"]) == ("Unschedulable", 2)
    # Another status: it is now.
    desk = carried(lambda _: reply(200), UNFIT, known=with_condition(status="True"))
    (condition,) = desk.api.asked[0].content["status"]["conditions"]
    assert condition["lastTransitionTime"] > "2026-06-01"


def test_31_a_pod_of_that_name_with_another_uid_gets_no_condition() -> None:
    known = {"metadata": meta("p", "other")}
    assert carried(lambda _: reply(200), UNFIT, known=known).api.asked == []


def event(**changes: Any) -> EmitEvent:
    given: dict[str, Any] = {
        "type": "Warning",
        "reason": "FailedScheduling",
        "action": "Scheduling",
        "note": "0/3 nodes are available",
    }
    return msgspec.convert({"kind": "EmitEvent", **WHO, **given, **changes}, EmitEvent)


def test_32_events_have_their_form_and_bounds() -> None:
    desk = carried(lambda _: reply(201), event(note="é" * 600, reason="r" * 200))
    (asked,) = desk.api.asked
    assert asked.path == "/apis/events.k8s.io/v1/namespaces/default/events"
    content = asked.content
    assert len(content["note"].encode()) <= 1024
    assert content["note"].endswith("é...")
    assert len(content["reason"]) == 128
    assert content["reportingController"] == "herz"
    assert content["reportingInstance"] == "herz-here"
    assert content["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "namespace": "default",
        "uid": "u",
    }
    assert len(content["eventTime"]) == len("2026-01-01T00:00:00.000000Z")
    assert content["metadata"]["name"].startswith("p.")


def test_32_what_repeats_is_a_series_that_is_written_now_and_then() -> None:
    desk = carried(lambda _: reply(201), *(event() for _ in range(50)), event(note="other"))
    assert [one.method for one in desk.api.asked].count("POST") == 2
    patches = desk.api.of("PATCH")
    assert len(patches) == 1
    assert patches[0].content["series"]["count"] == 2
    name = desk.api.of("POST")[0].content["metadata"]["name"]
    assert patches[0].path.endswith(f"/events/{name}")


def test_32_events_are_bounded_and_their_loss_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting_module, "QUEUE_MAX", 3)
    desk = carried(lambda _: reply(403, status(403)), *(event(note=str(one)) for one in range(10)))
    assert desk.posting.dropped == 10
    assert len(desk.api.asked) == 3


@pytest.mark.parametrize("turns", range(8))
def test_32_an_event_that_comes_while_the_last_ones_end_is_written_too(turns: int) -> None:
    async def work(desk: Desk) -> None:
        for one in range(posting_module.WORKERS):
            desk.posting.post(event(note=str(one)))
        for _ in range(turns):
            await asyncio.sleep(0)
        desk.posting.post(event(note="another"))
        async with asyncio.timeout(2):
            await desk.posting.idle.wait()

    desk = play(lambda _: reply(201), work)
    assert desk.posting.posted == posting_module.WORKERS + 1


CLAIM = PatchClaim(
    namespace="default",
    name="c",
    uid="cu",
    resource_version="5",
    annotations=(("volume.kubernetes.io/selected-node", "n-1"),),
    pod="u",
    decision=7,
)
CLAIM_PATH = "/api/v1/namespaces/default/persistentvolumeclaims/c"


def test_34_a_claim_is_patched_in_the_version_that_was_decided_on() -> None:
    desk = carried(lambda _: reply(200), CLAIM)
    (asked,) = desk.api.asked
    assert (asked.method, asked.path) == ("PATCH", CLAIM_PATH)
    assert asked.content == {
        "metadata": {
            "annotations": {"volume.kubernetes.io/selected-node": "n-1"},
            "resourceVersion": "5",
            "uid": "cu",
        }
    }
    assert desk.told == []


@pytest.mark.parametrize("has_landed", [True, False])
def test_34_a_patch_whose_answer_was_lost_is_found_out(has_landed: bool) -> None:
    notes = {"volume.kubernetes.io/selected-node": "n-1"} if has_landed else {}
    found = reply(200, {"metadata": {**meta("c", "cu"), "annotations": notes}})
    desk = carried(in_turn(lost(), reply(409, status(409)), found), CLAIM)
    assert [type(one) for one in desk.told] == ([] if has_landed else [PatchRefused])


def test_34_a_volume_is_given_to_the_claim_and_a_refusal_is_told() -> None:
    effect = PatchVolume(
        name="v",
        uid="vu",
        resource_version="6",
        claim_namespace="default",
        claim_name="c",
        claim_uid="cu",
        annotations=(("pv.kubernetes.io/bound-by-controller", "yes"),),
        pod="u",
        decision=7,
    )
    desk = carried(lambda _: reply(200), effect)
    content = desk.api.asked[0].content
    assert content["spec"]["claimRef"]["uid"] == "cu"
    assert content["metadata"]["resourceVersion"] == "6"
    taken = {"metadata": meta("v", "vu"), "spec": {"claimRef": {"uid": "other"}}}
    desk = carried(in_turn(reply(409, status(409)), reply(200, taken)), effect)
    (told,) = desk.told
    assert isinstance(told, PatchRefused)
    assert told.effect == effect


def test_39_an_admission_s_denial_is_final() -> None:
    denial = status(403, "Forbidden", 'admission webhook "x" denied the request')
    desk = carried(lambda _: reply(403, denial), BIND)
    (told,) = desk.told
    assert isinstance(told, BindFinished)
    assert (told.outcome, len(desk.api.asked)) == ("refused", 1)
    assert "denied the request" in told.message


def test_40_a_429_is_repeated_after_the_time_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await sleep(0)

    async def work(desk: Desk) -> None:
        monkeypatch.setattr(asyncio, "sleep", noted)
        # The clock stands still for this test: each look finds the wait not over, but once.
        loop = asyncio.get_running_loop()
        began = loop.time()
        monkeypatch.setattr(loop, "time", lambda: began + sum(waits))
        await desk.do(BIND)
        monkeypatch.undo()
        assert desk.outcomes() == ["bound"]

    play(in_turn(reply(429, status(429), retry_after="3"), reply(201)), work)
    assert 3 <= sum(waits) <= 3.4


def test_writes_about_one_object_keep_their_order_and_others_go_beside() -> None:
    order: list[str] = []

    def script(asked: Request) -> Answer:
        order.append(asked.path.rsplit("pods/")[1])
        return reply(200)

    other = Nominate(namespace="default", name="q", uid="w", node="n")
    carried(script, Nominate(**WHO, node="n"), UNFIT, BIND, other)
    assert [one for one in order if one.startswith("p/")] == ["p/status", "p/status", "p/binding"]
    assert order.index("q/status") < 2, "it did not wait for the others"


def test_requests_under_way_and_their_rate_are_bounded() -> None:
    async def main() -> None:
        api = FakeApi(lambda _: reply(200))
        at_once = most = 0
        plain = api.request

        async def counted(*given: Any, **more: Any) -> Reply:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            return await plain(*given, **more)

        api.request = counted  # type: ignore[method-assign]
        calls = Calls(api, Limits(rate=1000, burst=5, in_flight_max=3))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(calls.request("GET", "/", timeout_seconds=1) for _ in range(105)))
        assert most == 3
        assert loop.time() - began >= 0.1

    asyncio.run(main())
