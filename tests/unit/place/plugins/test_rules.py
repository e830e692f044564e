"""Each rule's own behaviour, through the framework; the oracle has the wide comparison."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from herz.builtin import PLUGINS
from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.effects import Bind
from herz.model.objects import PodStatus
from herz.place.columns import AMOUNT_MAX
from herz.place.outcome import Choice, NoFit
from herz.plugin import Kind, ReasonBook
from tests.support.machine import SECOND, Harness, World, make_policy, only
from tests.support.objects import MEBIBYTE, make_node, make_pod
from tests.support.strategies import FEATURE, affinity, expressions


def world(*rules: str, **args: Any) -> World:
    return World(make_policy(rules, args))


def placed(found: Choice | NoFit) -> str:
    return found.node if isinstance(found, Choice) else found.message


def scores(found: Choice | NoFit, rule: str) -> dict[str, int]:
    assert isinstance(found, Choice)
    at = found.plugins.index(rule)
    return {one.node: one.scores[at] for one in found.top}


# ---- arguments --------------------------------------------------------------------------

PLAIN_RULES = [
    "SchedulingGates",
    "PrioritySort",
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodePorts",
    "NodeDeclaredFeatures",
    "ImageLocality",
]
ALL_RULES = [*PLAIN_RULES, "Understood", "NodeAffinity", "NodeResourcesFit"]
ALL_RULES += ["NodeResourcesBalancedAllocation"]


@pytest.mark.parametrize("rule", ALL_RULES)
def test_unknown_arguments_are_refused_by_place(rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PLUGINS[rule]({"colour": "red"}, ReasonBook())
    assert caught.value.where.startswith(f"pluginConfig[{rule}].args")
    assert "colour" in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("rule", ALL_RULES)
def test_kubernetes_own_keys_are_allowed(rule: str) -> None:
    args = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": f"{rule}Args"}
    assert PLUGINS[rule](args, ReasonBook()).name == rule


def strategy(**given: Any) -> dict[str, Any]:
    return {"scoringStrategy": given}


def shape(*points: tuple[int, int]) -> dict[str, Any]:
    made = [{"utilization": x, "score": y} for x, y in points]
    return strategy(type="RequestedToCapacityRatio", requestedToCapacityRatio={"shape": made})


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("Understood", {"strict": "yes"}, "pluginConfig[Understood].args"),
    ("NodeResourcesFit", strategy(type="Random"), "pluginConfig[NodeResourcesFit].args"),
    (
        "NodeResourcesFit",
        strategy(resources=[{"name": "cpu", "weight": 0}]),
        "pluginConfig[NodeResourcesFit].args.scoringStrategy.resources[0].weight",
    ),
    (
        "NodeResourcesFit",
        strategy(resources=[{"name": "cpu"}, {"name": "memory", "weight": 101}]),
        "pluginConfig[NodeResourcesFit].args.scoringStrategy.resources[1].weight",
    ),
    (
        "NodeResourcesFit",
        strategy(type="RequestedToCapacityRatio"),
        "pluginConfig[NodeResourcesFit].args.scoringStrategy.requestedToCapacityRatio.shape",
    ),
    ("NodeResourcesFit", shape(), "requestedToCapacityRatio.shape"),
    ("NodeResourcesFit", shape((50, 1), (50, 2)), "requestedToCapacityRatio.shape[1]"),
    ("NodeResourcesFit", shape((0, 11)), "requestedToCapacityRatio.shape[0]"),
    ("NodeResourcesFit", shape((0, 1), (101, 2)), "requestedToCapacityRatio.shape[1]"),
    ("NodeResourcesFit", shape((-1, 1)), "requestedToCapacityRatio.shape[0]"),
    ("NodeResourcesFit", {"ignoredResources": "example.com/x"}, "pluginConfig[NodeResourcesFit]"),
    (
        "NodeResourcesBalancedAllocation",
        {"resources": [{"name": "cpu", "weight": 200}]},
        "pluginConfig[NodeResourcesBalancedAllocation].args.resources[0].weight",
    ),
    (
        "NodeAffinity",
        {"addedAffinity": affinity([expressions(("a", "Odd", []))])["affinity"]["nodeAffinity"]},
        "pluginConfig[NodeAffinity].args.addedAffinity",
    ),
    (
        "NodeAffinity",
        {
            "addedAffinity": affinity(
                preferred=[{"weight": 1, "preference": expressions(("a", "In", []))}]
            )["affinity"]["nodeAffinity"]
        },
        "pluginConfig[NodeAffinity].args.addedAffinity",
    ),
]


@pytest.mark.parametrize(("rule", "args", "where"), BAD)
def test_wrong_arguments_are_refused_by_place(rule: str, args: dict[str, Any], where: str) -> None:
    args = _without_nulls(args)
    with pytest.raises(ConfigError) as caught:
        PLUGINS[rule](args, ReasonBook())
    assert where in caught.value.where


def _without_nulls(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _without_nulls(value) for key, value in thing.items() if value is not None}
    return thing


# ---- nodes ------------------------------------------------------------------------------


def test_node_name_lets_a_pod_go_to_its_node_only() -> None:
    here = world("NodeName").nodes(make_node("a"), make_node("b"))
    assert placed(here.decide(make_pod("p", node="b"))) == "b"
    assert placed(here.decide(make_pod("p", node="c"))) == (
        "0/2 nodes are available: 2 node(s) didn't match the requested node name."
    )
    here.nodes(make_node("c"))
    assert placed(here.decide(make_pod("p", node="c"))) == "c"
    here.cluster.remove_node("c")
    assert "3 " not in placed(here.decide(make_pod("p", node="c")))


def test_a_cordoned_node_takes_only_pods_that_tolerate_it() -> None:
    here = world("NodeUnschedulable").nodes(make_node("a", unschedulable=True))
    assert placed(here.decide(make_pod("p"))) == (
        "0/1 nodes are available: 1 node(s) were unschedulable."
    )
    own = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    for toleration in (own, {"operator": "Exists"}, {**own, "effect": "NoSchedule"}):
        spec = {"tolerations": [toleration]}
        assert placed(here.decide(make_pod("p", spec=spec))) == "a"
    spec = {"tolerations": [{**own, "effect": "NoExecute"}]}
    assert "unschedulable" in placed(here.decide(make_pod("p", spec=spec)))
    here.nodes(make_node("a"))
    assert placed(here.decide(make_pod("p"))) == "a"


def test_declared_features_must_be_there() -> None:
    here = world("NodeDeclaredFeatures").nodes(make_node("a"))
    spec = {"hostNetwork": True, "hostUsers": False}
    found = here.decide(make_pod("p", spec=spec))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.NEVER_FITS
    assert found.message == (
        "0/1 nodes are available: 1 node(s) didn't match Pod's required features."
    )
    here.nodes(make_node("b", features=["Other", FEATURE]))
    assert placed(here.decide(make_pod("p", spec=spec))) == "b"
    assert placed(here.decide(make_pod("q", spec={"hostNetwork": True}))) in ("a", "b")
    restart = {
        "containers": [{"name": "main", "restartPolicyRules": [{"action": "RestartAllContainers"}]}]
    }
    assert "features" in placed(here.decide(make_pod("r", spec=restart)))
    here.nodes(make_node("c", features=["RestartAllContainersOnContainerExits"]))
    assert placed(here.decide(make_pod("r", spec=restart))) == "c"


def test_hard_taints_filter_and_soft_ones_cost_points() -> None:
    here = world("TaintToleration").nodes(
        make_node("hard", taints=[("a", "1", "NoSchedule")]),
        make_node("gone", taints=[("a", "1", "NoExecute")]),
        make_node("one", taints=[("s", "", "PreferNoSchedule")]),
        make_node("two", taints=[("s", "", "PreferNoSchedule"), ("t", "", "PreferNoSchedule")]),
        make_node("free"),
    )
    found = here.decide(make_pod("p"))
    assert scores(found, "TaintToleration") == {"free": 300, "one": 150, "two": 0}
    spec = {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]}
    assert "hard" in scores(here.decide(make_pod("p", spec=spec)), "TaintToleration")


def test_ports_clash_by_port_protocol_and_address() -> None:
    here = world("NodePorts").nodes(make_node("a"))
    here.assign(make_pod("held", ports=[(80, "TCP", "10.0.0.1")]), "a")
    free = [(80, "UDP", ""), (81, "TCP", ""), (80, "TCP", "10.0.0.2")]
    taken = [(80, "TCP", "10.0.0.1"), (80, "TCP", ""), (80, "TCP", "0.0.0.0"), (80, "", "")]
    for port in free:
        assert placed(here.decide(make_pod("p", ports=[port]))) == "a", port
    for port in taken:
        assert placed(here.decide(make_pod("p", ports=[port]))) == (
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
        ), port


# ---- affinity ---------------------------------------------------------------------------


def test_selector_and_affinity_must_both_be_met() -> None:
    here = world("NodeAffinity").nodes(
        make_node("a", labels={"x": "1", "y": "1"}),
        make_node("b", labels={"x": "1"}),
        make_node("c", labels={"y": "1"}),
    )
    spec = {"nodeSelector": {"x": "1"}, **affinity([expressions(("y", "Exists", []))])}
    found = here.decide(make_pod("p", spec=spec))
    assert placed(found) == "a"
    assert isinstance(found, Choice)
    assert found.tied == 1


def test_preferred_terms_are_in_proportion_to_the_highest_sum() -> None:
    here = world("NodeAffinity").nodes(
        make_node("a", labels={"x": "1"}), make_node("b", labels={"x": "2"}), make_node("c")
    )
    preferred = [
        {"weight": 30, "preference": expressions(("x", "Exists", []))},
        {"weight": 10, "preference": expressions(("x", "Gt", ["1"]))},
    ]
    found = here.decide(make_pod("p", spec=affinity(preferred=preferred)))
    assert scores(found, "NodeAffinity") == {"b": 200, "a": 150, "c": 0}


def test_a_malformed_preferred_term_is_an_error_as_in_kubernetes() -> None:
    here = world("NodeAffinity").nodes(make_node("a"))
    preferred = [{"weight": 1, "preference": expressions(("x", "Odd", []))}]
    found = here.decide(make_pod("p", spec=affinity(preferred=preferred)))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.ERROR


def test_affinity_to_two_names_at_once_is_a_conflict() -> None:
    field = {"key": "metadata.name", "operator": "In"}
    term = {"matchFields": [{**field, "values": ["a"]}, {**field, "values": ["b"]}]}
    found = world("NodeAffinity").nodes(make_node("a")).decide(make_pod("p", spec=affinity([term])))
    assert isinstance(found, NoFit)
    assert found.message == "0/1 nodes are available: pod affinity terms conflict."
    assert found.kind is Kind.NEVER_FITS


def test_added_affinity_is_for_every_pod_and_named_apart() -> None:
    added = affinity([expressions(("pool", "In", ["herz"]))])["affinity"]["nodeAffinity"]
    here = world("NodeAffinity", NodeAffinity={"addedAffinity": _without_nulls(added)})
    here.nodes(make_node("a"), make_node("b", labels={"pool": "herz"}))
    found = here.decide(make_pod("p"))
    assert isinstance(found, Choice)
    assert (found.node, found.tied) == ("b", 1)
    here.cluster.remove_node("b")
    assert placed(here.decide(make_pod("p"))) == (
        "0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity."
    )


# ---- resources --------------------------------------------------------------------------


def test_every_lack_is_named_and_more_than_the_node_ever_has_is_final() -> None:
    here = world("NodeResourcesFit").nodes(make_node("a", cpu="2", memory="1Gi", pods="1"))
    here.assign(make_pod("held", {"cpu": "1"}), "a")
    found = here.decide(make_pod("p", {"cpu": "2", "memory": "1Mi"}))
    assert isinstance(found, NoFit)
    assert found.message == "0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods."
    assert found.kind is Kind.UNFIT
    never = here.decide(make_pod("p", {"cpu": "3"}))
    assert isinstance(never, NoFit)
    assert never.kind is Kind.NEVER_FITS
    odd = here.decide(make_pod("p", {"example.com/x": "1"}))
    assert isinstance(odd, NoFit)
    assert "1 Insufficient example.com/x" in odd.message


def test_a_pod_that_asks_for_nothing_needs_a_slot_only() -> None:
    here = world("NodeResourcesFit").nodes(make_node("a", cpu="0", memory="0", pods="1"))
    assert placed(here.decide(make_pod("p"))) == "a"
    here.assign(make_pod("q"), "a")
    assert placed(here.decide(make_pod("p"))) == "0/1 nodes are available: 1 Too many pods."


@pytest.mark.parametrize(
    "args",
    [{"ignoredResources": ["example.com/x"]}, {"ignoredResourceGroups": ["example.com"]}],
)
def test_ignored_resources_keep_no_pod_away(args: dict[str, Any]) -> None:
    policy = make_policy(["NodeResourcesFit"], {"NodeResourcesFit": args})
    harness = Harness(policy).apply(make_node("a"))
    assert harness.place(make_pod("p", {"example.com/x": "3"})).node == "a"


def test_strategies_prefer_the_emptier_the_fuller_or_what_the_shape_says() -> None:
    chosen = {}
    ratio = shape((0, 0), (50, 10), (100, 0))
    for name, args in (
        ("least", strategy(type="LeastAllocated")),
        ("most", strategy(type="MostAllocated")),
        ("half", ratio),
    ):
        here = world("NodeResourcesFit", NodeResourcesFit=args)
        here.nodes(*(make_node(node, memory="100Gi") for node in ("empty", "half", "full")))
        here.assign(make_pod("h", {"cpu": "1900m", "memory": "49Gi"}), "half")
        here.assign(make_pod("f", {"cpu": "3", "memory": "90Gi"}), "full")
        chosen[name] = placed(here.decide(make_pod("p", {"cpu": "100m", "memory": "1Gi"})))
    assert chosen == {"least": "empty", "most": "full", "half": "half"}


def test_balance_prefers_what_evens_a_node_out() -> None:
    here = world("NodeResourcesBalancedAllocation")
    here.nodes(make_node("cpu-heavy"), make_node("memory-heavy"), make_node("even"))
    here.assign(make_pod("c", {"cpu": "2"}), "cpu-heavy")
    here.assign(make_pod("m", {"memory": "4Gi"}), "memory-heavy")
    rule = "NodeResourcesBalancedAllocation"
    found = scores(here.decide(make_pod("p", {"memory": "2Gi"})), rule)
    assert found["cpu-heavy"] > found["even"] >= found["memory-heavy"]
    none = here.decide(make_pod("q", {"example.com/x": "0"}))
    assert isinstance(none, Choice)
    assert rule not in none.plugins, "a pod that asks for nothing is not scored"


def test_image_locality_counts_what_is_there_and_how_widely() -> None:
    here = world("ImageLocality").nodes(
        make_node("a", images={"registry/web:1": 600 * MEBIBYTE}),
        make_node("b", images={"db:latest": 600 * MEBIBYTE}),
        make_node("c"),
    )
    found = scores(here.decide(make_pod("p", image="registry/web:1")), "ImageLocality")
    share = 600 * MEBIBYTE // 3
    assert found["a"] == 100 * (share - 23 * MEBIBYTE) // (977 * MEBIBYTE)
    assert found["b"] == found["c"] == 0
    assert placed(here.decide(make_pod("p", image="db"))) == "b", "no tag is :latest"
    here.nodes(make_node("c", images={"registry/web:1": 600 * MEBIBYTE}))
    wider = scores(here.decide(make_pod("p", image="registry/web:1")), "ImageLocality")
    assert wider["a"] == wider["c"] > found["a"]
    none = here.decide(make_pod("q"))
    assert isinstance(none, Choice)
    assert none.plugins == ()


# ---- the queue's rules ------------------------------------------------------------------


def test_priority_sort_gives_the_order_of_the_buckets() -> None:
    from herz.config import QueuePolicy

    orders = []
    for sort in (None, "PrioritySort"):
        names = ("PrioritySort", "NodeResourcesFit")
        harness = Harness(make_policy(names, queue=QueuePolicy(sort=sort, batch_max=7)))
        harness.apply(make_node("a", cpu="2"))
        for number in range(40):
            priority = number * 7 % 5 - 2
            harness.apply(make_pod(f"p{number}", {"cpu": "100m"}, priority=priority))
            if number % 13 == 0:
                harness.step(SECOND, limit=3)
        harness.step(400 * SECOND)
        orders.append([record.pod.name for record in harness.kept.records])
    assert len(orders[0]) >= 40
    assert orders[0] == orders[1]


# ---- Understood -------------------------------------------------------------------------

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("dynamic resource claims", {"spec": {"resourceClaims": [{"name": "x"}]}}),
    (
        "a Volcano PodGroup (scheduling.k8s.io/group-name)",
        {"annotations": {"scheduling.k8s.io/group-name": "g"}},
    ),
]


@pytest.mark.parametrize(("what", "given"), REFUSED, ids=str)
def test_what_is_not_understood_is_refused_by_name(what: str, given: dict[str, Any]) -> None:
    here = world("Understood").nodes(make_node("a"), make_node("b"))
    found = here.decide(make_pod("p", **given))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.NEVER_FITS
    assert found.message == (
        f"0/2 nodes are available: pod asks for {what}, which Herz does not support."
    )
    assert found.rejected_by == ("Understood",)


def test_a_request_beyond_all_bounds_is_refused() -> None:
    here = world("Understood").nodes(make_node("a"))
    assert placed(here.decide(make_pod("p", {"memory": str(AMOUNT_MAX)}))) == "a"
    refused = placed(here.decide(make_pod("q", {"memory": str(AMOUNT_MAX + 1)})))
    assert f"more than 2^{AMOUNT_MAX.bit_length() - 1} of memory" in refused


def test_several_refusals_are_all_told_and_image_volumes_are_fine() -> None:
    here = world("Understood").nodes(make_node("a"))
    asked = {name: given for _, kinds in REFUSED for name, given in kinds.items()}
    found = here.decide(make_pod("p", **asked))
    for what, _ in REFUSED:
        assert what in placed(found)
    fine = {"volumes": [{"name": "v", "image": {"reference": "r"}}, {"name": "w", "emptyDir": {}}]}
    assert placed(here.decide(make_pod("q", spec=fine))) == "a"


def test_unlisted_fields_are_refused_only_when_strict() -> None:
    for is_strict in (False, True):
        here = world("Understood", Understood={"strict": is_strict}).nodes(make_node("a"))
        found = here.decide(here.read(make_pod("p"), ("fooPolicy", "zed")))
        assert isinstance(found, NoFit) == is_strict
        if is_strict:
            assert "spec fields unknown to this release: fooPolicy, zed" in placed(found)


def test_what_claims_of_another_schedulers_pod_hold_of_a_node_is_not_given_twice() -> None:
    other = make_pod("other", {"cpu": "1"}, node="a", scheduler="default-scheduler")
    claim = {"resourceClaimName": "x", "containers": ["main"], "resources": {"cpu": "2"}}
    status = convert(PodStatus, {"nodeAllocatableResourceClaimStatuses": [claim]})
    harness = Harness().apply(make_node("a", cpu="4"), other)
    # It is told a moment after the bind, or before it.
    harness.apply(msgspec.structs.replace(other, status=status))
    harness.apply(make_pod("p", {"cpu": "2"})).step()
    assert harness.state("p") == "unschedulable", "1 of 4 is left"
    harness.apply(other)
    assert harness.state("p") == "backing_off"
    assert len(only(Bind, harness.step(2 * SECOND))) == 1


def test_a_refused_pod_is_helped_by_its_own_change_only() -> None:
    harness = Harness().apply(make_node("a"))
    harness.apply(make_pod("p", spec={"resourceClaims": [{"name": "x"}]})).step()
    harness.apply(make_node("b"), make_node("a", cpu="9"))
    assert harness.state("p") == "unschedulable"
    harness.apply(make_pod("p"))
    assert harness.state("p") == "backing_off"
    assert len(only(Bind, harness.step(2 * SECOND))) == 1
