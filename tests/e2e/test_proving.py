"""`herz run --key`: the journal is signed and cosigned while it is written, and says how far."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from herz import signals
from herz.errors import ConfigError
from herz.front.cli import main
from herz.front.cli.proving import proving
from herz.journaling import last_told
from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.kubelets import Shape
from tests.faults.processes import free_port
from tests.support.cluster import Client, running
from tests.support.live import PODS, command, node_of, pod, until
from tests.support.proxy import pause

Captured = pytest.CaptureFixture[str]
WAIT_S = 60.0
EXPOSED = (signals.AUDIT_UNSIGNED_ENTRIES, signals.AUDIT_UNWITNESSED_ENTRIES)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a log's and a witness' key, to work in."""
    monkeypatch.chdir(tmp_path)
    Path("pass").touch(0o600)
    Path("pass").write_text("correct horse battery\n")
    for name, more in (("log", ["--name", "l.example"]), ("w1", ["--name", "w", "--witness"])):
        make = ["audit", "key", "create", f"{name}.key", *more, "--passphrase-file", "pass"]
        assert main(make) == 0
    return tmp_path


def keys(capsys: Captured, file: str) -> list[str]:
    capsys.readouterr()
    assert main(["audit", "key", "show", file, "--output", "json"]) == 0
    return [each["key"] for each in json.loads(capsys.readouterr().out)["keys"]]


def write_trust(capsys: Captured, url: str = "") -> None:
    lines = ['format = "herz-trust/1"', f"quorum = {int(bool(url))}"]
    for text in keys(capsys, "log.key"):
        lines += ["[[log]]", f'key = "{text}"']
    if url:
        lines += ["[[witness]]", f'key = "{keys(capsys, "w1.key")[0]}"', f'url = "{url}"']
    Path("trust.toml" if url else "logs.toml").write_text("\n".join(lines))


@contextmanager
def witness() -> Iterator[str]:
    """The address of a witness in a process of its own."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "herz.front.cli", "audit", "witness", "--key", "w1.key"),
            *("--trust", "logs.toml", "--memory", "w1.sqlite", "--port", "0"),
            *("--passphrase-file", "pass"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


def figures(port: int) -> dict[str, float]:
    """What `/metrics` shows of the journal."""
    anybody = ssl._create_unverified_context()
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/metrics", context=anybody) as answer:
        lines = answer.read().decode().splitlines()
    shown = [line.split() for line in lines if line.startswith("herz_audit_")]
    return {name: float(value) for name, value in shown}


async def covered(port: int) -> None:
    """Until nothing is unsigned or unwitnessed; nothing is decided meanwhile."""
    async with asyncio.timeout(WAIT_S):
        while any(figures(port)[name] for name in EXPOSED):
            await pause(0.1)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_live_journal_is_signed_and_cosigned_while_it_is_written(
    here: Path, capsys: Captured
) -> None:
    write_trust(capsys)
    port = free_port()
    with (
        running(Settings(here / "cluster", nodes=Shape(2))) as cluster,
        witness() as url,
    ):
        write_trust(capsys, url)
        run = ["run", "--kubeconfig", str(cluster.kubeconfig), "--journal", "journal"]
        run += ["--key", "log.key", "--passphrase-file", "pass", "--trust", "trust.toml"]
        run += ["--bind-address", "127.0.0.1", "--secure-port", str(port)]
        api = Client(cluster.kubeconfig)
        with command(*run, "--proof-mode", "witnessed") as (process, _):
            for number in range(5):
                assert api.post(PODS, pod(f"p-{number}")).code == 201
            until(api, lambda pods: all(map(node_of, pods.values())))
            asyncio.run(covered(port))
            assert figures(port).keys() == {
                *EXPOSED,
                signals.AUDIT_UNSIGNED_SECONDS,
                signals.AUDIT_UNWITNESSED_SECONDS,
                signals.AUDIT_CLOCK_STEPS,
            }
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert last_told(here / "journal")[1] == "witnessed"
    capsys.readouterr()
    verify = ["audit", "verify", "--journal", "journal", "--trust", "trust.toml"]
    assert main([*verify, "--output", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["vouched"] > 10
    assert said["covered"] == said["size"], "the end is signed, too"
    assert main(["audit", "replay", "--journal", "journal"]) == 0


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ((None, None, None, "strict"), "--proof-mode"),
        ((None, "pass", None, None), "--passphrase-file"),
        ((None, None, "trust.toml", None), "--trust"),
        (("log.key", "pass", None, "lax"), "no proof mode"),
        (("log.key", "pass", None, "witnessed"), "nobody witnesses"),
        (("log.key", "pass", "logs.toml", None), "too few witnesses"),
        (("w1.key", "pass", None, None), "w1.key"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    here: Path, capsys: Captured, given: tuple[str | None, ...], what: str
) -> None:
    assert (here / "log.key").exists()
    write_trust(capsys)
    with pytest.raises(ConfigError, match=what):
        proving(*given)
