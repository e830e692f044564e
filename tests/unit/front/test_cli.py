"""The command line: every option's refusal, the forms of the answer, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from herz import app, errors
from herz.errors import AuditError, ConfigError, InvariantError, WorldError
from herz.front.cli import main
from herz.ports import Progress
from herz.world.collecting import Automatic, BetweenSteps
from herz.world.sim.result import Summary
from tests.support.kubectl import KUBECTL
from tests.unit.front.samples import summary

SOURCE = Path(errors.__file__).resolve().parents[1]


class Engine:
    """Stands in for the simulation: keeps what it was asked for, and gives a known answer."""

    def __init__(self) -> None:
        self.asked: dict[str, object] = {}
        self.error: BaseException | None = None

    def run_simulation(self, *, progress: Progress, **asked: object) -> Summary:
        """See `herz.app.run_simulation`."""
        self.asked = asked
        for done in range(5):
            progress.advance(done, 4, "pods")
        if self.error is not None:
            raise self.error
        made: Summary = summary(range(int(str(asked["runs"]))), scenario=str(asked["scenario"]))
        return made


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The stand-in, wired in place of the simulation."""
    made = Engine()
    monkeypatch.setattr(app, "run_simulation", made.run_simulation)
    return made


Captured = pytest.CaptureFixture[str]


