"""SLAFit: promises kept from risk, told and counted; and what it does when it cannot know."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from herz import signals
from herz.errors import ConfigError
from herz.front.explain import notes
from herz.knowledge.sla.classes import CLASS_LABEL, DEFAULTS
from herz.knowledge.sla.features import FeatureSpec
from herz.knowledge.sla.profiles import PRIOR
from herz.knowledge.sla.state import FEATURES, SERVICE, STRAINS, measured
from herz.model.effects import EmitEvent
from herz.model.objects import Pod, ServiceProfile
from herz.model.record import Decided, Record
from herz.place import promises
from herz.place.plugins.sla_fit import REASON
from tests.support.machine import SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod
from tests.support.promises_model import (
    arguments,
    made_model,
    made_of,
    profile,
    sample,
    several,
)

RULES = ("Understood", "NodeResourcesFit", "SLAClasses", "SLARefuse", "SLAFit")
CLASSES = {
    "strict": {"objective": {"kind": "latency", "targetMilliseconds": 100}, "below": "refuse"},
    "careless": {"objective": {"kind": "latency", "targetMilliseconds": 100}, "below": "ignore"},
}


def harness(
    given: dict[str, Any] | None = None, *, nodes: int = 3, samples: bool = True
) -> Harness:
    """Nodes n0, n1, …; hogs use 3,000 basis points of a node's memory bandwidth each."""
    args = arguments() if given is None else given
    own = {"classes": CLASSES}
    named = {"SLAFit": {**own, **args}, "SLARefuse": {**own, **args}, "SLAClasses": own}
    made = Harness(make_policy(RULES, named))
    for number in range(nodes):
        made.apply(make_node(f"n{number}", cpu="16", memory="64Gi"))
        if samples:
            made.apply(sample(f"n{number}"))
    made.apply(
        profile("web", cpu_used=500, bandwidth_used=100),
        profile("hog", sla_class="batch", cpu_used=500, bandwidth_used=3_000),
    )
    return made


def hog(name: str, node: str = "") -> Pod:
    labels = {"app": "hog", CLASS_LABEL: "batch"}
    return make_pod(name, {"cpu": "1"}, labels=labels, node=node)


def web(name: str, sla_class: str = "online", node: str = "") -> Pod:
    labels = {"app": "web", CLASS_LABEL: sla_class}
    return make_pod(name, {"cpu": "1"}, labels=labels, node=node)


def last(made: Harness) -> Record:
    return made.kept.records[-1]


def crowd(made: Harness, *nodes: str) -> Harness:
    """Two hogs on each of the nodes."""
    for number, node in enumerate((*nodes, *nodes)):
        made.apply(hog(f"there-{number}", node))
    return made


def test_promise_goes_where_it_is_kept() -> None:
    made = crowd(harness(), "n0", "n2")
    assert made.place(web("a")).node == "n1"
    told = {one.node: one for one in last(made).promises}
    assert told["n1"].probability > 9_500
    assert told["n1"].abstained == ""
    assert made.counters[signals.TURNED_AWAY] == 1
    assert (REASON, 2) in last(made).path[0].reasons


def test_bad_neighbour_stays_away_from_promises() -> None:
    made = harness(nodes=2).apply(profile("filler", sla_class="", cpu_used=500, bandwidth_used=100))
    for node, name in (("n0", "web"), ("n1", "filler")):
        made.apply(hog(f"there-{node}", node))
        labels = {"app": name, **({CLASS_LABEL: "online"} if name == "web" else {})}
        made.apply(make_pod(f"resident-{node}", {"cpu": "1"}, labels=labels, node=node))
    # The nodes are crowded alike; but on n0 one more hog breaks what the web promises.
    for number in range(4):
        bind = made.place(hog(f"h{number}"))
        assert bind.node == "n1"
        made.delete(hog(f"h{number}", "n1"))


def test_prefer_gives_way_where_there_is_no_other() -> None:
    made = crowd(harness(), "n0", "n1", "n2")
    made.place(web("a"))
    assert "preferred-against:SLAFit" in last(made).marks


def test_refuse_waits_until_the_risk_is_gone() -> None:
    made = crowd(harness(nodes=1), "n0")
    made.apply(web("a", "strict")).step()
    assert last(made).decided is Decided.UNSCHEDULABLE
    assert REASON in last(made).message
    made.delete(hog("there-0", "n0"), hog("there-1", "n0")).step(after=20 * SECOND)
    assert last(made).node == "n0"


def test_ignore_is_told_and_not_filtered() -> None:
    made = crowd(harness(nodes=1), "n0")
    assert made.place(web("a", "careless")).node == "n0"
    assert last(made).marks == ()
    assert last(made).promises[0].abstained == promises.OTHER_CLASS


