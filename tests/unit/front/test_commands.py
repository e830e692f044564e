"""The command tree: whole for who asks what there is, and no more than one command for the rest."""

import json
import subprocess
import sys

import pytest
import typer

from herz.front.cli.commands import tree

WHOLE = {"audit", "config", "debug", "explain", "fuzz", "run", "runtime", "simulate", "sla", "up"}
WHOLE |= {"version"}


def names(first: str) -> set[str]:
    """The commands of the tree."""
    return set(typer.main.get_command(tree(first)).commands)  # type: ignore[attr-defined]  # a group


@pytest.mark.parametrize("first", ["", "--help", "nothing"])
def test_the_tree_is_whole_where_no_command_is_named(first: str) -> None:
    assert names(first) == WHOLE


@pytest.mark.parametrize("first", sorted(WHOLE))
def test_the_tree_of_a_command_holds_it(first: str) -> None:
    assert first in names(first) <= {first, "version"}


def loaded(source: str) -> set[str]:
    """The modules that a new Python has after this."""
    program = f"{source}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(json.loads(done.stdout))


def test_a_scheduler_loads_nothing_of_other_commands() -> None:
    ours = loaded(
        "from herz.front.cli.commands import tree\ntree('run')\n"
        "from herz.front.cli import deciding, driving, metering, operating, proving"
    )
    assert {"herz.cycle", "herz.world.kube.driver"} <= ours
    others = ("explain", "simulate", "audit", "fuzz", "up")
    assert not ours & {f"herz.front.cli.{name}" for name in others}
    assert not ours & {"herz.front.exporting", "pyarrow", "xgboost", "kubernetes", "opentelemetry"}


def test_a_guard_loads_nothing_that_decides() -> None:
    ours = loaded(
        "from herz.front.cli.commands import tree\ntree('run')\nfrom herz.front.cli import guarding"
    )
    assert "herz.world.kube.guard" in ours
    assert not ours & {"herz.app", "herz.cycle", "herz.config", "herz.plugin", "numpy"}