def test_simulate_prints_a_table(engine: Engine, capsys: Captured) -> None:
    assert main(["simulate"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for text in ("herz simulate shop", "pods arrived", "1,612", "allocation cpu", "61.25 %"):
        assert text in out
    assert "order rungs" in out
    assert "note: 3 jobs were split" in out


@pytest.mark.parametrize(
    ("options", "kind"), [((), BetweenSteps), (("--collector", "default"), Automatic)]
)
def test_simulate_collects_garbage_between_steps_unless_asked_otherwise(
    engine: Engine, options: tuple[str, ...], kind: type
) -> None:
    assert main(["simulate", *options]) == 0
    make = engine.asked["garbage"]
    assert callable(make)
    assert isinstance(make(), kind)


def test_simulate_without_options_asks_for_the_shop(engine: Engine) -> None:
    assert main(["simulate"]) == 0
    del engine.asked["garbage"]
    assert engine.asked == {
        "scenario": "shop",
        "policy": "default",
        "seed": 0,
        "runs": 1,
        "data": None,
        "list_name": None,
        "load": None,
        "wrap": None,
    }


def test_simulate_hands_every_option_over(engine: Engine, tmp_path: Path) -> None:
    options = ["--policy", "fgd", "--seed", "7", "--runs", "3", "--data", str(tmp_path)]
    assert main(["simulate", "openb", *options, "--list", "default", "--load", "1.3"]) == 0
    del engine.asked["garbage"]
    assert engine.asked == {
        "scenario": "openb",
        "policy": "fgd",
        "seed": 7,
        "runs": 3,
        "data": tmp_path,
        "list_name": "default",
        "load": 1300,
        "wrap": None,
    }


def test_simulate_json_has_the_answer(engine: Engine, capsys: Captured) -> None:
    assert main(["simulate", "--output", "json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert found["pods"]["bound"] == 1600
    assert found["table"]["rows"][0] == ["scenario", "shop", ""]
    assert found["report"] is None


def test_simulate_yaml_is_the_json(engine: Engine, capsys: Captured) -> None:
    assert main(["simulate", "--output", "json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert main(["simulate", "--output", "yaml"]) == 0
    assert msgspec.yaml.decode(capsys.readouterr().out) == as_json


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--seed", value) for value in ("-1", str(2**63), "x", "1.0", "1_0", " 1", "", "\u0661")),
        *(("--runs", value) for value in ("0", "1001", "-3", "many", "1e2", "")),
        *(("--load", value) for value in ("0", "0.000", "-1", "1,3", "1e3", "nan", "1.2345", "")),
        ("--load", "1000.001"),
        ("--data", "no/such/folder"),
        ("--data", ""),
        ("--list", " "),
        ("--policy", ""),
        ("--report", "no/such/folder/report.html"),
        ("--report", "/dev/null"),
        ("--report", ""),
        ("--report", "a\udcff.html"),
        ("--policy", "a\udcff"),
    ],
)
def test_simulate_refuses_a_bad_value(
    option: str, value: str, engine: Engine, capsys: Captured
) -> None:
    assert main(["simulate", f"{option}={value}", "--output", "json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(err)["error"]
    assert out == ""
    assert engine.asked == {}, "nothing was started"
    assert error["where"] == option
    assert error["value"] == value
    assert error["what"]
    assert error["fix"]
    assert error["exit_code"] == 2


@pytest.mark.parametrize("value", ["0", "9223372036854775807"])
def test_simulate_takes_the_ends_of_the_seeds(value: str, engine: Engine) -> None:
    assert main(["simulate", "--seed", value]) == 0
    assert engine.asked["seed"] == int(value)


@pytest.mark.parametrize(
    ("text", "milli"),
    [("1.3", 1300), ("0.001", 1), ("2", 2000), ("1.300000", 1300), ("1000", 10**6)],
)
def test_simulate_keeps_the_load_exact(text: str, milli: int, engine: Engine) -> None:
    assert main(["simulate", "--load", text]) == 0
    assert engine.asked["load"] == milli


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "--nonsense"],
        ["simulate", "shop", "extra"],
        ["simulate", "--output", "xml"],
        ["simulate", "--seed"],
        ["explain"],
        ["config", "nothing"],
    ],
)
def test_usage_errors_end_with_two(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("herz: error: ")


def test_usage_errors_are_json_where_json_was_asked_for(capsys: Captured) -> None:
    assert main(["simulate", "--output=json", "--nonsense"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["kind"] == "UsageError"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("unknown policy", where="--policy", value="x", fix="use default"), 2),
        (WorldError("the disk is gone", is_retryable=True), 3),
        (OSError(5, "Input/output error"), 3),
        (AuditError("the chain is broken"), 1),
        (InvariantError("a pod is in two queues"), 70),
        (KeyError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes_and_leave_no_report(
    error: BaseException, code: int, engine: Engine, tmp_path: Path, capsys: Captured
) -> None:
    engine.error = error
    target = tmp_path / "report.html"
    assert main(["simulate", "--report", str(target), "--output", "json"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["exit_code"] == code
    assert os.listdir(tmp_path) == []


def test_human_errors_tell_what_where_value_and_fix(engine: Engine, capsys: Captured) -> None:
    engine.error = ConfigError("unknown policy", where="--policy", value="a\x1b[2J", fix="use fgd")
    assert main(["simulate"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "herz: error: unknown policy",
        "  where  --policy",
        "  value  'a\\x1b[2J'",
        "  fix    use fgd",
    ]


def test_a_bug_keeps_its_trace(engine: Engine, capsys: Captured) -> None:
    engine.error = InvariantError("a pod is in two queues")
    assert main(["simulate"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "this is a bug in Herz" in err


def test_report_is_written_and_named(engine: Engine, tmp_path: Path, capsys: Captured) -> None:
    target = tmp_path / "report.html"
    assert main(["simulate", "--report", str(target)]) == 0
    assert f"report: {target}" in capsys.readouterr().out
    assert target.read_text().startswith("<!doctype html>")
    assert os.listdir(tmp_path) == ["report.html"]


def test_names_with_brackets_are_printed_as_they_are(engine: Engine, capsys: Captured) -> None:
    assert main(["simulate", "[red]x[/red]\x1b[2J"]) == 0
    out = capsys.readouterr().out
    assert "[red]x[/red]\\x1b[2J" in out


def test_config_policies_lists_the_built_in_ones(capsys: Captured) -> None:
    assert main(["config", "policies", "--output", "json"]) == 0
    assert "default" in json.loads(capsys.readouterr().out)["policies"]


def test_config_scenarios_lists_the_built_in_ones(capsys: Captured) -> None:
    assert main(["config", "scenarios", "--output", "json"]) == 0
    assert {"shop", "openb"} <= set(json.loads(capsys.readouterr().out)["scenarios"])


def test_version_names_what_it_runs_on(capsys: Captured) -> None:
    assert main(["version", "--output", "json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"herz", "python", "numpy", "platform"}


@pytest.mark.parametrize(
    "arguments",
    [[], ["simulate"], ["version"], ["config"], ["config", "policies"], ["config", "scenarios"]],
)
def test_help_has_an_example(arguments: list[str], capsys: Captured) -> None:
    assert main([*arguments, "--help"]) == 0
    assert "Example" in capsys.readouterr().out


def test_herz_alone_shows_its_help_and_ends_with_two(capsys: Captured) -> None:
    assert main([]) == 2
    assert "simulate" in "".join(capsys.readouterr())


def _run(*arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, on this checkout."""
    return subprocess.run(
        [sys.executable, *flags, "-m", "herz.front.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


@pytest.mark.slow
def test_python_without_asserts_is_refused() -> None:
    ended = _run("version", flags=("-O",))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "asserts are off" in ended.stderr


@pytest.mark.slow
def test_full_disk_behind_stdout_is_the_outsides_failure() -> None:
    command = f"{sys.executable} -m herz.front.cli version --output json > /dev/full"
    ended = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert ended.returncode == 3
    assert "No space left" in ended.stderr


@pytest.mark.slow
def test_closed_pipe_is_the_outsides_failure_without_noise() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "herz.front.cli", "version"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
    assert ended.returncode == 3
    assert ended.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
def test_kubectl_finds_herz_as_its_plugin(tmp_path: Path) -> None:
    assert KUBECTL is not None
    beside = Path(sys.executable).parent
    assert (beside / "kubectl-herz").exists(), "installed with herz"
    done = subprocess.run(
        [KUBECTL, "herz", "explain", "nobody", "--journal", str(tmp_path)],
        env={**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "herz: error: no journal" in done.stderr
