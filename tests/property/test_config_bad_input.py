"""Whatever a KubeSchedulerConfiguration holds, it is read or refused with its place: no crash."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from herz.config import Configuration, parse_configuration, wire
from herz.errors import ConfigError
from tests.unit.config.rules import KNOWN, OURS

STRUCTS = (
    wire.KubeSchedulerConfiguration,
    wire.KubeSchedulerProfile,
    wire.Plugins,
    wire.PluginSet,
    wire.Plugin,
    wire.PluginConfig,
    wire.LeaderElectionConfiguration,
    wire.ClientConnectionConfiguration,
    wire.Extender,
)
FIELDS = sorted(
    {field.encode_name for struct in STRUCTS for field in msgspec.structs.fields(struct)}
    - {"apiVersion", "kind"}
)
plain = (
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["*", "15s", "1h", *OURS, *KNOWN.names])
)
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=12,
)
names = st.fixed_dictionaries(
    {"name": st.sampled_from(["*", "Nobody", "DefaultBinder", "DynamicResources", *KNOWN.names])},
    optional={"weight": st.integers(-1, 10_001)},
)
sets = st.fixed_dictionaries(
    {}, optional={"enabled": st.lists(names, max_size=4), "disabled": st.lists(names, max_size=3)}
)
POINTS = [field.encode_name for field in msgspec.structs.fields(wire.Plugins)]
plugins = st.dictionaries(st.sampled_from(POINTS), sets, max_size=4)


def outcome(content: dict[str, Any]) -> Configuration | ConfigError:
    """What becomes of a file."""
    head = {"apiVersion": wire.API_VERSION, "kind": wire.KIND}
    data = msgspec.json.encode({**head, **content})
    try:
        return parse_configuration(data, KNOWN, source="file")
    except ConfigError as error:
        return error


@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4))
def test_any_content_is_read_or_refused_with_its_place(content: dict[str, Any]) -> None:
    found = outcome(content)
    if isinstance(found, ConfigError):
        assert found.where.startswith("file")
        assert found.what


@given(plugins)
def test_any_plugin_sets_are_a_policy_or_refused(given: dict[str, Any]) -> None:
    found = outcome({"profiles": [{"schedulerName": "a", "plugins": given}]})
    if isinstance(found, ConfigError):
        assert found.where.startswith("file profiles[0].plugins")
        assert found.fix
        return
    policy = found.profiles[0].policy
    assert policy.plugins[0].name == "Understood"
    listed = [entry.name for entry in policy.plugins]
    assert len(set(listed)) == len(listed)
    again = msgspec.to_builtins(found.complete)
    second = outcome(again)
    assert isinstance(second, Configuration), second
    assert second.profiles == found.profiles
