"""Profiles become policies: which rules, in which order, with which weights, and what is told."""

from __future__ import annotations

import msgspec
import pytest

from herz.config import PluginEntry, Policy
from herz.config.intree import DEFAULTS
from herz.errors import ConfigError
from tests.unit.config.rules import LACKING, read

LACK = "profiles[0].plugins.multiPoint: DynamicResources is accepted; this release of Herz lacks it"


def policy(plugins: str, config: str = "") -> tuple[Policy, list[str]]:
    """The policy of one profile, and its warnings but the one about the lacking default."""
    text = f"profiles:\n- schedulerName: a\n  plugins: {plugins or '{}'}\n{config}"
    found = read(text)
    (profile,) = found.profiles
    return profile.policy, [warning for warning in found.warnings if warning != LACK]


def entry(given: Policy, name: str) -> PluginEntry:
    """The policy's entry of the name."""
    return next(entry for entry in given.plugins if entry.name == name)


def names(given: Policy) -> list[str]:
    """The rules' names, in order."""
    return [entry.name for entry in given.plugins]


DEFAULT = ["Understood", *(name for name in DEFAULTS if name not in LACKING), "GpuShare"]


def test_without_plugins_the_defaults_are_asked_after_the_guard() -> None:
    found, warnings = policy("")
    assert names(found) == DEFAULT
    assert warnings == []
    assert all(entry.off == () for entry in found.plugins)
    scored = {entry.name: entry.weight for entry in found.plugins if entry.weight is not None}
    assert scored["TaintToleration"] == 3
    assert scored["VolumeBinding"] == 1, "a score without a weight counts once"
    assert "NodeName" not in scored
    assert found.queue.sort is None


def test_a_lacking_default_is_told_until_it_is_disabled() -> None:
    assert LACK in read("").warnings
    text = "profiles: [{plugins: {multiPoint: {%s: [{name: DynamicResources}]}}}]"
    assert LACK not in read(text % "disabled").warnings
    named = "profiles[0].plugins.multiPoint.enabled[0]: DynamicResources is accepted"
    assert any(warning.startswith(named) for warning in read(text % "enabled").warnings)


@pytest.mark.parametrize(
    ("plugins", "name", "weight"),
    [
        ("{score: {enabled: [{name: NodeAffinity, weight: 7}]}}", "NodeAffinity", 7),
        ("{multiPoint: {enabled: [{name: NodeAffinity, weight: 7}]}}", "NodeAffinity", 7),
        ("{multiPoint: {enabled: [{name: NodeAffinity}]}}", "NodeAffinity", 1),
        ("{score: {enabled: [{name: NodeAffinity, weight: 0}]}}", "NodeAffinity", 1),
        (
            "{multiPoint: {enabled: [{name: Mine, weight: 4}]}, "
            "score: {enabled: [{name: Mine, weight: 9}]}}",
            "Mine",
            9,
        ),
        ("{score: {enabled: [{name: Mine, weight: 10000}]}}", "Mine", 10000),
    ],
)
def test_weights_are_those_of_kube_scheduler(plugins: str, name: str, weight: int) -> None:
    assert entry(policy(plugins)[0], name).weight == weight


@pytest.mark.parametrize(
    ("plugins", "name", "off"),
    [
        ("{score: {disabled: [{name: NodeAffinity}]}}", "NodeAffinity", ("score",)),
        ("{filter: {disabled: [{name: TaintToleration}]}}", "TaintToleration", ("filter",)),
        ("{filter: {enabled: [{name: Mine}]}}", "Mine", ("score",)),
        ("{reserve: {disabled: [{name: '*'}]}}", "GpuShare", ("reserve",)),
        (
            "{preEnqueue: {disabled: [{name: DefaultPreemption}]}}",
            "DefaultPreemption",
            ("preEnqueue",),
        ),
        (
            "{preFilter: {disabled: [{name: '*'}]}, filter: {disabled: [{name: '*'}]}}",
            "VolumeBinding",
            ("filter",),
        ),
    ],
)
def test_a_rule_is_off_where_it_is_disabled(plugins: str, name: str, off: tuple[str, ...]) -> None:
    found, warnings = policy(plugins)
    assert entry(found, name).off == off
    assert warnings == []


def test_a_rule_that_is_asked_nowhere_is_left_out() -> None:
    found, _ = policy("{score: {disabled: [{name: ImageLocality}]}}")
    assert names(found) == [name for name in DEFAULT if name != "ImageLocality"]


def test_the_guard_stays_when_everything_is_disabled() -> None:
    kept = "enabled: [{name: PrioritySort}, {name: DefaultBinder}, {name: NodeName}]"
    found, _ = policy(f"{{multiPoint: {{disabled: [{{name: '*'}}], {kept}}}}}")
    assert names(found) == ["Understood", "PrioritySort", "NodeName"]
    first, _ = policy("{filter: {disabled: [{name: '*'}], enabled: [{name: NodeName}]}, "
                      "preFilter: {disabled: [{name: '*'}]}}")  # fmt: skip
    assert names(first)[0] == "Understood"
    assert entry(first, "Understood").off == ()