def test_record_tells_the_three_strongest_and_explain_says_it_in_words() -> None:
    made = crowd(harness(), "n0", "n2")
    made.place(web("a"))
    for one in last(made).promises:
        assert 1 <= len(one.contributions) <= 3
        strengths = [abs(part) for _, part in one.contributions]
        assert strengths == sorted(strengths, reverse=True)
    said = "\n".join(notes([last(made)]))
    assert "promise on n1 (chosen): kept with 9" in said
    assert "expected_bandwidth for it" in said


def other_features() -> dict[str, Any]:
    specs = (*FEATURES[:-1], FeatureSpec(name="moonlight", unit="lux", source="the moon"))
    return arguments(made_model(features=specs))


def corrupt() -> dict[str, Any]:
    good = made_model().dump()
    torn = good.replace(b'"base_rate":6000', b'"base_rate":6001')
    assert torn != good
    return {"model": "m", "modelData": base64.b64encode(torn).decode()}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, promises.NO_MODEL),
        ({"model": "m"}, promises.MISSING_FILE),
        ({"model": "m", "modelData": ""}, promises.MISSING_FILE),
        ({"model": "m", "modelData": "no base64!"}, promises.CORRUPT),
        ({"model": "m", "modelData": "e30="}, promises.CORRUPT),
        (corrupt(), promises.CORRUPT),
        (other_features(), promises.OTHER_FEATURES),
    ],
    ids=["none", "unnamed", "unread", "no-base64", "no-model", "changed", "other-features"],
)
def test_without_a_model_it_is_careful_and_says_why(given: dict[str, Any], name: str) -> None:
    made = crowd(harness(given), "n0", "n2")
    bind = made.apply(web("a")).step()
    assert last(made).node == "n1", "the one that is not loaded"
    assert {one.abstained for one in last(made).promises} == {name}
    assert all(one.probability <= 9_000 for one in last(made).promises)
    assert made.counters[signals.PROMISES_UNKNOWN.format(reason=name)] == 1
    (event,) = only(EmitEvent, bind)
    assert event.reason == "PromiseUnknown"
    assert name in event.note
    assert f"a careful figure: {name}" in "\n".join(notes([last(made)]))


def test_class_without_a_model_is_careful_and_says_why() -> None:
    made = harness()
    made.apply(sample("n0", io_utilisation=9_000), sample("n1", io_utilisation=8_000))
    assert made.place(hog("a")).node == "n2"
    assert last(made).promises[0].abstained == promises.OTHER_CLASS
    assert made.counters[signals.PROMISES_UNKNOWN.format(reason=promises.OTHER_CLASS)] == 1


def relay(name: str) -> Pod:
    labels = {"app": "relay", CLASS_LABEL: "streaming"}
    return make_pod(name, {"cpu": "1"}, labels=labels)


def three() -> dict[str, Any]:
    streaming, jobs = made_of("delay", "streaming"), made_of("completion", "batch")
    return several(made_model(), streaming, jobs)


def streaming_profile() -> ServiceProfile:
    return profile("relay", sla_class="streaming", quiet_us=500_000, bandwidth_used=100)


@pytest.mark.parametrize("pod", [web("a"), relay("a"), hog("a")], ids=["p99", "delay", "job"])
def test_each_class_asks_the_model_of_its_kind(pod: Pod) -> None:
    made = crowd(harness(three()).apply(streaming_profile()), "n0", "n2")
    assert made.place(pod).node == "n1"
    told = {one.node: one for one in last(made).promises}
    assert told["n1"].abstained == ""
    assert (REASON, 2) in last(made).path[0].reasons


def test_delay_is_not_answered_by_a_model_of_latency() -> None:
    made = harness().apply(streaming_profile())
    made.place(relay("a"))
    assert last(made).promises[0].abstained == promises.OTHER_CLASS


def test_job_is_placed_by_the_model_that_learned_what_breaks_it() -> None:
    # What is on both nodes is alike, but for the memory bandwidth that the samples saw.
    made = harness(three(), nodes=2).apply(profile("filler", sla_class="", bandwidth_used=4_500))
    made.apply(make_pod("there", {"cpu": "1"}, labels={"app": "filler"}, node="n0"))
    assert made.place(hog("a")).node == "n1"
    assert {one.abstained for one in last(made).promises} == {""}


def test_one_unreadable_model_leaves_the_others_in_force() -> None:
    made = harness(several(made_model(), None)).apply(streaming_profile())
    made.place(web("a"))
    assert last(made).promises[0].abstained == ""
    made.place(relay("b"))
    assert last(made).promises[0].abstained == promises.MISSING_FILE


