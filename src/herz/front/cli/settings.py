"""`herz version` and `herz config`: what is installed, and what can be named."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata

from herz import app
from herz.front.cli.options import Output, OutputOption
from herz.front.cli.printing import print_answer

VERSION = "Example: herz version --output json"
POLICIES = "Example: herz config policies --output json"
SCENARIOS = "Example: herz config scenarios --output yaml"


def version(output: OutputOption = Output.TABLE) -> None:
    """The version of Herz and of what it runs on."""
    found = {
        "herz": _installed("herz"),
        "python": platform.python_version(),
        "numpy": _installed("numpy"),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    print_answer(
        found,
        output,
        title="herz version",
        columns=("part", "version"),
        rows=list(found.items()),
    )


def policies(output: OutputOption = Output.TABLE) -> None:
    """The built-in policies, for --policy."""
    _print_names("policies", app.policy_names(), output)


def scenarios(output: OutputOption = Output.TABLE) -> None:
    """The built-in scenarios, for herz simulate."""
    _print_names("scenarios", app.scenario_names(), output)


def _print_names(kind: str, names: Sequence[str], output: Output) -> None:
    """A list of names."""
    print_answer(
        {kind: list(names)},
        output,
        title=f"built-in {kind}",
        columns=("name",),
        rows=[(name,) for name in names],
    )


def _installed(distribution: str) -> str:
    """The installed version; a checkout on the path has none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed (run from a checkout)"