def test_filters_are_asked_in_the_order_of_their_point() -> None:
    found, warnings = policy("{filter: {enabled: [{name: NodePorts}, {name: NodeName}]}}")
    order = names(found)
    assert order.index("NodePorts") < order.index("NodeName") < order.index("NodeUnschedulable")
    assert warnings == []


def test_an_order_that_one_list_cannot_hold_is_told() -> None:
    reserve = "reserve: {enabled: [{name: GpuShare}, {name: VolumeBinding}]}"
    _, warnings = policy(f"{{{reserve}}}")
    assert warnings == [
        "profiles[0].plugins.reserve: its order differs from filter's; "
        "Herz asks rules in one order at all points"
    ]
    _, silent = policy("{score: {enabled: [{name: ImageLocality}, {name: NodeAffinity}]}}")
    assert silent == [], "in which order points are summed up does not show"


def test_another_queue_sort_is_named_by_the_policy() -> None:
    sort = "{queueSort: {disabled: [{name: '*'}], enabled: [{name: MySort}]}}"
    found, _ = policy(sort)
    assert found.queue.sort == "MySort"
    assert "PrioritySort" not in names(found)


def test_arguments_reach_the_rule_without_kind_and_version() -> None:
    kind = "apiVersion: kubescheduler.config.k8s.io/v1, kind: NodeAffinityArgs"
    config = f"  pluginConfig: [{{name: NodeAffinity, args: {{{kind}, addedAffinity: {{a: 1}}}}}}]"
    assert entry(policy("", config)[0], "NodeAffinity").args == {"addedAffinity": {"a": 1}}
    guard, _ = policy("", "  pluginConfig: [{name: Understood, args: {strict: true}}]")
    assert guard.plugins[0] == PluginEntry("Understood", args={"strict": True})
    bare, _ = policy("", "  pluginConfig: [{name: NodeAffinity}]")
    assert entry(bare, "NodeAffinity").args == {}


TOLD: list[tuple[str, str, str, str]] = [
    ("a name to disable", "{score: {disabled: [{name: Nobody}]}}", "", "score.disabled[0]: Nobody"),
    (
        "a weight of a filter",
        "{filter: {enabled: [{name: Mine, weight: 3}]}}",
        "",
        "filter.enabled[0].weight: 3 has no effect",
    ),
    (
        "preFilter goes with filter",
        "{filter: {disabled: [{name: NodePorts}]}}",
        "",
        "filter.disabled[0]: NodePorts is not asked at preFilter either",
    ),
    ("unused arguments", "", "  pluginConfig: [{name: Mine}]", "pluginConfig[0]: no effect: Mine"),
]


@pytest.mark.parametrize(
    ("plugins", "config", "told"), [c[1:] for c in TOLD], ids=[c[0] for c in TOLD]
)
def test_what_has_no_effect_is_told(plugins: str, config: str, told: str) -> None:
    _, warnings = policy(plugins, config)
    assert len(warnings) == 1
    assert told in warnings[0]
    assert warnings[0].startswith("profiles[0].")


def test_plugins_that_are_gone_may_be_disabled_in_silence() -> None:
    assert policy("{filter: {disabled: [{name: EBSLimits}]}}")[1] == []


