"""What a command takes is read from its signature; a command loads what it needs."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.front.cli.commands import HERZ
from herz.front.cli.declared import (
    Argument,
    Command,
    Group,
    Option,
    called,
    loaded,
    read_plain,
    run,
)
from herz.front.cli.failure import Exit, UsageError
from herz.front.cli.parsing import parsed, parser_of

Captured = pytest.CaptureFixture[str]
GIVEN: list[dict[str, Any]] = []


class Colour(StrEnum):
    """Of something."""

    RED = "red"
    BLUE = "blue"


def paint(
    what: Annotated[str, Argument(help="What.")],
    more: Annotated[list[str] | None, Argument(help="And what else.")] = None,
    *,
    colour: Annotated[Colour, Option(help="Which, 100 % of it.")] = Colour.RED,
    is_wet: Annotated[bool, Option("--wet", help="Still.")] = False,
    coat: Annotated[list[Colour] | None, Option(help="One below.")] = None,
    times: Annotated[int, Option(metavar="N", help="How often.")] = 1,
    place: Annotated[str, Option("--at", envvar="HERZ_TEST_PLACE", help="Where.")],
    secret: Annotated[str | None, Option(is_hidden=True)] = None,
) -> int | None:
    """Paint something.

    In a colour.
    """
    GIVEN.append(dict(locals()))
    return 1 if what == "nothing" else None


def painted(*words: str) -> dict[str, Any]:
    GIVEN.clear()
    assert called(paint, words, "paint", "") in (0, 1)
    return GIVEN.pop()


def test_what_was_not_typed_is_as_the_function_says() -> None:
    assert painted("wall", "--at", "home") == {
        "what": "wall",
        "more": None,
        "colour": Colour.RED,
        "is_wet": False,
        "coat": None,
        "times": 1,
        "place": "home",
        "secret": None,
    }


def test_what_was_typed_is_handed_over_in_its_type() -> None:
    words = ["--wet", "wall", "door", "--colour=blue", "--coat", "red", "--coat", "blue"]
    found = painted(*words, "--times", "-3", "--at=", "--secret", "x")
    assert (found["what"], found["more"]) == ("wall", ["door"])
    assert (found["colour"], found["is_wet"], found["times"]) == (Colour.BLUE, True, -3)
    assert found["coat"] == [Colour.RED, Colour.BLUE]
    assert (found["place"], found["secret"]) == ("", "x")


def test_a_variable_says_what_no_option_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERZ_TEST_PLACE", "there")
    assert painted("wall")["place"] == "there"
    assert painted("wall", "--at", "here")["place"] == "here"


def test_a_command_says_its_own_code() -> None:
    assert called(paint, ["nothing", "--at", "home"], "paint", "") == Exit.NO
    assert called(paint, ["wall", "--at", "home"], "paint", "") == Exit.DONE


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        ([], "required: WHAT, --at", "--help"),
        (["wall"], "required: --at", "--help"),
        (["wall", "--at"], "expected one argument", "--help"),
        (["wall", "--at", "x", "--color", "red"], "no such option: --color", "--colour"),
        (["wall", "--at", "x", "--colo=red"], "no such option: --colo", "--colour"),
        (["wall", "--at", "x", "--zzz"], "no such option: --zzz", "--help"),
        (["wall", "--at", "x", "--colour", "RED"], "'RED' is not one of red, blue", "--help"),
        (["wall", "--at", "x", "--colour", ""], "'' is not one of red, blue", "--help"),
        (["wall", "--at", "x", "--times", "1.5"], "'1.5' is not", "--help"),
        (["wall", "--at", "x", "--wet=yes"], "ignored explicit argument", "--help"),
        (["wall", "--at", "x", "-q"], "no such option: -q", "--help"),
    ],
)
def test_what_is_not_taken_is_refused(words: Sequence[str], what: str, fix: str) -> None:
    GIVEN.clear()
    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        called(paint, words, "paint", "")
    assert fix in caught.value.fix
    assert not GIVEN, "nothing was called"


def test_help_shows_all_but_what_is_hidden(capsys: Captured) -> None:
    assert called(paint, ["--colour", "none", "-h"], "herz paint", "Example: herz paint wall") == 0
    shown = capsys.readouterr().out
    for text in ("herz paint", "In a colour.", "WHAT", "MORE", "red|blue", "100 % of it. [red]"):
        assert text in shown
    assert shown.endswith("Example: herz paint wall\n")
    assert "secret" not in shown


def lamp(
    room: Annotated[str, Argument(help="Where.")],
    number: Annotated[int, Argument(help="Which one.")] = 1,
    *,
    is_on: Annotated[bool, Option("--on", help="On.")] = False,
    dim: Annotated[int, Option(help="By how much.")] = 0,
    also: Annotated[list[str] | None, Option("--also", "-a", help="Others.")] = None,
    colour: Annotated[Colour, Option(help="Which.")] = Colour.RED,
    by: Annotated[str, Option(envvar="HERZ_TEST_PLACE", help="Who.")],
) -> None:
    """Light it."""


TYPED = ("--on", "--dim", "--also", "-a", "--colour", "--by", "--at", "--dim=1", "-1", "-", "--")


@given(
    function=st.sampled_from([lamp, paint]),
    words=st.lists(st.sampled_from([*TYPED, "red", "7", "", "a b", "hall", "٣"]), max_size=7),
    is_said=st.booleans(),
)
def test_what_is_typed_plainly_is_read_as_argparse_reads_it(
    function: Any, words: list[str], is_said: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERZ_TEST_PLACE", "there" if is_said else "")
        plain = read_plain(function, words)
        if plain is not None:
            assert plain == parsed(parser_of(function, "x"), words)


@pytest.mark.parametrize(
    "words",
    [
        ["hall", "--by", "me"],
        ["--by", "me", "hall", "3", "--on", "--dim", "2"],
        ["hall", "-a", "x", "--also", "y", "--colour", "blue", "--by", ""],
    ],
)
def test_what_is_typed_plainly_needs_no_parser(words: list[str]) -> None:
    assert read_plain(lamp, words) == parsed(parser_of(lamp, "x"), words)


@pytest.mark.parametrize(
    "words",
    [
        ["hall", "--on", "3", "--by", "me"],
        ["hall", "--by", "-me"],
        ["hall", "--by", "me", "--", "3"],
        ["hall", "3", "4", "--by", "me"],
        ["hall", "--by"],
        ["--by", "me"],
        ["hall"],
    ],
)
def test_what_argparse_refuses_is_not_read_plainly(words: list[str]) -> None:
    assert read_plain(lamp, words) is None


def leaves(group: Group, *path: str) -> Iterator[tuple[list[str], Command]]:
    for name, at in group.commands.items():
        if isinstance(at, Group):
            yield from leaves(at, *path, name)
        else:
            yield [*path, name], at


@pytest.mark.parametrize("path", [path for path, _ in leaves(HERZ)], ids=" ".join)
def test_every_command_is_there_and_shows_an_example(path: list[str], capsys: Captured) -> None:
    assert run(HERZ, [*path, "--help"], "herz") == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"herz {' '.join(path)}" in shown.partition("Example")[2]


def test_a_group_tells_what_its_commands_do(capsys: Captured) -> None:
    assert run(HERZ, ["audit", "-h"], "herz") == 0
    shown = capsys.readouterr().out
    for path, command in leaves(HERZ):
        if path[0] == "audit" and len(path) == 2:
            function, _ = loaded(command)
            assert f"{path[1]} " in shown
            assert (function.__doc__ or "").split("\n")[0] in shown


def test_a_name_alone_is_a_question_but_no_command(capsys: Captured) -> None:
    assert run(HERZ, [], "herz") == Exit.USAGE
    assert capsys.readouterr().out == ""
    assert run(HERZ, ["audit"], "herz") == Exit.USAGE
    assert "verify" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["smulate"], "no such command: smulate", "did you mean simulate?"),
        (["audit", "shwo"], "no such command: shwo", "did you mean show?"),
        (["--verbose"], "no such option: --verbose", "--help"),
        ([""], "no such command: ", "--help"),
    ],
)
def test_a_command_that_is_not_there_is_refused(words: list[str], what: str, fix: str) -> None:
    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        run(HERZ, words, "herz")
    assert fix in caught.value.fix


HEAVY = ("numpy", "rich", "aiohttp", "asyncio", "xgboost", "herz.app", "herz.cycle", "herz.place")
LOADED = """
import sys
from herz.front.cli.commands import HERZ
from herz.front.cli.declared import run
run(HERZ, sys.argv[1:], "herz")
print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("audit show", ["cryptography"]),
        ("explain", ["cryptography"]),
        ("audit prove", ["cryptography"]),
        ("audit check", ["cryptography"]),
        ("run", ["cryptography"]),
    ],
)
def test_a_command_loads_what_it_needs(command: str, more: list[str]) -> None:
    words = [*command.split(), "--help"]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True
    )
    loaded_modules = done.stderr.split()
    assert "herz.front.cli.declared" in loaded_modules
    assert [name for name in (*HEAVY, *more) if name in loaded_modules] == []


