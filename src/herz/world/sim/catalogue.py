"""From a name or a path to a `Scenario`: the built-in ones, files, and manifests."""

from __future__ import annotations

from pathlib import Path

from herz.errors import ConfigError
from herz.world.sim.chaos import chaos_scenario
from herz.world.sim.manifests import manifest_scenario
from herz.world.sim.openb import openb_scenario
from herz.world.sim.openb_times import openb_times_scenario
from herz.world.sim.scenario import Scenario
from herz.world.sim.scenario_file import read_scenario_file
from herz.world.sim.swf import swf_scenario

FOLDER = Path(__file__).parent / "scenarios"
CHAOS = "chaos"
TRACES = ("openb", "openb-times", "swf")
OPENB_LIST = "default"
OPENB_LOAD = 1.3


def scenario_names() -> tuple[str, ...]:
    """The built-in names: files and what is made by seed, then traces, which need a folder."""
    return (*sorted((*(path.stem for path in FOLDER.glob("*.toml")), CHAOS)), *TRACES)


def load_scenario(
    name: str,
    *,
    data: Path | None = None,
    list_name: str | None = None,
    load: float | None = None,
) -> Scenario:
    """The scenario of this name or path.

    Args:
        name: a built-in name, a TOML file, or Kubernetes manifests (a file or a folder).
        data: the folder of the trace; for `TRACES` only.
        list_name: which list or log of the trace.
        load: how much arrives; for traces only.

    Raises:
        ConfigError: there is no such scenario, an option is missing or does not apply, or the
            file is wrong.
    """
    if name in TRACES:
        return _trace(name, data, list_name, load)
    for option, value in (("--data", data), ("--list", list_name), ("--load", load)):
        if value is not None:
            fix = f"leave it out; it belongs to {' and '.join(TRACES)}"
            raise ConfigError(f"{name} takes no such option", where=option, value=value, fix=fix)
    if name == CHAOS:
        return chaos_scenario()
    built_in = FOLDER / f"{name}.toml"
    if "/" not in name and built_in.is_file():
        return read_scenario_file(built_in)
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return read_scenario_file(path)
    if path.is_dir() or (path.is_file() and path.suffix in (".yaml", ".yml", ".json")):
        return manifest_scenario(path)
    names = ", ".join(scenario_names())
    fix = f"use one of {names}, or the path of a .toml file, a manifest or a folder of manifests"
    raise ConfigError("no such scenario", where="SCENARIO", value=name, fix=fix)


def _trace(name: str, data: Path | None, list_name: str | None, load: float | None) -> Scenario:
    if data is None:
        fix = f"give --data DIR, the folder that holds the {name} files"
        raise ConfigError(f"{name} needs its trace", where="--data", fix=fix)
    if name == "openb":
        load = OPENB_LOAD if load is None else load
        return openb_scenario(data, list_name or OPENB_LIST, load)
    if name == "openb-times":
        return openb_times_scenario(data, list_name or OPENB_LIST, load)
    if list_name is None:
        fix = "give --list NAME, the log's file name without .swf"
        raise ConfigError("swf needs a log", where="--list", fix=fix)
    return swf_scenario(data, list_name, load)
