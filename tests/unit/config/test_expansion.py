"""Plugin sets: the defaults merged in and `multiPoint` spread out, as kube-scheduler does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.config.expansion import expand, merge, one_order, weights, with_defaults
from herz.config.intree import DEFAULTS, EXTENDS
from herz.config.wire import KUBERNETES_POINTS, Plugin, Plugins, PluginSet
from herz.errors import ConfigError

EVERY = ("preFilter", "filter", "preScore", "score", "reserve", "queueSort", "bind")
EXAMPLE = {
    "All": EVERY,
    "Score1": ("preScore", "score"),
    "Score2": ("score",),
    "Sort": ("queueSort",),
    "Bind": ("bind",),
}


def plugins(*given: str) -> tuple[Plugin, ...]:
    """Plugins from texts such as `NodeName` or `NodeName:3`."""
    parts = [text.partition(":") for text in given]
    return tuple(Plugin(name=name, weight=int(w) if w else None) for name, _, w in parts)


def some(enabled: str = "", disabled: str = "") -> PluginSet:
    """A set from two texts of names, separated by spaces."""
    return PluginSet(enabled=plugins(*enabled.split()), disabled=plugins(*disabled.split()))


# ---- merging ----------------------------------------------------------------------------

D1, D2 = "Default1:1", "Default2:2"
MERGES: list[tuple[str, str, PluginSet, str]] = [
    ("nothing given", f"{D1} {D2}", some(), f"{D1} {D2}"),
    ("another is appended", f"{D1} {D2}", some("Mine"), f"{D1} {D2} Mine"),
    ("all disabled", f"{D1} {D2}", some(disabled="*"), ""),
    ("all disabled but one's own", f"{D1} {D2}", some("Mine", "*"), "Mine"),
    ("one disabled", f"{D1} {D2}", some("Mine", "Default1"), f"{D2} Mine"),
    ("given anew in its place", f"{D1} {D2}", some("Default1:9"), f"Default1:9 {D2}"),
    ("given anew without a weight", f"{D1} {D2}", some("Default2"), f"{D1} Default2"),
    ("moved to the end", f"{D1} {D2}", some("Default1:5", "Default1"), f"{D2} Default1:5"),
    ("another order", f"{D1} {D2}", some("Default2 Default1", "*"), "Default2 Default1"),
    ("two in between", f"{D1} {D2}", some("Mine Default2:3 Yours"), f"{D1} Default2:3 Mine Yours"),
    ("twice: the last replaces", D1, some("Default1:3 Default1:4"), "Default1:4 Default1:3"),
    ("no defaults", "", some("Mine:2"), "Mine:2"),
]


@pytest.mark.parametrize(
    ("defaults", "given", "wanted"), [c[1:] for c in MERGES], ids=[c[0] for c in MERGES]
)
def test_defaults_are_merged_in(defaults: str, given: PluginSet, wanted: str) -> None:
    found = merge(plugins(*defaults.split()), given)
    assert found.enabled == plugins(*wanted.split())
    assert found.disabled == given.disabled


def test_defaults_are_kube_schedulers_then_our_own() -> None:
    found = with_defaults(Plugins(), ["NodeName", "GpuShare"])
    names = [plugin.name for plugin in found.multi_point.enabled]
    assert names == [*DEFAULTS, "GpuShare"]
    assert set(DEFAULTS) <= set(EXTENDS)
    default = {plugin.name: plugin.weight for plugin in found.multi_point.enabled if plugin.weight}
    assert default == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "NodeResourcesFit": 1,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "DynamicResources": 2,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }


def test_preemption_comes_after_dynamic_resources() -> None:
    names = list(DEFAULTS)
    assert names.index("DynamicResources") + 1 == names.index("DefaultPreemption")


# ---- spreading --------------------------------------------------------------------------

ALL_AT = dict.fromkeys(EVERY, "All")
EXPANSIONS: list[tuple[str, Plugins, dict[str, str]]] = [
    ("one plugin goes everywhere", Plugins(multi_point=some("All:5")), ALL_AT),
    (
        "not where it is disabled",
        Plugins(
            multi_point=some("All"), pre_score=some("", "All"), score=some(disabled="All Score1")
        ),
        {**ALL_AT, "preScore": "", "score": ""},
    ),
    (
        "several keep their order",
        Plugins(multi_point=some("All Score1")),
        {**ALL_AT, "preScore": "All Score1", "score": "All Score1"},
    ),
    (
        "a point with all disabled",
        Plugins(multi_point=some("All Score1"), pre_score=some(disabled="*")),
        {**ALL_AT, "preScore": "", "score": "All Score1"},
    ),
    (
        "the point's own order comes first",
        Plugins(multi_point=some("Score2 All Score1"), score=some("Score1 All")),
        {**ALL_AT, "preScore": "All Score1", "score": "Score1 All Score2"},
    ),
    (
        "but what only the point enables comes last",
        Plugins(multi_point=some("All Score1"), score=some("Score2 Score1 All")),
        {**ALL_AT, "preScore": "All Score1", "score": "Score1 All Score2"},
    ),
    (
        "all disabled and some enabled",
        Plugins(multi_point=some("Sort Bind Score1", "*")),
        {"queueSort": "Sort", "bind": "Bind", "preScore": "Score1", "score": "Score1"},
    ),
    (
        "a point with all disabled and some enabled",
        Plugins(multi_point=some("All Score1"), score=some("Score2", "*")),
        {**ALL_AT, "preScore": "All Score1", "score": "Score2"},
    ),
    (
        "enabled wins over disabled, after the others",
        Plugins(multi_point=some("All Score1"), score=some("All", "All")),
        {**ALL_AT, "preScore": "All Score1", "score": "Score1 All"},
    ),
]


@pytest.mark.parametrize(
    ("given", "wanted"), [c[1:] for c in EXPANSIONS], ids=[c[0] for c in EXPANSIONS]
)
def test_multi_point_is_spread_over_the_points(given: Plugins, wanted: dict[str, str]) -> None:
    found = expand(given, EXAMPLE)
    assert {point: " ".join(names) for point, names in found.items() if names} == {
        point: names for point, names in wanted.items() if names
    }


@pytest.mark.parametrize(
    ("given", "what", "where"),
    [
        (Plugins(multi_point=some("All All")), "twice", "plugins.multiPoint.enabled"),
        (Plugins(score=some("Score1 All Score1")), "twice", "plugins.score.enabled[2]"),
        (Plugins(filter=some("All Score1")), "nothing to do", "plugins.filter.enabled[1]"),
    ],
)
def test_what_kube_scheduler_refuses_is_refused(given: Plugins, what: str, where: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        expand(given, EXAMPLE)
    assert caught.value.where == where
    assert caught.value.fix


def test_a_plugin_given_twice_is_no_error_where_it_is_never_asked() -> None:
    twice = Plugins(multi_point=some("Score2 Score2"), score=some(disabled="*"))
    assert expand(twice, EXAMPLE)["score"] == ()


def test_weights_at_score_come_before_those_of_multi_point() -> None:
    given = Plugins(multi_point=some("All:7 Score1 Sort:9"), score=some("Score2:5 Score1:0 All:3"))
    assert weights(given, EXAMPLE) == {"Score2": 5, "Score1": 1, "All": 3}


names = st.lists(st.sampled_from(sorted(EXAMPLE)), unique=True).map(
    lambda found: tuple(Plugin(name=name) for name in found)
)
sets = st.builds(
    lambda enabled, disabled: PluginSet(enabled=enabled, disabled=disabled),
    names,
    names | st.just((Plugin(name="*"),)),
)


@given(sets, sets)
def test_each_plugin_is_asked_once_at_most_and_where_it_can_be(
    multi_point: PluginSet, score: PluginSet
) -> None:
    able = tuple(plugin for plugin in score.enabled if "score" in EXAMPLE[plugin.name])
    given = Plugins(multi_point=multi_point, score=PluginSet(enabled=able, disabled=score.disabled))
    found = expand(given, EXAMPLE)
    assert tuple(found) == KUBERNETES_POINTS
    for point, listed in found.items():
        assert len(set(listed)) == len(listed)
        assert all(point in EXAMPLE[name] for name in listed)
    assert {plugin.name for plugin in able} <= set(found["score"])


# ---- one order --------------------------------------------------------------------------


def test_one_order_follows_the_first_list_and_names_those_that_disagree() -> None:
    order, against = one_order("abcd", [("filter", "ca"), ("reserve", "ac"), ("permit", "db")])
    assert order == ["c", "a", "d", "b"]
    assert against == ["reserve"]


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_one_order_keeps_every_name_and_the_first_list(first: list[int], second: list[int]) -> None:
    lists = [("filter", [str(n) for n in first]), ("score", [str(n) for n in second])]
    order, against = one_order("012345", lists)
    assert order == lists[0][1]
    assert against == ([] if first == second else ["score"])
