"""`herz version` and `herz config`: what is installed, and what can be named."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from herz import app
from herz.front.cli.options import Output
from herz.front.cli.printing import print_answer

OutputOption = Annotated[Output, typer.Option(help="Form of the answer.")]

config = typer.Typer(
    help="Settings: what can be named on the command line, and what a file of settings means.",
    no_args_is_help=True,
    epilog="Example: herz config validate scheduler.yaml",
)


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


@config.command("policies", epilog="Example: herz config policies --output json")
def policies(output: OutputOption = Output.TABLE) -> None:
    """The built-in policies, for --policy."""
    _print_names("policies", app.policy_names(), output)


@config.command("scenarios", epilog="Example: herz config scenarios --output yaml")
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


def add_to(herz: typer.Typer) -> None:
    """See `herz.front.cli.commands`."""
    herz.command("version", epilog="Example: herz version --output json")(version)