def loaded_by(source: str) -> set[str]:
    """The modules that a new Python has after this."""
    program = f"{source}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(json.loads(done.stdout))


def test_modules_that_msgspec_was_kept_from_are_whole_where_they_are_wanted() -> None:
    program = """
from herz.front.cli import entry
entry._load_msgspec()
import os, sys
assert "platform" not in sys.modules and "typing_extensions" not in sys.modules
import platform
assert platform.system() == os.uname().sysname
assert platform.python_version_tuple()[0] == "3"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_scheduler_loads_nothing_of_other_commands() -> None:
    ours = loaded_by(
        "from herz.front.cli import run, deciding, driving, metering, operating, proving, tracing"
    )
    assert {"herz.cycle", "herz.world.kube.driver"} <= ours
    others = ("explain", "simulate", "audit", "fuzz", "up")
    assert not ours & {f"herz.front.cli.{name}" for name in others}
    assert not ours & {"herz.front.exporting", "pyarrow", "xgboost", "kubernetes", "opentelemetry"}


def test_a_guard_loads_nothing_that_decides() -> None:
    ours = loaded_by("from herz.front.cli import run, guarding")
    assert "herz.world.kube.guard" in ours
    assert not ours & {"herz.app", "herz.cycle", "herz.config", "herz.plugin", "numpy"}


def test_a_command_runs_with_the_collector_on_however_it_was_loaded() -> None:
    seen: list[bool] = []

    def command() -> None:
        seen.append(gc.isenabled())

    gc.disable()
    try:
        assert called(command, [], "herz command", "") == Exit.DONE
    finally:
        gc.enable()
        gc.unfreeze()
    assert seen == [True]
