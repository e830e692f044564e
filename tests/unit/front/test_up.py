"""`herz up`: a process that serves, survives a kill, and stops when told."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herz.front.cli import main
from tests.support.cluster import Client

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def serving(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The process and what it printed; killed at the end if it still runs."""
    command = [sys.executable, "-m", "herz.front.cli", "up", "--no-scheduler", "--port", "0"]
    command += ["--data", str(folder), "--output", "json", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            text += line
        yield process, json.loads(text)
    finally:
        process.kill()
        process.communicate()


def test_it_serves_survives_a_kill_and_stops_when_told(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    with serving(folder, "--nodes", "2") as (process, said):
        assert said["process"] == process.pid
        api = Client(Path(said["kubeconfig"]))
        assert said["kubeconfig"] == str(folder / "kubeconfig")
        names = [item["metadata"]["name"] for item in api.get("/api/v1/nodes").content["items"]]
        assert names == ["node-0", "node-1"]
        made = api.post("/api/v1/namespaces", {"metadata": {"name": "kept"}})
        assert made.code == 201
        process.kill()
        process.wait()
    with serving(folder, "--nodes", "2") as (process, said):
        api = Client(Path(said["kubeconfig"]))
        found = api.get("/api/v1/namespaces/kept")
        assert found.uid == made.uid
        with api.watch("/api/v1/namespaces", resourceVersion=made.revision) as events:
            process.send_signal(signal.SIGINT)
            for _ in events:
                pass
        assert process.wait(20) == 0
    assert (folder.stat().st_mode & 0o777) == 0o700
    for name in ("token", "kubeconfig", "ca.key", "server.key"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_it_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path / "cluster")]
    for wrong in (
        ["--once"],
        ["--demo", "--no-scheduler"],
        ["--demo", "--nodes", "4"],
        ["--config", "no-such-policy"],
        ["--config", "no-such-file.yaml"],
        ["--nodes", "many"],
        ["--nodes", "10001"],
        ["--port", "65536"],
        ["--host", "0.0.0.0"],
        ["--cpu", "much"],
        ["--data", ""],
    ):
        assert main(["up", *data, *wrong]) == 2, wrong
        assert "fix" in capsys.readouterr().err
    assert not (tmp_path / "cluster").exists()


def test_a_folder_or_a_port_that_is_taken_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path / "one") as (_, said):
        again = ["up", "--no-scheduler", "--port", "0", "--data", said["data"]]
        assert main(again) == 3
        assert "in use by another server" in capsys.readouterr().err
        port = said["server"].rpartition(":")[2]
        other = ["up", "--no-scheduler", "--port", port, "--data", str(tmp_path / "two")]
        assert main(other) == 3
        assert "cannot listen" in capsys.readouterr().err