PLUGINS = "profiles[0].plugins."
REFUSED: list[tuple[str, str, str, str, str]] = [
    ("unknown", "{score: {enabled: [{name: Nobody}]}}", "", "score.enabled[0]", "Mine"),
    (
        "unknown in all",
        "{multiPoint: {enabled: [{name: Nada}]}}",
        "",
        "multiPoint.enabled[0]",
        "Mine",
    ),
    (
        "gone",
        "{filter: {enabled: [{name: EBSLimits}]}}",
        "",
        "filter.enabled[0]",
        "NodeVolumeLimits",
    ),
    ("twice", "{score: {enabled: [{name: Mine}, {name: Mine}]}}", "", "score.enabled[1]", "once"),
    (
        "twice in all",
        "{multiPoint: {enabled: [{name: Mine}, {name: Mine}]}}",
        "",
        "multiPoint.enabled",
        "once",
    ),
    ("wrong point", "{score: {enabled: [{name: NodeName}]}}", "", "score.enabled[0]", "filter"),
    ("weight below", "{score: {enabled: [{name: Mine, weight: -1}]}}", "", "[0].weight", "10000"),
    ("weight above", "{score: {enabled: [{name: Mine, weight: 10001}]}}", "", ".weight", "10000"),
    ("no order", "{queueSort: {disabled: [{name: '*'}]}}", "", "queueSort", "PrioritySort"),
    ("two orders", "{queueSort: {enabled: [{name: MySort}]}}", "", "queueSort", "PrioritySort"),
    (
        "no bind",
        "{bind: {disabled: [{name: DefaultBinder}]}}",
        "",
        "bind.disabled[0]",
        "DefaultBinder",
    ),
    (
        "no bind at all",
        "{bind: {disabled: [{name: '*'}]}}",
        "",
        "bind.disabled[0]",
        "DefaultBinder",
    ),
    (
        "no bind anywhere",
        "{multiPoint: {disabled: [{name: NodeName}, {name: DefaultBinder}]}}",
        "",
        "multiPoint.disabled[1]",
        "DefaultBinder",
    ),
    ("another bind", "{bind: {enabled: [{name: Mine}]}}", "", "bind.enabled[0]", "filter, score"),
    ("postBind", "{postBind: {enabled: [{name: Mine}]}}", "", "postBind.enabled[0]", "remove"),
    (
        "placements",
        "{placementScore: {enabled: [{name: NodeResourcesFit}]}}",
        "",
        "placementScore.enabled[0]",
        "remove",
    ),
    (
        "placements to make",
        "{placementGenerate: {enabled: [{name: Mine}]}}",
        "",
        "placementGenerate.enabled[0]",
        "remove",
    ),
    (
        "filter without preFilter",
        "{preFilter: {disabled: [{name: NodePorts}]}}",
        "",
        "preFilter.disabled[0]",
        "disable it at filter as well",
    ),
    (
        "score without preScore",
        "{preScore: {disabled: [{name: '*'}]}}",
        "",
        "preScore.disabled[0]",
        "disable it at score as well",
    ),
    (
        "filter alone",
        "{multiPoint: {disabled: [{name: NodePorts}]}, filter: {enabled: [{name: NodePorts}]}}",
        "",
        "multiPoint.disabled[0]",
        "disable it at filter as well",
    ),
    ("the guard", "{filter: {disabled: [{name: Understood}]}}", "", "filter.disabled[0]", "remove"),
    ("the guard in all", "{multiPoint: {disabled: [{name: Understood}]}}", "", "[0]", "remove"),
]
CONFIG = "profiles[0].pluginConfig"
REFUSED_ARGUMENTS: list[tuple[str, str, str, str]] = [
    ("twice", "[{name: Mine}, {name: Mine}]", "[1]", "once"),
    ("lacking", "[{name: Mine}, {name: DynamicResources, args: {a: 1}}]", "[1]", "remove"),
    ("lacking, without any", "[{name: DynamicResources}]", "[0]", "remove"),
    ("bind", "[{name: DefaultBinder, args: {a: 1}}]", "[0]", "remove"),
    ("unknown", "[{name: Nobody}]", "[0].name", "Mine"),
    ("kind", "[{name: NodeAffinity, args: {kind: Other}}]", "[0].args.kind", "NodeAffinityArgs"),
    (
        "version",
        "[{name: NodeAffinity, args: {apiVersion: v1}}]",
        "[0].args.apiVersion",
        "k8s.io/v1",
    ),
    ("refused by the rule", "[{name: Mine, args: {bad: 1}}]", "[0].args.inner", "see the rule"),
    ("out of range", "[{name: Mine, args: {weight: 0}}]", "[0].args.weight", ""),
]


def refused(text: str) -> ConfigError:
    """The error about a file."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value


@pytest.mark.parametrize(
    ("plugins", "config", "place", "fix"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_what_is_not_supported_is_refused_by_field(
    plugins: str, config: str, place: str, fix: str
) -> None:
    error = refused(f"profiles:\n- schedulerName: a\n  plugins: {plugins}\n{config}")
    assert error.where.startswith(f"file.yaml:5 {PLUGINS}")
    assert place in error.where
    assert fix in error.fix


@pytest.mark.parametrize(
    ("config", "place", "fix"),
    [c[1:] for c in REFUSED_ARGUMENTS],
    ids=[c[0] for c in REFUSED_ARGUMENTS],
)
def test_arguments_are_refused_by_field(config: str, place: str, fix: str) -> None:
    error = refused(f"profiles:\n- schedulerName: a\n  pluginConfig: {config}\n")
    assert error.where == f"file.yaml:5 {CONFIG}{place}"
    assert fix in error.fix


def test_the_completed_profile_gives_the_same_policy_again() -> None:
    text = (
        "profiles:\n- schedulerName: a\n  plugins: {multiPoint: {disabled: [{name: NodeName}, "
        "{name: NodePorts}], enabled: [{name: Mine, weight: 3}, {name: NodePorts}]}, "
        "score: {enabled: [{name: ImageLocality, weight: 8}], disabled: [{name: NodeAffinity}]}, "
        "preScore: {disabled: [{name: NodeAffinity}]}}\n"
    )
    first = read(text)
    again = msgspec.json.encode(first.complete.profiles).decode()
    second = read(f"profiles: {again}")
    assert second.profiles == first.profiles
    assert second.complete.profiles == first.complete.profiles
