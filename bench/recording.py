"""What the journal costs: recording on and off, verifying, replaying, looking up; beside floors.

Floors are what the same bytes cost bare: hashing them, and one write and sync for each step.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench import worlds
from herz import journaling
from herz.app import ALIASES, build_machine, load_policy
from herz.commit.audit.entry import opened
from herz.commit.audit.journaled import STATE_EVERY, Journaled
from herz.commit.audit.log import Log
from herz.commit.audit.signing import LogSigner
from herz.front import recorded as recorded_of
from herz.front.explain import rows
from herz.model.effects import Bind
from herz.model.events import ObjectApplied
from herz.model.journal import Kind, Sealed
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import Record
from herz.ports import Machine
from herz.state import frozen, thawed
from herz.world.signer.keyfile import SoftKey
from herz.world.store.files import FileStore, Reader
from herz.world.store.index import Index
from herz.world.store.where import indexed

BATCH = 256
NODES = 5_000
PODS = 10_000
ROUNDS = 5
LOOKUPS = 500
COMMANDS = 200


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for a journal, gone afterwards; HERZ_BENCH_DIR says on which disk."""
    path = Path(tempfile.mkdtemp(dir=os.environ.get("HERZ_BENCH_DIR")))
    try:
        yield path / "journal"
    finally:
        shutil.rmtree(path)


class Day:
    """Pods come to a machine, are decided and bound, a batch a step.

    Args:
        machine: the machine.
        nodes: how many are shown to it before.
    """

    def __init__(self, machine: Machine, nodes: int = NODES) -> None:
        self.machine = machine
        # What each step took in the machine, with the events before it and the answers after it:
        # seconds on the wall, and of processors, those of all threads of this process.
        self.wall: list[float] = []
        self.cpu: list[float] = []
        for event in worlds.nodes(nodes, is_mixed=False):
            machine.apply(event)
        machine.step(1, 1)

    def run(self, first: int, end: int) -> Day:
        """All batches of pods, from the first to the one before the end; itself."""
        gc.collect()
        for begin in range(first, end, BATCH):
            self.step(begin, min(begin + BATCH, end))
        return self

    def step(self, first: int, end: int) -> None:
        """One batch."""
        self.wall.append(0)
        self.cpu.append(0)
        arriving = [ObjectApplied(time_ns=1, object=worlds.pod(n)) for n in range(first, end)]
        with self.timed():
            for event in arriving:
                self.machine.apply(event)
            effects = self.machine.step(1, BATCH)
        answers = [
            BindFinished(time_ns=1, uid=one.uid, decision=one.decision, outcome=BindOutcome.BOUND)
            for one in effects
            if type(one) is Bind
        ]
        with self.timed():
            for answer in answers:
                self.machine.apply(answer)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time more of the step."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.cpu[-1] += time.process_time() - cpu
        self.wall[-1] += time.perf_counter() - wall


@contextmanager
def journal(path: Path, state_every: int = STATE_EVERY) -> Iterator[Journaled]:
    """A machine in a journal, which is closed behind it."""
    store = FileStore.open(path)
    log = Log(store, os.urandom, journaling.ORIGIN)
    yield journaling.journaled(log, load_policy("default"), 1, state_every=state_every)
    store.close()


def recorded(path: Path, pods: int, nodes: int = NODES) -> Day:
    """A day in a journal."""
    with journal(path) as machine:
        day = Day(machine, nodes).run(0, pods)
        with day.timed():
            machine.close()
    return day


def added(on: list[list[float]], off: list[list[float]]) -> float:
    """What recording adds: over all steps, the least that a step ever took with and without it.

    Other work only adds, and all rounds do the same in the same step.
    """
    with_it, without = (sum(map(min, zip(*rounds, strict=True))) for rounds in (on, off))
    return float(with_it - without)


