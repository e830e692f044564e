"""The guard with real processes against the embedded server: one writes, loss and ends, probes."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herz.errors import InvariantError
from herz.world.apiserver.embedded import Embedded, Settings
from herz.world.kube.guard import Board
from tests.support.cluster import Client, running

WAIT_S = 30
PAUSE = threading.Event()
ROOT = Path(__file__).parents[4]
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/herz"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    with running(Settings(tmp_path / "cluster")) as cluster:
        yield cluster


class Replica:
    """A guard with its worker."""

    def __init__(self, cluster: Embedded, folder: Path, role: str = "worker") -> None:
        folder.mkdir()
        self.folder = folder
        command = [sys.executable, "-m", "tests.support.guarding", "guard"]
        self.process = subprocess.Popen(
            [*command, str(cluster.kubeconfig), str(folder), role],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def said(self, name: str) -> str:
        """What it noted, once it has."""
        return until(lambda: self.has(name) and (self.folder / name).read_text(encoding="utf-8"))

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    @property
    def worker(self) -> int:
        return int(self.said("worker"))

    def ended(self) -> int:
        return self.process.wait(WAIT_S)

    def ask(self, path: str) -> tuple[int, str]:
        """What an endpoint answers, its certificate verified."""
        port = self.said("port")
        tls = ssl.create_default_context(cafile=str(self.folder / "serving.crt"))
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", context=tls) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def until(ask: Callable[[], object]) -> str:
    """Wait for something true."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = ask()
        if found:
            return str(found)
        PAUSE.wait(0.02)
    raise AssertionError("it never came")


@pytest.fixture
def start(cluster: Embedded, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    started: list[Replica] = []

    def start(role: str = "worker") -> Replica:
        replica = Replica(cluster, tmp_path / f"replica-{len(started)}", role)
        started.append(replica)
        return replica

    yield start
    for replica in started:
        if replica.process.poll() is None:
            replica.process.kill()
            replica.process.wait()


def is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_stop_in_order_hands_over(cluster: Embedded, start: Callable[..., Replica]) -> None:
    first = start()
    assert first.said("may") == "1"
    second = start()
    assert second.worker
    assert not second.has("may"), "another leads"
    first.process.terminate()
    assert first.ended() == 0
    assert first.said("ended") == "in order"
    assert Client(cluster.kubeconfig).get(LEASE).content["spec"]["leaseTransitions"] >= 1
    assert second.said("may") == "2", "the next term"


def test_a_killed_guard_takes_its_scheduler_with_it(start: Callable[..., Replica]) -> None:
    first, second = start(), None
    assert first.said("may")
    worker = first.worker
    second = start()
    assert second.worker
    first.process.kill()
    first.process.wait()
    until(lambda: not is_alive(worker))
    assert not first.has("ended")
    assert second.said("may") == "2"


def test_a_lost_lease_ends_the_scheduler(cluster: Embedded, start: Callable[..., Replica]) -> None:
    replica = start()
    assert replica.said("may")
    thief = {"spec": {"holderIdentity": "somebody-else", "leaseDurationSeconds": 60}}
    assert Client(cluster.kubeconfig).patch(LEASE, thief).code == 200
    assert replica.ended() == 3
    assert "the lease is lost" in replica.said("error")
    assert not is_alive(replica.worker)
    assert not replica.has("ended"), "it was killed: nothing more may leave"


def test_a_paused_guard_does_not_let_its_scheduler_write(start: Callable[..., Replica]) -> None:
    first = start()
    assert first.said("may")
    os.kill(first.process.pid, signal.SIGSTOP)
    second = start()
    assert second.said("may") == "2"
    os.kill(first.process.pid, signal.SIGCONT)
    assert first.ended() == 3
    assert not is_alive(first.worker)


def test_a_killed_scheduler_gives_the_lease_up(start: Callable[..., Replica]) -> None:
    first = start()
    assert first.said("may")
    os.kill(first.worker, signal.SIGKILL)
    assert first.ended() == 3
    assert "SIGKILL" in first.said("error")
    assert start().said("may") == "2"


def test_a_scheduler_whose_loop_stands_still_is_ended(start: Callable[..., Replica]) -> None:
    replica = start("stuck")
    assert replica.ended() == 3
    assert "did not turn" in replica.said("error")
    assert not is_alive(replica.worker)


def test_probes_and_metrics_are_answered_beside_the_scheduler(
    start: Callable[..., Replica],
) -> None:
    replica = start()
    assert replica.said("may")
    assert replica.ask("/livez") == (200, "ok")
    assert replica.ask("/readyz") == (200, "ok")
    code, text = replica.ask("/readyz?verbose")
    assert code == 200
    for name in ("ping", "leaderElection", "informer-sync", "sched-handler-sync", "shutdown"):
        assert f"[+]{name} ok" in text
    code, text = replica.ask("/metrics")
    assert code == 200
    assert 'leader_election_master_status{name="herz"} 1.0' in text
    assert "herz_leader_term 1.0" in text
    assert "worker_metric 1" in text
    assert replica.ask("/secrets")[0] == 404
    # The scheduler stands still; the guard answers all the same.
    os.kill(replica.worker, signal.SIGSTOP)
    assert replica.ask("/livez") == (200, "ok")
    os.kill(replica.worker, signal.SIGCONT)


def test_half_written_words_are_not_believed() -> None:
    board = Board.make()
    try:
        assert board.told() == (0, 0, 0)
        board.tell(3, 10, 20)
        assert board.told() == (3, 10, 20)
        board._words[3] = 30
        with pytest.raises(InvariantError, match="never agree"):
            board.told()
    finally:
        board.close()
