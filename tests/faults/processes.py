"""The processes of a round: the API server and the replicas, started, killed and started again."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import IO

import yaml

from herz.world.apiserver.credentials import credentials
from tests.support.cluster import Client
from tests.support.proxy import pause

START_SECONDS = 60.0


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One command of Herz, which can be started again; its log goes on."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [sys.executable, "-m", "herz.front.cli", *arguments]
        # As where Herz is installed: a start reads the bytecode of the one before it.
        self._bytecode = folder / "bytecode"
        self._process: subprocess.Popen[bytes] | None = None
        self._file: IO[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        self.stop()
        self._file = self.log.open("ab")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(self._bytecode)
        self._process = subprocess.Popen(
            self._command,
            stdout=self._file,
            stderr=self._file,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        self.starts += 1

    @property
    def id(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        if not self.has_ended:
            os.kill(self.id, number)

    def stop(self) -> None:
        """Kill it, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._file is not None:
            self._file.close()

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


class Server(Process):
    """The embedded API server, with its simulated nodes, at one port for its life."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, nodes: int) -> None:
        self.port = free_port()
        self.folder = folder / "cluster"
        shape = ("--nodes", str(nodes), "--cpu", "8", "--port", str(self.port))
        where = ("--data", str(self.folder))
        super().__init__(folder, "server", "up", "--no-scheduler", *shape, *where)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text(encoding="ascii").strip()

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.crt"))

    async def ready(self) -> None:
        """Until it answers."""
        url = f"https://127.0.0.1:{self.port}/readyz"
        async with asyncio.timeout(START_SECONDS):
            while not self.has_ended:
                try:
                    answer = await asyncio.to_thread(
                        urllib.request.urlopen, url, None, 5, context=self.trust
                    )
                    answer.close()
                    return
                except OSError:
                    await pause(0.1)
        raise AssertionError(f"the server has ended: {self.said[-2000:]}")

    def kubeconfig_through(self, port: int) -> Path:
        """The same, for who goes through the proxy."""
        config = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        path = self.folder / "through"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path


class GivenServer:
    """An API server of somebody else's: it is neither started nor killed.

    Args:
        folder: where the credentials of the proxy before it lie.
        kubeconfig: of the server, with a token.
    """

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        client = Client(kubeconfig)
        assert client.address.hostname, "the kubeconfig names the server"
        self.host, self.port = client.address.hostname, client.address.port or 443
        self.trust = client.tls
        self.kubeconfig = kubeconfig
        self.token = client.token
        self.folder = folder / "proxy"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "token").write_text(self.token, encoding="ascii")
        self._access = credentials(self.folder, "127.0.0.1")

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """It goes on."""

    async def ready(self) -> None:
        """It is."""

    def kubeconfig_through(self, port: int) -> Path:
        """See `Server.kubeconfig_through`."""
        self._access.write_kubeconfig("127.0.0.1", port)
        return self._access.kubeconfig


LEASE_SECONDS = (3.0, 2.0, 0.4)
"""Lease, renew deadline and retry: a fifth of the defaults."""


class Replica(Process):
    """A guard and its scheduler; its journal is a folder, or what HERZ_JOURNAL names."""

    def __init__(self, folder: Path, name: str, kubeconfig: Path) -> None:
        named = "HERZ_JOURNAL" in os.environ
        journal = () if named else ("--journal", str(folder / "journal"))
        lease, renew, retry = (f"{seconds:g}s" for seconds in LEASE_SECONDS)
        super().__init__(
            *(folder, name, "run", "--kubeconfig", str(kubeconfig)),
            *(*journal, "--leader-elect"),
            *("--leader-elect-lease-duration", lease, "--leader-elect-renew-deadline", renew),
            *("--leader-elect-retry-period", retry, "--secure-port", "0"),
            *("--bind-address", "127.0.0.1", "--logging-format", "json"),
        )

    @property
    def children(self) -> list[int]:
        """The scheduler below the guard."""
        try:
            path = Path(f"/proc/{self.id}/task/{self.id}/children")
            return [int(one) for one in path.read_text(encoding="ascii").split()]
        except OSError:
            return []

    def kill_scheduler(self) -> None:
        for child in self.children:
            os.kill(child, signal.SIGKILL)

    def metrics(self) -> dict[str, float]:
        """What it shows now; empty where it does not answer."""
        ports = re.findall(r"https://127\.0\.0\.1:(\d+)", self.said)
        if not ports or self.has_ended:
            return {}
        # Its certificate is kept nowhere; this asks a process of ours on loopback.
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        try:
            url = f"https://127.0.0.1:{ports[-1]}/metrics"
            with urllib.request.urlopen(url, timeout=5, context=tls) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        samples = (line.rpartition(" ") for line in text.splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in samples if name}
