"""A real control plane for as long as somebody needs it: etcd, kube-apiserver, controllers.

The programs are the user's; three variables say where they lie. `python -m
tests.support.control_plane [--folder F] [--nodes N] [COMMAND ...]` runs one, with simulated nodes,
until the command has ended, which finds it by HERZ_TEST_KUBECONFIG; without, until SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from herz.world.apiserver.credentials import Credentials, credentials
from herz.world.apiserver.kubelets import Shape
from tests.support.remote_kubelets import remote_kubelets

PROGRAMS = {
    "etcd": "HERZ_TEST_ETCD",
    "kube-apiserver": "HERZ_TEST_KUBE_APISERVER",
    "kube-controller-manager": "HERZ_TEST_KUBE_CONTROLLER_MANAGER",
}
"""The variable that holds each program's path."""
SCHEDULER = "HERZ_TEST_KUBE_SCHEDULER"
"""The variable that holds kube-scheduler's path; only comparisons need it."""
_HOST = "127.0.0.1"
_START_S = 120
_END_S = 30


@dataclass(frozen=True)
class ControlPlane:
    """A control plane that runs.

    Args:
        folder: where its data, logs and credentials lie.
        access: who trusts whom; its kubeconfig is an administrator's.
    """

    folder: Path
    access: Credentials

    @property
    def kubeconfig(self) -> Path:
        return self.access.kubeconfig


def missing() -> str:
    """What a real control plane lacks here; empty when nothing."""
    for name, variable in PROGRAMS.items():
        path = os.environ.get(variable, "")
        if not path:
            return f"no {name}: set {variable} to its path"
        if not os.access(path, os.X_OK):
            return f"{variable}={path} is no program"
    return ""


@contextmanager
def control_plane(
    folder: Path, *, inflight: tuple[int, int] = (400, 200)
) -> Iterator[ControlPlane]:
    """Start the three, ready to be used, and end them.

    Args:
        folder: made if it is missing; what is there already is gone on with.
        inflight: how many reads and how many writes kube-apiserver serves at once.
    """
    access = credentials(folder, _HOST)
    clients, peers, port = (_free_port() for _ in range(3))
    with ExitStack() as stack:
        etcd = [f"--data-dir={folder / 'etcd'}", *_etcd_urls(clients, peers)]
        running = [stack.enter_context(_running("etcd", etcd, folder))]
        arguments = _apiserver(access, port, clients, inflight)
        running.append(stack.enter_context(_running("kube-apiserver", arguments, folder)))
        access.write_kubeconfig(_HOST, port)
        _await(f"https://{_HOST}:{port}/readyz", access, running)
        arguments = _controllers(access)
        stack.enter_context(_running("kube-controller-manager", arguments, folder))
        yield ControlPlane(folder, access)


def _etcd_urls(clients: int, peers: int) -> list[str]:
    return [
        f"--listen-client-urls=http://{_HOST}:{clients}",
        f"--listen-peer-urls=http://{_HOST}:{peers}",
    ]


def _apiserver(access: Credentials, port: int, etcd: int, inflight: tuple[int, int]) -> list[str]:
    folder = access.folder
    users = folder / "users.csv"
    users.write_text(f'{access.token},herz-admin,1,"system:masters"\n', encoding="utf-8")
    return [
        f"--etcd-servers=http://{_HOST}:{etcd}",
        f"--bind-address={_HOST}",
        f"--secure-port={port}",
        f"--advertise-address={_HOST}",
        f"--tls-cert-file={folder / 'server.crt'}",
        f"--tls-private-key-file={folder / 'server.key'}",
        f"--token-auth-file={users}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'server.crt'}",
        f"--service-account-signing-key-file={folder / 'server.key'}",
        # Pods must not wait for a token that nobody uses here.
        "--disable-admission-plugins=ServiceAccount",
        f"--max-requests-inflight={inflight[0]}",
        f"--max-mutating-requests-inflight={inflight[1]}",
    ]


def _controllers(access: Credentials) -> list[str]:
    return [
        f"--kubeconfig={access.kubeconfig}",
        f"--authentication-kubeconfig={access.kubeconfig}",
        f"--authorization-kubeconfig={access.kubeconfig}",
        f"--root-ca-file={access.ca}",
        f"--service-account-private-key-file={access.folder / 'server.key'}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


@contextmanager
def _running(
    name: str, arguments: Sequence[str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A program of PROGRAMS; it is ended by its pid, and what it says is in `NAME.log`."""
    path = os.environ[PROGRAMS[name]]
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(url: str, access: Credentials, running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until the server says that it is ready; RuntimeError if it ends or takes too long."""
    context = ssl.create_default_context(cafile=str(access.ca))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {access.token}"})
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        for process in running:
            try:
                code = process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"{process.args!r} ended with {code}; see {access.folder}")
    raise RuntimeError(f"{url} is not ready after {_START_S} s; see {access.folder}")


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as found:
        port: int = found.getsockname()[1]
        return port


def main() -> int:
    """Run one for a command, or until a signal asks for the end; gives the command's code."""
    parser = argparse.ArgumentParser(prog="control_plane", description=main.__doc__)
    parser.add_argument("--folder", type=Path, help="kept; without, a new one is made and removed")
    parser.add_argument("--nodes", type=int, default=1, help="simulated nodes")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if lack := missing():
        sys.stderr.write(f"{lack}\n")
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plane = stack.enter_context(control_plane(folder.absolute()))
        stack.enter_context(remote_kubelets(plane.kubeconfig, Shape(given.nodes)))
        sys.stdout.write(f"{plane.kubeconfig}\n")
        sys.stdout.flush()
        if not given.command:
            ended.wait()
            return 0
        environment = {**os.environ, "HERZ_TEST_KUBECONFIG": str(plane.kubeconfig)}
        environment["HERZ_TEST_NODES"] = str(given.nodes)
        return subprocess.run(given.command, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
