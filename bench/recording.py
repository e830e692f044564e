"""What the journal costs: recording on and off, verifying, replaying, looking up; beside floors.

Floors are what the same bytes cost bare: hashing them, and one write and sync for each step.
"""

from __future__ import annotations

import gc
import hashlib
import os
import random
import shutil
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
from herz.commit.audit.journaled import Journaled
from herz.commit.audit.log import Log
from herz.front import recorded as recorded_of
from herz.front.explain import rows
from herz.model.effects import Bind
from herz.model.events import BindFinished, BindOutcome, ObjectApplied
from herz.model.journal import Kind
from herz.model.record import Record
from herz.ports import Machine
from herz.state import frozen, thawed
from herz.world.store.files import FileStore, Reader
from herz.world.store.index import Index

BATCH = 256
NODES = 5_000
PODS = 10_000
ROUNDS = 5
LOOKUPS = 500


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for a journal, gone afterwards; HERZ_BENCH_DIR says on which disk."""
    path = Path(tempfile.mkdtemp(dir=os.environ.get("HERZ_BENCH_DIR")))
    try:
        yield path / "journal"
    finally:
        shutil.rmtree(path)


def decide(machine: Machine, pods: int, nodes: int = NODES) -> tuple[float, int]:
    """Pods come, are decided and bound: the seconds in the machine, and the steps."""
    for event in worlds.nodes(nodes, is_mixed=False):
        machine.apply(event)
    machine.step(1, 1)
    arriving = [ObjectApplied(time_ns=1, object=worlds.pod(number)) for number in range(pods)]
    gc.collect()
    spent, steps, clock = 0.0, 0, time.perf_counter
    for first in range(0, pods, BATCH):
        started = clock()
        for event in arriving[first : first + BATCH]:
            machine.apply(event)
        effects = machine.step(1, BATCH)
        spent += clock() - started
        steps += 1
        answers = [
            BindFinished(time_ns=1, uid=one.uid, decision=one.decision, outcome=BindOutcome.BOUND)
            for one in effects
            if type(one) is Bind
        ]
        started = clock()
        for answer in answers:
            machine.apply(answer)
        spent += clock() - started
    return spent, steps


def recorded(path: Path, pods: int, nodes: int = NODES) -> tuple[float, int]:
    """The same in a journal."""
    store = FileStore.open(path)
    log = Log(store, os.urandom, journaling.ORIGIN)
    machine: Journaled = journaling.journaled(log, load_policy("default"), 1)
    spent, steps = decide(machine, pods, nodes)
    started = time.perf_counter()
    machine.close()
    spent += time.perf_counter() - started
    store.close()
    return spent, steps


def recording(pods: int = PODS) -> dict[str, float]:
    """Recording on and off in turns; the least of each, as other work only adds."""
    on, off, syncs, hashes = [], [], [], []
    figures: dict[str, float] = {}
    for _ in range(ROUNDS):
        plain = build_machine(load_policy("default"), 1, [], aliases=ALIASES)
        off.append(decide(plain, pods)[0] / pods * 1e6)
        del plain
        with folder() as path:
            spent, steps = recorded(path, pods)
            on.append(spent / pods * 1e6)
            entries = [entry for _, entry in Reader(path).read(NODES)]
            payloads = [entry.payload for entry in entries]
            hashes.append(hash_floor(payloads) / pods * 1e6)
            size = sum(file.stat().st_size for _, file in Reader(path).segments())
            syncs.append(sync_floor(path.parent, size // steps, steps) / pods * 1e6)
            records = [one.payload for one in entries if one.leaf[1] == Kind.RECORD]
        figures = {
            "decisions": float(pods),
            "record_bytes": sum(map(len, records)) / len(records),
            "journal_bytes_a_decision": size / pods,
        }
    return figures | {
        "off_microseconds_a_decision": min(off),
        "on_microseconds_a_decision": min(on),
        "added_microseconds_a_decision": min(on) - min(off),
        "hash_floor_microseconds": min(hashes),
        "sync_floor_microseconds": min(syncs),
        "microseconds_a_decision": min(on),
    }


def hash_floor(payloads: Sequence[bytes]) -> float:
    """Seconds to commit to payloads and to hash leaves and nodes, with nothing else done."""
    sha3, sha2, salt = hashlib.sha3_384, hashlib.sha256, bytes(32)
    started = time.perf_counter()
    for payload in payloads:
        leaf = sha3(salt + payload).digest()
        sha2(leaf).digest()
        sha2(leaf + leaf[:17]).digest()
    return time.perf_counter() - started


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


def reading(pods: int = PODS) -> dict[str, float]:
    """Verifying beside a bare hashing loop over the same bytes; replay beside the live rate."""
    with folder() as path:
        live = recorded(path, pods)[0]
        entries = [entry for _, entry in Reader(path).read()]
        started = time.perf_counter()
        assert journaling.verified(path).problem is None
        verifying = time.perf_counter() - started
        sha3 = hashlib.sha3_384
        started = time.perf_counter()
        for entry in entries:
            if entry.leaf[1] == Kind.RECORD:
                sha3(entry.payload).digest()
        bare = time.perf_counter() - started + hash_floor([one.payload for one in entries])
        started = time.perf_counter()
        found = journaling.replayed(path)
        replaying = time.perf_counter() - started
        assert found.first is None
    return {
        "decisions": float(pods),
        "verify_entries_a_second": len(entries) / verifying,
        "hashing_entries_a_second": len(entries) / bare,
        "verify_of_hashing_percent": 100 * bare / verifying,
        "live_decisions_a_second": pods / live,
        "replay_decisions_a_second": pods / replaying,
        "replay_of_live_percent": 100 * live / replaying,
        "microseconds_a_decision": replaying / pods * 1e6,
    }


def state(pods: int = PODS) -> dict[str, float]:
    """The whole state of 5,000 nodes and of pods on them: taken, and put into a new machine."""
    machine = build_machine(load_policy("default"), 1, [], aliases=ALIASES)
    decide(machine, pods)
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


def looking_up(pods: int = 1_000_000) -> dict[str, float]:
    """One decision of many from the record, each time by an index opened anew.

    The journal holds the record of one decision time and again, under other numbers and pods.
    """
    with folder() as path:
        record = _one_record()
        store = FileStore.open(path)
        log = Log(store, os.urandom, journaling.ORIGIN)
        for first in range(0, pods, BATCH):
            for number in range(first, min(first + BATCH, pods)):
                pod = msgspec.structs.replace(record.pod, name=f"pod-{number}")
                log.write(msgspec.structs.replace(record, sequence=number + 1, pod=pod))
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
            with journaling.indexed(path) as index:
                _, (told,) = recorded_of.of_pod(index, f"bench/pod-{number}")
            rows([told.record])
            times.append(time.perf_counter() - started)
        times.sort()
    return {
        "decisions": float(pods),
        "index_seconds": indexing,
        "lookup_milliseconds_p50": 1e3 * times[LOOKUPS // 2],
        "lookup_milliseconds_p99": 1e3 * times[LOOKUPS * 99 // 100],
        "microseconds_a_decision": 1e6 * times[LOOKUPS // 2],
    }


def _one_record() -> Record:
    """A record as the default policy makes it among 5,000 nodes."""
    with folder() as path:
        recorded(path, 1)
        entries = (entry for _, entry in Reader(path).read(NODES))
        record = next(opened(one)[1] for one in entries if one.leaf[1] == Kind.RECORD)
    assert isinstance(record, Record), "as its kind says"
    return record
