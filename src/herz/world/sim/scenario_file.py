"""The TOML scenario file: its tables as structs, and reading one (docs/reference/scenarios.md).

Comes in: a path. Goes out: a `Scenario`. Unknown keys, wrong types and impossible values are
refused with the file, the field's path, the value and the remedy.
"""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

import msgspec

from herz.errors import ConfigError
from herz.model.toml_text import parse_toml
from herz.world.sim.expand import expand
from herz.world.sim.faults import Faults
from herz.world.sim.promises.truth import Setup
from herz.world.sim.scenario import Content, Limits, Protocol, Scenario, Timing
from herz.world.sim.tables import FaultsTable, LimitsTable, ScenarioFile, TimingTable
from herz.world.sim.units import rate_millionths, span_ns, span_pair_ns

FILE_BYTES_MAX = 1 << 20
"""Bound: a scenario file is a page or a few; lists of objects come as manifests."""


def read_scenario_file(path: Path) -> Scenario:
    """The scenario that a TOML file describes.

    Raises:
        ConfigError: the file can't be read, is no TOML, or says what can't be.
    """
    tables = read_tables(path)
    where = str(path)
    try:
        return _scenario(tables)
    except ConfigError as error:
        raise error.at(where) from error


def read_tables(path: Path) -> ScenarioFile:
    """The file's tables, with types checked and unknown keys refused."""
    try:
        data = path.read_bytes()
    except OSError as error:
        fix = "check the path"
        raise ConfigError(f"can't be read: {error.strerror}", where=str(path), fix=fix) from error
    if len(data) > FILE_BYTES_MAX:
        fix = f"stay below {FILE_BYTES_MAX} bytes, or give nodes and pods as manifests"
        raise ConfigError("the file is too long", where=str(path), value=len(data), fix=fix)
    try:
        content = parse_toml(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"no TOML: {error}", where=str(path), fix="correct the line") from error
    try:
        return msgspec.convert(content, ScenarioFile)
    except msgspec.ValidationError as error:
        raise _explained(error, content, path) from error


def _scenario(tables: ScenarioFile) -> Scenario:
    head = tables.scenario
    # Expanding once for a throw-away seed finds the mistakes that no type shows, before a run.
    expand(tables, random.Random(0))
    names: dict[str, None] = {}
    for workload in tables.workloads:
        names[workload.class_name or "default"] = None

    def open_(generator: random.Random) -> Content:
        return expand(tables, generator)

    return Scenario(
        name=head.name,
        description=head.description,
        open=open_,
        protocol=Protocol(head.protocol),
        faults=_faults(tables.faults),
        timing=_timing(tables.timing),
        limits=_limits(tables.limits, span_ns(head.duration, "scenario.duration")),
        classes=tuple(names),
        schedulers=tuple(dict.fromkeys(one.scheduler for one in tables.workloads)),
        is_every_fit_expected=head.expect_every_fit,
        truth=Setup.of(tables),
    )


def _faults(table: FaultsTable) -> Faults:
    values: dict[str, int] = {}
    for name in FaultsTable.__struct_fields__:
        value = getattr(table, name)
        if name != "node_changes_per_hour":
            value = rate_millionths(value, f"faults.{name}")
        values[name] = value
    return Faults(**values)


_PAIRS = ("bind", "start", "recover")


def _timing(table: TimingTable) -> Timing:
    values: dict[str, object] = {
        "slow_factor": table.slow_factor,
        "is_echoed": table.echo,
        "is_start_shown": table.show_start,
    }
    for name in TimingTable.__struct_fields__:
        if name in ("slow_factor", "echo", "show_start"):
            continue
        value = getattr(table, name)
        where = f"timing.{name}"
        values[f"{name}_ns"] = (
            span_pair_ns(value, where) if name in _PAIRS else span_ns(value, where)
        )
    return msgspec.convert(values, Timing)


def _limits(table: LimitsTable, duration_ns: int) -> Limits:
    if duration_ns <= 0:
        fix = 'give the virtual time that the run may last, such as "24h"'
        raise ConfigError("no time", where="scenario.duration", value=duration_ns, fix=fix)
    return Limits(
        time_ns_max=duration_ns,
        steps_max=table.steps_max,
        steps_at_once_max=table.steps_at_once_max,
        step_limit=table.step_limit,
        idle_ns=max(span_ns(table.idle, "limits.idle"), 1),
        history_max=table.history_max,
        samples_max=table.samples_max,
    )


def _explained(error: msgspec.ValidationError, content: object, path: Path) -> ConfigError:
    """Msgspec's "what - at `$.a[0].b`" with the value found there and a remedy."""
    text, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$").removeprefix(".")
    what = text[:1].lower() + text[1:]
    fix = "give the type that docs/reference/scenarios.md tells"
    if "unknown field" in text:
        name = text.partition("`")[2].rpartition("`")[0]
        field = f"{field}.{name}" if field else name
        what, fix = "unknown key", "remove it, or correct its spelling"
    elif "missing required" in text:
        name = text.partition("`")[2].rpartition("`")[0]
        field = f"{field}.{name}" if field else name
        what, fix = "missing", "add the key"
    value = _value_at(content, field)
    where = f"{path} {field}" if field else str(path)
    return ConfigError(what, where=where, value=value, fix=fix)


def _value_at(content: object, field: str) -> object:
    """The value at a path such as `nodes[0].count`; None where there is none."""
    for part in field.replace("[", ".").replace("]", "").split("."):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content
