"""Files of settings on the way to a machine: kube-scheduler's, our own, and rules that are off."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.app import (
    asked,
    build_machine,
    build_plugins,
    load_policies,
    load_policy,
    load_settings,
    points,
    queue_sort,
    with_workload,
)
from herz.builtin import BUILT_IN, PLUGINS
from herz.config import (
    Configuration,
    PluginEntry,
    Policies,
    Policy,
    QueuePolicy,
    parse_policy,
)
from herz.errors import ConfigError
from herz.model.effects import Bind
from herz.model.events import ObjectApplied
from herz.model.mix import PodShape
from herz.plugin import ReasonBook
from herz.profiles import queue_settings
from tests.support.machine import Kept
from tests.support.objects import make_node, make_pod

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def write(folder: Path, text: str, name: str = "scheduler.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def configuration(folder: Path, text: str) -> Configuration:
    found = load_settings(Path(write(folder, HEAD + text)))
    assert isinstance(found, Configuration)
    return found


# ---- which policy -----------------------------------------------------------------------


def test_the_policy_of_a_single_profile_is_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}podInitialBackoffSeconds: 2\n")
    policy = load_policy(path)
    assert policy.name == "default-scheduler"
    assert queue_settings(policy).backoff.initial_ns == 2_000_000_000
    assert load_policy(f"{path}#default-scheduler") == policy


def test_one_of_several_profiles_is_picked_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}profiles: [{{schedulerName: a}}, {{schedulerName: b}}]\n")
    assert load_policy(f"{path}#b").name == "b"
    for given, what in ((path, "several profiles"), (f"{path}#c", "no such profile")):
        with pytest.raises(ConfigError, match=what) as caught:
            load_policy(given)
        assert caught.value.fix == f"pick one: {path}#a, {path}#b"


def test_all_profiles_are_loaded_where_all_are_meant(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}profiles: [{{schedulerName: b}}, {{schedulerName: a}}]\n")
    found = load_policies(path)
    assert isinstance(found, Policies)
    assert [profile.scheduler_name for profile in found.profiles] == ["a", "b"]
    assert load_policies(f"{path}#b") == load_policy(f"{path}#b")
    assert load_policies("default") is BUILT_IN["default"]
    assert build_machine(found, 1, [Kept()]).step(0, 1) == []


def test_a_wrong_policy_of_several_is_named(tmp_path: Path) -> None:
    text = "profiles: [{name: b, plugins: [{name: NodeName}]}, {name: a, plugins: [{name: Nope}]}]"
    path = write(tmp_path, text, "own.yaml")
    with pytest.raises(ConfigError, match="unknown rule") as caught:
        load_policies(path)
    assert caught.value.where == f"{path} policy a plugins"
    assert caught.value.value == "Nope"


def test_a_policy_has_no_profiles_to_pick(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\nplugins: [{name: NodeName}]\n", "own.yaml")
    assert load_policy(path).name == "x"
    with pytest.raises(ConfigError, match="without profiles") as caught:
        load_policy(f"{path}#a")
    assert caught.value.fix


def test_a_file_with_the_sign_in_its_name_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, "a.yaml#b.yaml")
    assert load_policy(path).name == "default-scheduler"


def test_the_defaults_are_kube_schedulers_and_ours() -> None:
    found = load_settings(None)
    assert isinstance(found, Configuration)
    policy = found.profiles[0].policy
    ours = [entry.name for entry in policy.plugins]
    assert ours[0] == "Understood"
    assert ours[-1] == "GpuShare"
    assert set(ours) == {entry.name for entry in BUILT_IN["default"].plugins}
    weights = {entry.name: weight for entry, weight, _ in asked(policy)}
    assert weights == {entry.name: weight for entry, weight, _ in asked(BUILT_IN["default"])}


def test_a_configuration_of_real_rules_keeps_their_arguments(tmp_path: Path) -> None:
    args = "{kind: NodeResourcesFitArgs, scoringStrategy: {type: MostAllocated}}"
    profile = f"pluginConfig: [{{name: NodeResourcesFit, args: {args}}}]"
    found = configuration(tmp_path, f"profiles: [{{{profile}}}]")
    (fit,) = (e for e in found.profiles[0].policy.plugins if e.name == "NodeResourcesFit")
    assert fit.args == {"scoringStrategy": {"type": "MostAllocated"}}


@pytest.mark.parametrize(
    ("args", "place"),
    [
        ("{scoringStrategy: {type: Most}}", "args.scoringStrategy.type"),
        ("{scoringStrategy: {kind: x}}", "args.scoringStrategy"),
        ("{other: 1}", "pluginConfig[0].args"),
        ("{ignoredResources: [1]}", "args.ignoredResources[0]"),
        ("{scoringStrategy: {resources: [{name: cpu, weight: 101}]}}", "resources[0].weight"),
    ],
)
def test_arguments_that_a_real_rule_refuses_are_named_by_path(
    tmp_path: Path, args: str, place: str
) -> None:
    profile = f"pluginConfig: [{{name: NodeResourcesFit, args: {args}}}]"
    with pytest.raises(ConfigError) as caught:
        configuration(tmp_path, f"profiles: [{{{profile}}}]")
    assert "scheduler.yaml:3 profiles[0].pluginConfig[0].args" in caught.value.where
    assert place in caught.value.where
    assert caught.value.fix


def test_two_scales_are_refused_with_the_profile(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scale of its own") as caught:
        configuration(
            tmp_path, "profiles: [{plugins: {multiPoint: {enabled: [{name: HerzPack}]}}}]"
        )
    assert "profiles[0]" in caught.value.where
    alone = "{multiPoint: {enabled: [{name: HerzPack}]}, preScore: {disabled: [{name: '*'}]}, "
    alone += "score: {disabled: [{name: '*'}], enabled: [{name: HerzPack}]}}"
    found = configuration(tmp_path, f"profiles: [{{plugins: {alone}}}]")
    built = build_plugins(found.profiles[0].policy, ReasonBook())
    assert [rule.name for rule, weight in built if weight and rule.name == "HerzPack"]


def test_rules_that_stand_together_are_checked_once_all_are_known(tmp_path: Path) -> None:
    text = "profiles: [{{plugins: {{multiPoint: {{enabled: [{}]}}}}}}]"
    names = ("SLAClasses", "SLARefuse", "SLAFit")
    found = configuration(tmp_path, text.format(", ".join(f"{{name: {name}}}" for name in names)))
    kept = [entry.name for entry in found.profiles[0].policy.plugins]
    assert set(names) <= set(kept)
    with pytest.raises(ConfigError, match="SLAFit without SLAClasses") as caught:
        configuration(tmp_path, text.format("{name: SLAFit}"))
    assert "profiles[0]" in caught.value.where


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("name", "data"), [("m.json", "e30="), ("none.json", ""), (".", ""), ("/dev/zero", "")]
)
def test_a_model_is_a_file_and_what_is_none_is_an_empty_one(
    name: str, data: str, tmp_path: Path
) -> None:
    (tmp_path / "m.json").write_text("{}")
    text = 'name = "p"\nplugins = [{name = "SLAClasses"}, {name = "SLARefuse"}, '
    text += f'{{name = "SLAFit", args = {{model = "{name}"}}}}]\n'
    found = load_settings(Path(write(tmp_path, text, "p.toml")))
    assert isinstance(found, Policy)
    assert found.plugins[2].args["modelData"] == data


@pytest.mark.parametrize("name", PLUGINS)
def test_every_rule_is_asked_somewhere(name: str) -> None:
    # Rules of promises stand together.
    names = ("SLAClasses", "SLARefuse", "SLAFit") if name.startswith("SLA") else (name,)
    built = build_plugins(Policy("t", tuple(map(PluginEntry, names))), ReasonBook())
    assert [points(rule) for rule, _ in built if rule.name == name] != [()]


# ---- rules that are off -----------------------------------------------------------------


def bound(policy: Policy) -> list[str]:
    """Nodes of a pod for node `b` that asks for more than `a` has, among `a` and `b`."""
    machine = build_machine(policy, 1, [Kept()])
    for node in (make_node("a", cpu="1"), make_node("b", cpu="8")):
        machine.apply(ObjectApplied(time_ns=0, object=node))
    machine.apply(ObjectApplied(time_ns=0, object=make_pod("p", {"cpu": "2"})))
    return [effect.node for effect in machine.step(1, 10) if isinstance(effect, Bind)]


FIT = PluginEntry("NodeResourcesFit")


def test_a_rule_that_is_off_at_filter_does_not_filter() -> None:
    assert bound(Policy("t", (FIT,), ties="name")) == ["b"]
    off = PluginEntry("NodeResourcesFit", weight=0, off=("filter",))
    assert bound(Policy("t", (off,), ties="name")) == [], "a is chosen, and the ledger refuses"


def test_a_rule_that_is_off_at_score_gives_no_points() -> None:
    ((_, weight),) = build_plugins(
        Policy("t", (PluginEntry("NodeResourcesFit", 5, off=("score",)),)), ReasonBook()
    )
    assert weight == 0


def test_a_gate_that_is_off_lets_pods_through() -> None:
    assert [at for _, _, at in asked(Policy("t", (PluginEntry("SchedulingGates"),)))] == [
        ("preEnqueue",)
    ]
    pod = make_pod("p", gates=("wait",))
    for off, count in (((), 0), (("preEnqueue",), 1)):
        entries = (PluginEntry("SchedulingGates", off=off), FIT)
        machine = build_machine(Policy("t", entries), 1, [Kept()])
        machine.apply(ObjectApplied(time_ns=0, object=make_node("a", cpu="8")))
        machine.apply(ObjectApplied(time_ns=0, object=pod))
        assert len([e for e in machine.step(1, 10) if isinstance(e, Bind)]) == count


def test_an_order_that_is_off_is_none() -> None:
    entries = (PluginEntry("PrioritySort", off=("queueSort",)),)
    policy = Policy("t", entries, queue=QueuePolicy(sort="PrioritySort"))
    with pytest.raises(ConfigError, match="no such order"):
        queue_sort(policy, build_plugins(policy, ReasonBook()))


def test_an_unknown_extension_point_is_refused() -> None:
    plugins = [{"name": "NodeName", "off": ["preFilter"]}]
    with pytest.raises(ConfigError, match="unknown extension point") as caught:
        parse_policy({"name": "x", "plugins": plugins}, where="here")
    assert caught.value.where == "here plugins[0].off"
    assert "filter" in caught.value.fix


def test_the_workloads_typical_pods_leave_a_rule_off_where_it_is() -> None:
    entry = PluginEntry("GpuFragmentation", off=("reserve",))
    (found,) = with_workload(Policy("t", (entry,)), [(PodShape(1, 1, 500, ()), 3)]).plugins
    assert found.off == ("reserve",)
    assert "typical" in found.args
