"""SLAFit on machine types: a model that has not learned from one says so, and is careful there."""

from __future__ import annotations

import msgspec
import pytest

from herz import signals
from herz.front.explain import notes
from herz.knowledge.sla.model import Model
from herz.model.effects import EmitEvent
from herz.model.objects import Node
from herz.model.record import Promise
from herz.place.plugins.sla_fit import REASON
from herz.place.promises import CPU_LABELS, EXTRAPOLATED, MACHINE, MACHINE_LABEL
from tests.support.machine import Harness, only
from tests.support.objects import make_node
from tests.support.promises_model import arguments, made_model
from tests.unit.place.plugins.test_sla_fit import crowd, harness, hog, last, web


def learned(*machines: str) -> Model:
    """The made model, which has learned from these machine types."""
    return made_model(scope=msgspec.structs.replace(made_model().body.scope, machines=machines))


def node(name: str, machine: str = "", *cpu: str) -> Node:
    labels = {MACHINE_LABEL: machine} if machine else {}
    # As node-feature-discovery sets them; one that is empty is not there.
    labels |= {key: value for key, value in zip(CPU_LABELS, cpu, strict=False) if value}
    return make_node(name, cpu="16", memory="64Gi", labels=labels)


def promises_on(made: Harness) -> dict[str, Promise]:
    return {one.node: one for one in last(made).promises}


def test_type_that_was_not_learned_is_told_in_record_metric_event_and_words() -> None:
    made = harness(arguments(learned("m5.large")), nodes=1).apply(node("n0", "c7.metal"))
    effects = made.apply(web("a")).step()
    told = promises_on(made)["n0"]
    assert (told.abstained, told.beyond) == (EXTRAPOLATED, (MACHINE,))
    assert told.probability == 6_000, "never above the average of what was learned"
    assert made.counters[signals.PROMISES_UNKNOWN.format(reason=EXTRAPOLATED)] == 1
    event = next(one for one in only(EmitEvent, effects) if one.reason == "PromiseUnknown")
    assert EXTRAPOLATED in event.note
    assert f"a careful figure: {EXTRAPOLATED}" in "\n".join(notes([last(made)]))


def test_type_that_was_learned_is_preferred_to_one_that_was_not() -> None:
    made = harness(arguments(learned("m5.large")))
    made.apply(node("n0", "c7.metal"), node("n1", "m5.large"), node("n2"))
    # The known node is loaded a little; the others are idle, but nobody knows what that means.
    made.apply(hog("there", "n1"))
    made.place(web("a"))
    assert last(made).node == "n1"
    assert promises_on(made)["n1"].abstained == ""
    assert promises_on(made)["n1"].probability > 9_000
    assert (REASON, 2) in last(made).path[0].reasons


def test_type_without_a_name_is_one_that_data_without_names_teaches() -> None:
    made = harness(arguments(learned("")), nodes=2).apply(node("n0"), node("n1", "m5.large"))
    made.place(web("a"))
    assert last(made).node == "n0"
    assert promises_on(made)["n0"].abstained == ""
    assert (REASON, 1) in last(made).path[0].reasons


@pytest.mark.parametrize(
    ("machine", "labels", "is_learned"),
    [
        ("Intel/6/186", ("", "Intel", "6", "186"), True),
        ("Intel/6/186", ("", "AMD", "6", "186"), False),
        ("Intel/6/186", ("", "Intel", "6", "187"), False),
        ("Intel/6/186", ("", "Intel", "6", ""), False),
        ("Intel/6/186", ("", "186", "6", "Intel"), False),
        ("Intel/6/186", (), False),
        ("Intel/6/186", ("m5.large", "Intel", "6", "186"), False),
        ("m5.large", ("m5.large", "Intel", "6", "186"), True),
        ("m5.large", ("", "Intel", "6", "186"), False),
        ("", ("", "Intel", "6", "186"), False),
        ("", ("", "Intel", "6", ""), True),
        ("", ("", "", "6", "186"), True),
        ("Intel/6/", ("", "Intel", "6", ""), False),
        ("//", (), False),
        ("Intel/6/186/8", ("", "Intel", "6", "186"), False),
        ("Intel/6", ("", "Intel", "6", "186"), False),
    ],
)
def test_cpu_model_is_the_type_where_no_label_names_one(
    machine: str, labels: tuple[str, ...], is_learned: bool
) -> None:
    made = harness(arguments(learned(machine)), nodes=1).apply(node("n0", *labels))
    made.place(web("a"))
    assert promises_on(made)["n0"].abstained == ("" if is_learned else EXTRAPOLATED)


def test_cpu_model_that_was_learned_is_preferred_and_its_labels_are_seen_when_they_come() -> None:
    made = harness(arguments(learned("AMD/25/1", "m5.large")))
    cpus = [("", "Intel", "6", "186"), ("", "AMD", "25", "1"), ("c7.metal", "AMD", "25", "1")]
    made.apply(*(node(f"n{number}", *labels) for number, labels in enumerate(cpus)))
    made.apply(hog("there", "n1"))
    made.place(web("a"))
    assert last(made).node == "n1"
    assert promises_on(made)["n1"].abstained == ""
    assert (REASON, 2) in last(made).path[0].reasons
    made.apply(*(node(f"n{number}") for number in range(3)))
    made.place(web("b"))
    assert {one.abstained for one in promises_on(made).values()} == {EXTRAPOLATED}
    made.apply(node("n2", "", "AMD", "25", "1"))
    made.place(web("c"))
    assert last(made).node == "n2"
    assert promises_on(made)["n2"].abstained == ""


def test_label_that_changes_is_seen_by_the_next_decision() -> None:
    made = harness(arguments(learned("m5.large")), nodes=1).apply(node("n0", "c7.metal"))
    made.place(web("a"))
    made.apply(node("n0", "m5.large"))
    made.place(web("b"))
    assert promises_on(made)["n0"].abstained == ""
    made.apply(node("n0", "c7.metal"))
    made.place(web("c"))
    assert promises_on(made)["n0"].abstained == EXTRAPOLATED


def test_candidate_is_careful_where_it_has_not_learned() -> None:
    given = {**arguments(learned("m5.large")), "candidate": "c"}
    given["candidateData"] = arguments(learned("c7.metal"))["modelData"]
    made = harness(given, nodes=1).apply(node("n0", "m5.large"))
    made.place(web("a"))
    told = promises_on(made)["n0"]
    assert told.probability > 9_000
    assert told.shadow == 6_000


def test_promises_of_those_who_are_there_are_judged_as_carefully() -> None:
    """A loss that only the model sees does not count where it has not learned."""
    made = harness(arguments(learned("m5.large")), nodes=2)
    made.apply(node("n0", "m5.large"), node("n1", "c7.metal"))
    made.apply(web("there-0", node="n0"), web("there-1", node="n1"))
    crowd(made, "n0")
    made.place(hog("a"))
    assert last(made).node == "n1", "n0's promise would be lost, as the model knows"