def recording(pods: int = PODS) -> dict[str, float]:
    """Recording on and off, step by step in turns, on two machines that decide the same."""
    on, off, syncs, hashes = [], [], [], []
    figures: dict[str, float] = {}
    for _ in range(ROUNDS):
        off.append(Day(build_machine(load_policy("default"), 1, [], aliases=ALIASES)))
        with folder() as path:
            with journal(path) as machine:
                on.append(Day(machine))
                gc.collect()
                for begin in range(0, pods, BATCH):
                    for day in (on[-1], off[-1]):
                        day.step(begin, min(begin + BATCH, pods))
                with on[-1].timed():
                    machine.close()
            del machine, on[-1].machine, off[-1].machine
            entries = [entry for _, entry in Reader(path).read(NODES)]
            hashes.append(hash_floor([entry.payload for entry in entries]))
            size = sum(file.stat().st_size for _, file in Reader(path).segments())
            steps = len(on[-1].wall)
            syncs.append(sync_floor(path.parent, size // steps, steps))
            records = [one.payload for one in entries if one.leaf[1] == Kind.RECORD]
        figures = {
            "decisions": float(pods),
            "record_bytes": sum(map(len, records)) / len(records),
            "journal_bytes_a_decision": size / pods,
        }
    each = 1e6 / pods
    return figures | {
        "off_microseconds_a_decision": min(sum(day.wall) for day in off) * each,
        "on_microseconds_a_decision": min(sum(day.wall) for day in on) * each,
        "added_microseconds_a_decision": added([d.wall for d in on], [d.wall for d in off]) * each,
        "added_cpu_microseconds": added([d.cpu for d in on], [d.cpu for d in off]) * each,
        "hash_floor_microseconds": min(hashes) * each,
        "sync_floor_microseconds": min(syncs) * each,
        "microseconds_a_decision": min(sum(day.wall) for day in on) * each,
    }


def hash_floor(payloads: Sequence[bytes]) -> float:
    """Seconds of a processor to commit to payloads and to hash leaves and nodes, and no more."""
    sha3, sha2, salt = hashlib.sha3_384, hashlib.sha256, bytes(32)
    started = time.process_time()
    for payload in payloads:
        leaf = sha3(salt + payload).digest()
        sha2(leaf).digest()
        sha2(leaf + leaf[:17]).digest()
    return time.process_time() - started


def sync_floor(path: Path, size: int, times: int) -> float:
    """Seconds to write and sync so many bytes so many times."""
    data = os.urandom(size)
    descriptor = os.open(path / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    started = time.perf_counter()
    for _ in range(times):
        os.write(descriptor, data)
        os.fdatasync(descriptor)
    spent = time.perf_counter() - started
    os.close(descriptor)
    (path / "floor").unlink()
    return spent


def bare_loop(entries: Sequence[Sealed]) -> float:
    """Seconds of a processor to hash what a verifier must hash, and no more."""
    sha3, started = hashlib.sha3_384, time.process_time()
    for entry in entries:
        if entry.leaf[1] == Kind.RECORD:
            sha3(entry.payload).digest()
    return time.process_time() - started + hash_floor([one.payload for one in entries])


def reading(pods: int = PODS) -> dict[str, float]:
    """Verifying beside a bare hashing loop over the same bytes; replay beside the live rate.

    Rates are by seconds of processors, of all threads.
    """
    with folder() as path:
        live = sum(recorded(path, pods).cpu)
        entries = [entry for _, entry in Reader(path).read()]
        verifying, bare = [], []
        for _ in range(ROUNDS):
            started = time.process_time()
            assert journaling.verified(path).problem is None
            verifying.append(time.process_time() - started)
            bare.append(bare_loop(entries))
        started = time.process_time()
        found = journaling.replayed(path)
        replaying = time.process_time() - started
        assert found.first is None
    return {
        "decisions": float(pods),
        "verify_entries_a_second": len(entries) / min(verifying),
        "hashing_entries_a_second": len(entries) / min(bare),
        "verify_of_hashing_percent": 100 * min(bare) / min(verifying),
        "live_decisions_a_second": pods / live,
        "replay_decisions_a_second": pods / replaying,
        "replay_of_live_percent": 100 * live / replaying,
        "microseconds_a_decision": replaying / pods * 1e6,
    }


def state(pods: int = PODS) -> dict[str, float]:
    """The whole state of 5,000 nodes and of pods on them: taken, and put into a new machine."""
    machine = build_machine(load_policy("default"), 1, [], aliases=ALIASES)
    Day(machine).run(0, pods)
    machine.step(2, 1)
    taking, beginning, clock = [], [], time.perf_counter
    for _ in range(ROUNDS):
        started = clock()
        data = frozen(machine)
        taking.append(clock() - started)
        other = build_machine(load_policy("default"), 1, [], aliases=ALIASES)
        started = clock()
        thawed(other, data)
        beginning.append(clock() - started)
    return {
        "decisions": float(pods),
        "megabytes": len(data) / 1e6,
        "taking_seconds": min(taking),
        "beginning_seconds": min(beginning),
        "microseconds_a_decision": min(taking) / pods * 1e6,
    }


def explaining(every: int = STATE_EVERY) -> dict[str, float]:
    """`herz explain --node`, of the decision that is farthest from the state before it.

    Each time in a process of its own. Of 5,000 nodes, a state is taken after so many decisions,
    and as many follow without one.
    """
    with folder() as path:
        with journal(path, state_every=every) as machine:
            day = Day(machine).run(0, every)
            machine.step(2, 1)  # Every bind was answered: the state is taken.
            day.run(every, 2 * every - 1)
            machine.close()
            del machine, day
        Index(Reader(path)).close()
        pod, node = f"bench/{worlds.pod(2 * every - 2).metadata.name}", f"node-{NODES - 1:05}"
        command = [sys.executable, "-m", "herz.front.cli", "explain", pod, "--journal", str(path)]
        command += ["--node", node, "--output", "json"]
        wall, cpu = [], []
        for _ in range(ROUNDS):
            before, started = os.times(), time.perf_counter()
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            wall.append(time.perf_counter() - started)
            after = os.times()
            spent = (after.children_user, after.children_system)
            cpu.append(sum(spent) - before.children_user - before.children_system)
        again = json.loads(done.stdout)["recomputed"]
        assert again["from"] == "state", "it began with the state"
        assert again["sequence"] == 2 * every - 1, "it is about the last decision"
    return {
        "decisions": float(every),
        "wall_seconds": min(wall),
        "cpu_seconds": min(cpu),
        "microseconds_a_decision": min(cpu) / every * 1e6,
    }


def looking_up(pods: int = 1_000_000) -> dict[str, float]:
    """One decision of many from the record: as commands, and in this process by a new index.

    The journal holds the record of one decision time and again, under other numbers and pods, each
    with the API's answer, and is signed every 1,000 entries.
    """
    with folder() as path:
        record = _one_record()
        store = FileStore.open(path)
        signer = LogSigner("bench.example/log", [SoftKey("ed25519", bytes(32))])
        log = Log(store, os.urandom, signer.origin, lambda one: signer.sign(one.text).data)
        for first in range(0, pods, BATCH):
            for number in range(first, min(first + BATCH, pods)):
                pod = msgspec.structs.replace(record.pod, name=f"pod-{number}")
                log.write(msgspec.structs.replace(record, sequence=number + 1, pod=pod))
                log.write(_bound(number))
            log.commit(sync=False)
        store.close()
        started = time.perf_counter()
        Index(Reader(path)).close()
        indexing = time.perf_counter() - started
        times = []
        chance = random.Random(1)
        for _ in range(LOOKUPS):
            number = chance.randrange(pods)
            started = time.perf_counter()
            with indexed(path) as index:
                _, (told,) = recorded_of.of_pod(index, f"bench/pod-{number}")
            rows([told.record])
            times.append(time.perf_counter() - started)
        times.sort()
        commands = _commands(path, pods, signer)
    return {
        "decisions": float(pods),
        **commands,
        "index_seconds": indexing,
        "lookup_milliseconds_p50": 1e3 * times[LOOKUPS // 2],
        "lookup_milliseconds_p99": 1e3 * times[LOOKUPS * 99 // 100],
        "microseconds_a_decision": 1e6 * times[LOOKUPS // 2],
    }


def _commands(journal: Path, pods: int, signer: LogSigner) -> dict[str, float]:
    """Each command in a process of its own, in turn, beside a Python that does nothing."""
    trust, proof = journal.parent / "trust.toml", journal.parent / "proof"
    key = f'[[log]]\nkey = "{signer.keys[0].text}"\n'
    trust.write_text(f'format = "herz-trust/1"\nquorum = 0\n{key}')
    herz, at = [str(Path(sys.executable).with_name("herz"))], ["--journal", str(journal)]
    trusting = ["--trust", str(trust)]
    taken: dict[str, list[float]] = {}
    chance = random.Random(2)
    for _ in range(COMMANDS):
        number = chance.randrange(pods)
        for name, command in {
            "python": [sys.executable, "-c", "pass"],
            "show": [*herz, "audit", "show", str(number + 1), *at],
            "explain": [*herz, "explain", f"bench/pod-{number}", *at],
            "prove": [*herz, "audit", "prove", str(number + 1), *at, *trusting, "--to", str(proof)],
            "check": [*herz, "audit", "check", str(proof), *trusting],
        }.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            taken.setdefault(name, []).append(1e3 * (time.perf_counter() - started))
    told: dict[str, float] = {}
    for name, times in taken.items():
        times.sort()
        told[f"{name}_milliseconds_p50"] = times[COMMANDS // 2]
        told[f"{name}_milliseconds_p99"] = times[COMMANDS * 99 // 100]
    return told


def _bound(number: int) -> BindFinished:
    """That the API has bound the pod of that number."""
    outcome, version = BindOutcome.BOUND, str(10_000 + number)
    return BindFinished(
        time_ns=1, uid="u", decision=number + 1, outcome=outcome, resource_version=version, code=201
    )


def _one_record() -> Record:
    """A record as the default policy makes it among 5,000 nodes."""
    with folder() as path:
        recorded(path, 1)
        entries = (entry for _, entry in Reader(path).read(NODES))
        record = next(opened(one)[1] for one in entries if one.leaf[1] == Kind.RECORD)
    assert isinstance(record, Record), "as its kind says"
    return record
