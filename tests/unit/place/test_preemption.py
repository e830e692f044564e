"""Preemption's arguments, the choice between nodes, budgets, bounds and failing rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from msgspec.structs import replace

from herz.builtin import BUILT_IN
from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.objects import Pod, PodDisruptionBudget
from herz.place.outcome import NoFit
from herz.place.preemption.preemption import NotPreempted, Preempted, Preemption
from herz.plugin import Filter, Kind, PreemptionTerms, Reads, Rows, Verdict, View
from tests.support.machine import KUBERNETES, World, make_policy
from tests.support.objects import make_node, make_pod

RULES = (*KUBERNETES, "DefaultPreemption")


def make_world(**args: Any) -> World:
    """A cluster under a policy that preempts."""
    return World(make_policy(RULES, {"DefaultPreemption": args}))


def put(world: World, name: str, node: str, cpu: str, priority: int, **more: Any) -> None:
    """A pod on a node; `start` is the second of its start."""
    start = more.pop("start", None)
    pod = make_pod(name, {"cpu": cpu}, node=node, priority=priority, **more)
    if start is not None:
        status = replace(pod.status, start_time=f"2026-01-01T00:00:{start:02d}Z")
        pod = replace(pod, status=status)
    world.assign(pod, node)


def guard(world: World, name: str, labels: Mapping[str, str], allowed: int, *gone: str) -> None:
    """A disruption budget."""
    content = {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": dict(labels)}},
        "status": {
            "disruptionsAllowed": allowed,
            "disruptedPods": dict.fromkeys(gone, "2026-01-01T00:00:00Z"),
        },
    }
    world.cluster.catalog.apply(convert(PodDisruptionBudget, content))


def ask(world: World, pod: Pod, made: Preemption | None = None) -> Preempted | NotPreempted:
    """What preemption says of a pod that fits nowhere."""
    info = world.read(pod)
    assert isinstance(world.decide(info), NoFit)
    return (made or world.preemption()).run(info)


def chosen(world: World, cpu: str = "4") -> tuple[str, list[str]]:
    """Node and victims for a pod of high priority."""
    found = ask(world, make_pod("high", {"cpu": cpu}, priority=1_000))
    assert isinstance(found, Preempted)
    return found.node, [placed.pod.name for placed in found.victims]


@pytest.mark.parametrize(
    ("args", "where"),
    [
        ({"minCandidateNodesPercentage": 101}, "minCandidateNodesPercentage"),
        ({"minCandidateNodesPercentage": -1}, "minCandidateNodesPercentage"),
        ({"minCandidateNodesAbsolute": -1}, "minCandidateNodesAbsolute"),
        (
            {"minCandidateNodesPercentage": 0, "minCandidateNodesAbsolute": 0},
            "minCandidateNodesPercentage",
        ),
        ({"budgets": "firm"}, "DefaultPreemption"),
        ({"victimsMustFitElsewhere": "yes"}, "DefaultPreemption"),
        ({"minCandidates": 1}, "DefaultPreemption"),
    ],
)
def test_bad_arguments_are_refused_with_their_place(args: Mapping[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        make_world(**args)


def test_the_arguments_of_kubernetes_are_taken() -> None:
    world = make_world(minCandidateNodesPercentage=0, minCandidateNodesAbsolute=1)
    assert world.preemption().terms == PreemptionTerms()


def test_fewest_broken_budgets_come_first() -> None:
    world = make_world().nodes(make_node("n1"), make_node("n2"))
    put(world, "guarded", "n1", "4", 0, labels={"app": "db"})
    put(world, "free", "n2", "4", 500)
    guard(world, "db", {"app": "db"}, 0)
    assert chosen(world) == ("n2", ["free"])


def test_then_the_lowest_highest_priority() -> None:
    world = make_world().nodes(make_node("n1"), make_node("n2"))
    put(world, "a1", "n1", "4", 10)
    put(world, "b1", "n2", "2", 9)
    put(world, "b2", "n2", "2", 9)
    assert chosen(world) == ("n2", ["b1", "b2"])


def test_then_the_lowest_sum_and_few_negative_ones_before_many() -> None:
    world = make_world().nodes(make_node("n1"), make_node("n2"))
    put(world, "a1", "n1", "2", -10)
    put(world, "a2", "n1", "2", -10)
    put(world, "b1", "n2", "4", -10)
    assert chosen(world) == ("n2", ["b1"])


def test_then_the_latest_start_of_the_most_important_victims() -> None:
    world = make_world().nodes(make_node("n1"), make_node("n2"))
    put(world, "a1", "n1", "4", 0, start=10)
    put(world, "b1", "n2", "4", 0, start=20)
    assert chosen(world) == ("n2", ["b1"])


def test_the_last_tie_goes_by_the_keyed_hash_and_not_by_order_or_name() -> None:
    names = [f"n{at}" for at in range(12)]
    found = set()
    for order in (names, names[::-1]):
        world = make_world().nodes(*(make_node(name) for name in order))
        for name in order:
            put(world, f"on-{name}", name, "4", 0, start=1)
        found.add(chosen(world)[0])
    assert len(found) == 1
    other = World(make_policy(RULES), salt=None).nodes(*(make_node(name) for name in names))
    for name in names:
        put(other, f"on-{name}", name, "4", 0, start=1)
    assert chosen(other)[0] == "n0", "without a key, by name"


def test_the_longest_running_and_the_important_are_spared() -> None:
    world = make_world().nodes(make_node("n1"))
    put(world, "young", "n1", "1", 0, start=30)
    put(world, "old", "n1", "1", 0, start=1)
    put(world, "important", "n1", "1", 5, start=40)
    put(world, "unknown", "n1", "1", 0)
    assert chosen(world, "1") == ("n1", ["unknown"])
    assert chosen(world, "3") == ("n1", ["old", "young", "unknown"])


def test_pods_counted_by_their_budget_already_break_none() -> None:
    world = make_world().nodes(make_node("n1"), make_node("n2"))
    put(world, "guarded", "n1", "4", 0, labels={"app": "db"})
    put(world, "free", "n2", "4", 500)
    guard(world, "db", {"app": "db"}, 0, "guarded")
    assert chosen(world) == ("n1", ["guarded"])


def test_a_budget_with_an_empty_selector_protects_nobody() -> None:
    world = make_world().nodes(make_node("n1"))
    put(world, "low", "n1", "4", 0, labels={"app": "db"})
    guard(world, "all", {}, 0)
    found = ask(world, make_pod("high", {"cpu": "4"}, priority=1))
    assert isinstance(found, Preempted)
    assert found.violations == 0


def test_hard_budgets_are_used_up_by_the_least_important() -> None:
    world = make_world(budgets="hard").nodes(make_node("n1"))
    for at in range(4):
        put(world, f"p{at}", "n1", "1", at, labels={"app": "db"})
    guard(world, "db", {"app": "db"}, 2)
    assert chosen(world, "2") == ("n1", ["p1", "p0"])
    found = ask(world, make_pod("large", {"cpu": "3"}, priority=1_000))
    assert isinstance(found, NotPreempted)
    assert found.is_hopeless


def test_the_eviction_api_refuses_pods_with_two_budgets() -> None:
    world = make_world(budgets="hard").nodes(make_node("n1"))
    put(world, "low", "n1", "4", 0, labels={"app": "db", "tier": "back"})
    guard(world, "db", {"app": "db"}, 5)
    guard(world, "back", {"tier": "back"}, 5)
    assert isinstance(ask(world, make_pod("high", {"cpu": "1"}, priority=1)), NotPreempted)


def test_kept_outcomes_are_bounded() -> None:
    world = make_world().nodes(make_node("n1"))
    put(world, "low", "n1", "4", 0)
    made = Preemption(world.cluster, world.framework, PreemptionTerms(), bytes_max=1)
    for cpu in range(1, 5):
        pod = make_pod(f"high-{cpu}", {"cpu": str(cpu)}, priority=1)
        assert isinstance(ask(world, pod, made), Preempted)
        assert len(made._kept) == 1


def test_new_columns_and_rows_forget_what_was_kept() -> None:
    world = make_world().nodes(make_node("n1"))
    put(world, "low", "n1", "4", 0)
    made = world.preemption()
    pod = make_pod("high", {"cpu": "4"}, priority=1)
    assert isinstance(ask(world, pod, made), Preempted)
    world.nodes(*(make_node(f"m{at}", cpu="1", more={"example.com/x": "1"}) for at in range(80)))
    found = ask(world, pod, made)
    assert isinstance(found, Preempted)
    assert found.node == "n1"


def test_only_the_default_policy_preempts_with_soft_or_hard_budgets() -> None:
    preempting = [
        policy.name
        for policy in BUILT_IN.values()
        if any(entry.name == "DefaultPreemption" for entry in policy.plugins)
    ]
    assert preempting == ["default", "hard-budgets"]


class Closed(Filter):
    """A filter that rejects every pod for all nodes, with one word."""

    name: ClassVar[str] = "Closed"
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, name: str, kind: Kind) -> None:
        self._verdict = Verdict(kind, name, (f"{name} is closed",))

    def sign(self, pod: Any) -> object:
        return ()

    def prepare(self, pod: Any, view: View) -> Any:
        return self._verdict

    def filter(self, state: Any, view: View, rows: Rows) -> Any:
        raise AssertionError("there is no state to ask with")


def closed(*rules: tuple[str, Kind]) -> World:
    """Node n1 is full, n2 is not; and these rules reject."""
    world = World(make_policy(RULES), [(Closed(*rule), 1) for rule in rules])
    world.nodes(make_node("n1"), make_node("n2", cpu="9"))
    put(world, "low", "n1", "4", 0)
    put(world, "spare", "n2", "4", 0)
    return world


# schedule_one.go `findNodesThatFitPod`: a PreFilter that is Unschedulable gives all nodes its
# status (`SetAbsentNodesStatus`); preemption.go `findCandidates` takes those of that status.
def test_a_rejection_for_all_nodes_that_is_not_for_good_is_preempted_against() -> None:
    found = ask(closed(("door", Kind.UNFIT)), make_pod("high", {"cpu": "4"}, priority=9))
    assert isinstance(found, Preempted)
    assert (found.node, [one.pod.name for one in found.victims]) == ("n1", ["low"])
    assert found.candidates == 1, "nobody need leave n2"


def test_nobody_is_ended_where_the_other_rules_let_the_pod_through() -> None:
    world = closed(("door", Kind.UNFIT))
    world.cluster.remove_node("n1")
    found = ask(world, make_pod("high", {"cpu": "1m"}, priority=9))
    assert isinstance(found, NotPreempted)
    assert "1 expected at least one victim pod on node" in found.message


# framework.go `RunPreFilterPlugins`: after Unschedulable the others are asked all the same; the
# first UnschedulableAndUnresolvable ends it, else the last Unschedulable counts.
@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ((("door", Kind.UNFIT), ("gate", Kind.NEVER_FITS), ("wall", Kind.UNFIT)), "gate"),
        ((("gate", Kind.NEVER_FITS), ("door", Kind.UNFIT)), "gate"),
        ((("door", Kind.UNFIT), ("wall", Kind.UNFIT)), "wall"),
    ],
)
def test_a_rejection_for_good_counts_more_than_one_that_is_not(
    rules: tuple[tuple[str, Kind], ...], word: str
) -> None:
    world = closed(*rules)
    told = world.decide(make_pod("high", {"cpu": "4"}, priority=9))
    assert isinstance(told, NoFit)
    assert told.message == f"0/2 nodes are available: {word} is closed."
    found = ask(world, make_pod("high", {"cpu": "4"}, priority=9))
    assert isinstance(found, NotPreempted) == (word == "gate")


class Grumpy(Filter):
    """A filter that lets everything through until pods leave, and then fails."""

    name: ClassVar[str] = "Grumpy"
    reads: ClassVar[Reads] = Reads.REQUESTED
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def sign(self, pod: Any) -> object:
        return ()

    def prepare(self, pod: Any, view: View) -> Any:
        return ()

    def filter(self, state: Any, view: View, rows: Rows) -> Any:
        if not view.requested[0].any():
            raise RuntimeError("who left?")
        return np.zeros(len(view.unschedulable[rows]), np.int16)


def test_a_rule_that_fails_at_a_what_if_ends_the_question_and_nothing_is_left_moved() -> None:
    world = World(make_policy(RULES), [(Grumpy(), 1)]).nodes(make_node("n1"))
    put(world, "low", "n1", "4", 0)
    found = ask(world, make_pod("high", {"cpu": "4"}, priority=1))
    assert isinstance(found, NotPreempted)
    assert (found.is_error, found.is_hopeless) == (True, False)
    assert "Grumpy: RuntimeError: who left?" in found.message
    assert world.cluster.view.requested[0].sum() == 4_000


def test_a_start_that_becomes_known_moves_the_choice() -> None:
    world = make_world().nodes(make_node("n1"))
    put(world, "a", "n1", "2", 0)
    put(world, "b", "n1", "2", 0)
    made = world.preemption()
    pod = make_pod("high", {"cpu": "1"}, priority=1)
    for started, victim in ((None, "b"), ("b", "a"), ("a", "b")):
        if started is not None:
            put(world, started, "n1", "2", 0, start=10 if started == "b" else 5)
        found = ask(world, pod, made)
        assert isinstance(found, Preempted)
        assert [placed.pod.name for placed in found.victims] == [victim]


def test_a_pod_does_not_stand_in_its_own_way_but_in_that_of_its_equals() -> None:
    world = make_world().nodes(make_node("n1"))
    put(world, "low", "n1", "4", 0)
    own, equal = (make_pod(name, {"cpu": "4"}, priority=5) for name in ("own", "equal"))
    world.cluster.nominations.put(world.read(own), "n1")
    made = world.preemption()
    for _ in range(2):
        assert isinstance(ask(world, equal, made), NotPreempted)
        assert isinstance(ask(world, own, made), Preempted)


class Unhelped(Filter):
    """A filter that refuses all rows, as no pod that leaves can change, but not for good."""

    name: ClassVar[str] = "Unhelped"
    reads: ClassVar[Reads] = Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING

    code = 0

    def sign(self, pod: Any) -> object:
        return ()

    def prepare(self, pod: Any, view: View) -> Any:
        return ()

    def filter(self, state: Any, view: View, rows: Rows) -> Any:
        return np.full(len(view.unschedulable[rows]), self.code, np.int16)


def test_a_budget_that_changes_moves_the_reason_of_a_row_that_nobody_can_help() -> None:
    rule = Unhelped()
    policy = make_policy(RULES, {"DefaultPreemption": {"budgets": "hard"}})
    world = World(policy, [(rule, 1)]).nodes(make_node("n1"))
    rule.code = world.book.code(Kind.UNFIT, rule.name, ("nothing helps",))
    put(world, "low", "n1", "4", 0, labels={"app": "db"})
    guard(world, "db", {"app": "db"}, 0)
    made = world.preemption()
    pod = make_pod("high", {"cpu": "4"}, priority=1)
    for allowed, why in ((0, "1 No preemption victims"), (1, "1 nothing helps"), (0, "1 No pre")):
        guard(world, "db", {"app": "db"}, allowed)
        found = ask(world, pod, made)
        assert isinstance(found, NotPreempted)
        assert why in found.message


@pytest.mark.slow
def test_a_burst_of_preemptors_spreads_over_the_victims_of_all_nodes() -> None:
    """Each counts on what those before it were promised, though no victim is gone yet."""
    world = make_world().nodes(*(make_node(f"n{at}") for at in range(10)))
    for at in range(40):
        put(world, f"p{at}", f"n{at % 10}", "1", 0, start=at)
    made = world.preemption()
    victims = []
    for at in range(40):
        pod = make_pod(f"high-{at}", {"cpu": "1"}, priority=5)
        found = ask(world, pod, made)
        assert isinstance(found, Preempted)
        victims += [placed.pod.name for placed in found.victims]
        world.cluster.nominations.put(world.read(pod), found.node)
    assert set(victims) == {f"p{at}" for at in range(40)}
    assert isinstance(ask(world, make_pod("late", {"cpu": "1"}, priority=5), made), NotPreempted)
