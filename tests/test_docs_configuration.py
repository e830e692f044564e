"""docs/reference/configuration.md tells every field that is read, and its default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from herz import app
from herz.config import parse_configuration, wire

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "configuration.md"
TEXT = PAGE.read_text(encoding="utf-8")
TABLES: dict[str, type[msgspec.Struct]] = {
    "## `KubeSchedulerConfiguration`": wire.KubeSchedulerConfiguration,
    "## `leaderElection`": wire.LeaderElectionConfiguration,
    "## `clientConnection`": wire.ClientConnectionConfiguration,
    "## `profiles[]`": wire.KubeSchedulerProfile,
    "## `profiles[].pluginConfig[]`": wire.PluginConfig,
    "## `extenders[]`": wire.Extender,
}


def section(heading: str) -> str:
    """The text below a heading."""
    return TEXT.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("heading", TABLES)
def test_every_field_is_told_with_its_default(heading: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| *([^|]*?) *\|", section(heading), re.M))
    fields = msgspec.structs.fields(TABLES[heading])
    assert rows == {field.encode_name: _default(field) for field in fields}


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = {} if field.default is msgspec.NODEFAULT else field.default
    is_table = isinstance(value, msgspec.Struct)
    return "" if is_table else f"`{msgspec.json.encode(value).decode()}`"


def test_every_extension_point_is_told() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section("## `profiles[].plugins`"), re.M))
    assert set(rows) == {field.encode_name for field in msgspec.structs.fields(wire.Plugins)}
    assert {point for point, use in rows.items() if use == "refused"} == {
        "postBind",
        "placementGenerate",
        "placementScore",
    }


def test_every_use_is_one_of_three() -> None:
    uses = re.findall(r"^\| `\w+` \|[^|]*\| (\w+) \|", TEXT, re.M)
    assert set(uses) == {"read", "told", "refused"}


@pytest.mark.parametrize("block", re.findall(r"^```yaml [^\n]*\n(.*?)^```$", TEXT, re.M | re.S))
def test_the_example_is_a_configuration(block: str) -> None:
    found = parse_configuration(block.encode(), app.rules(), source=PAGE.name)
    for profile in found.profiles:
        app.check(profile.policy)