def test_completion_of_several_targets_is_no_model() -> None:
    with pytest.raises(ConfigError, match="completion with several targets"):
        made_model(kind="completion")


def test_missing_metrics_are_named_and_count_twice_never_zero() -> None:
    made, whole = (crowd(harness(samples=one), "n0", "n2") for one in (False, True))
    made.apply(web("a")).step()
    whole.apply(web("a")).step()
    assert {one.abstained for one in last(made).promises} == {promises.NO_SIGNALS}
    assert last(made).node == "n1", "what is expected of the pods there is known"
    without, with_all = last(made).promises[0], last(whole).promises[0]
    assert without.probability == 2 * with_all.probability - 10_000 < with_all.probability


def test_stale_metrics_count_as_missing() -> None:
    made = harness()
    made.place(web("a"))
    assert last(made).promises[0].abstained == ""
    made.now += 121 * SECOND
    made.step()
    made.apply(web("b")).step()
    assert last(made).promises[0].abstained == promises.NO_SIGNALS


def test_nan_is_no_measurement() -> None:
    given = {"cpu_utilisation": float("nan"), "io_utilisation": 0.25, "other": float("inf")}
    assert measured(given) == {"io_utilisation": 0}
    assert measured({"cpu_utilisation": 4_321.5}) == {"cpu_utilisation": 4_322}


def test_load_beyond_what_was_learned_abstains_and_is_careful() -> None:
    made = harness(nodes=1)
    made.apply(*(hog(f"there-{n}", "n0") for n in range(12)))
    made.apply(web("a")).step()
    assert last(made).promises[0].abstained == promises.OUTSIDE
    assert last(made).promises[0].beyond == ("expected_bandwidth",)
    assert last(made).promises[0].probability < 9_000


def test_service_without_a_quiet_latency_is_named() -> None:
    made = harness().apply(profile("web", quiet_us=0, cpu_used=500))
    made.place(web("a"))
    assert last(made).promises[0].abstained == promises.NO_QUIET


def test_pods_without_a_promise_have_none_in_their_records() -> None:
    made = harness()
    made.place(make_pod("a", {"cpu": "1"}))
    assert last(made).promises == ()


def test_model_is_part_of_the_policy() -> None:
    one = make_policy(RULES, {"SLAFit": arguments()})
    same = make_policy(RULES, {"SLAFit": arguments()})
    line = msgspec.structs.replace(made_model().body.line, bias=1)
    other = make_policy(RULES, {"SLAFit": arguments(made_model(line=line))})
    assert one.digest == same.digest != other.digest


def test_fit_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="SLAFit without SLAClasses"):
        Harness(make_policy(("NodeResourcesFit", "SLAFit")))


def test_answers_that_are_kept_are_those_of_asking_anew() -> None:
    made = harness(nodes=6)
    for number in range(20):
        made.apply(hog(f"h{number}") if number % 3 else web(f"w{number}"))
        if number % 5 == 0:
            made.apply(sample(f"n{number % 6}", bandwidth_utilisation=700 * number))
        if number == 12:
            made.apply(profile("web", cpu_used=900, bandwidth_used=500))
        probe = made.machine._arrivals.read(web(f"probe{number}"), ())
        kept = made.framework.decide(probe)
        made.framework.forget()
        assert made.framework.decide(probe) == kept
        for bind in made.step():
            if bind.__class__.__name__ == "Bind":
                made.answer(bind)  # type: ignore[arg-type]


def test_remembered_answers_are_about_that_state_and_that_service() -> None:
    width = len(FEATURES) - len(STRAINS) - len(SERVICE)
    state = np.arange(width * width, dtype=np.int64).reshape(width, width) * 60
    web, far = PRIOR, {**PRIOR, "cpu_used": 90_000}
    data, seen = made_model().dump(), set()
    remembering = promises.Risks([data])
    for _ in range(2):
        # The transposed state has the same bytes, in another order.
        for nodes in (state, state.T, state[1:]):
            for traits, quiet_us in ((web, 25_000), (far, 25_000), (web, 50_000)):
                service = promises.Service("online", DEFAULTS["online"], traits, quiet_us, None)
                machines = promises.Machines(_simulated(len(nodes)), lambda _: 1)
                known = remembering._answer(service, nodes, machines)
                anew = promises.Risks([data])._answer(service, nodes, machines)
                assert [each.tolist() for each in known] == [each.tolist() for each in anew]
                seen.add(str(known))
    assert len(seen) == len(remembering._latest) == 9


def _simulated(rows: int) -> npt.NDArray[np.int32]:
    """The labels of machines of one type, which has the number 1."""
    found = np.zeros((1 + len(promises.CPU_LABELS), rows), np.int32)
    found[0] = 1
    return found
