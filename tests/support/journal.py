"""Journals for tests: a machine in one, driven by hand, and ways to damage the files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from herz.app import load_policy, run_simulation
from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.journaled import STATE_EVERY, Journaled
from herz.commit.audit.log import Log, Notary
from herz.commit.audit.note import KeyKind, Note, NoteKey, NoteSignature
from herz.config import Policy
from herz.journaling import journaled, written
from herz.model.effects import Bind, Effect
from herz.model.events import ObjectApplied
from herz.model.journal import Sealed
from herz.model.objects import KubernetesObject
from herz.model.outcomes import BindFinished, BindOutcome
from herz.ports import RecordSink
from herz.world.sim.result import Summary
from herz.world.store.files import FileStore, Reader
from herz.world.store.frames import batch_header, framed, segment_header

SMALL = Path(__file__).parents[1] / "data" / "scenarios" / "small.toml"


ORIGIN = "test.example/log"


class Written:
    """A machine in a journal, driven by hand.

    Args:
        folder: the journal's.
        term: the leader's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        term: int = 0,
        policy: Policy | None = None,
        sinks: Sequence[RecordSink] = (),
        notary: Notary | None = None,
        state_every: int = STATE_EVERY,
    ) -> None:
        self.folder = folder
        self.store = FileStore.open(folder, term)
        self.log = Log(self.store, os.urandom, ORIGIN, notary)
        chosen = policy or load_policy("default")
        self.machine: Journaled = journaled(self.log, chosen, 1, sinks, state_every=state_every)
        self.now = 0

    def apply(self, *things: KubernetesObject) -> None:
        """The API shows these objects."""
        for thing in things:
            self.machine.apply(ObjectApplied(time_ns=self.now, object=thing))

    def step(self, after: int = 0, limit: int = 100) -> list[Effect]:
        """Let nanoseconds pass and decide."""
        self.now += after
        return self.machine.step(self.now, limit)

    def bound(self, effects: Sequence[Effect]) -> list[Bind]:
        """Let the API bind what it is asked to."""
        binds = [effect for effect in effects if isinstance(effect, Bind)]
        for bind in binds:
            self.machine.apply(
                BindFinished(
                    time_ns=self.now,
                    uid=bind.uid,
                    decision=bind.decision,
                    outcome=BindOutcome.BOUND,
                )
            )
        return binds

    def close(self) -> None:
        """End the journal."""
        self.machine.close()
        self.store.close()


def simulated(
    folder: Path, *, seed: int = 5, scenario: str = str(SMALL), state_every: int = STATE_EVERY
) -> Summary:
    """A simulated day's journal."""
    with written(folder, state_every=state_every) as wrap:
        return run_simulation(
            scenario=scenario,
            policy="default",
            seed=seed,
            runs=1,
            data=None,
            list_name=None,
            load=None,
            progress=None,
            wrap=wrap,
        )


def notary(origin: str) -> tuple[Notary, NoteKey]:
    """Signs checkpoints with a new key, and that key."""
    private = Ed25519PrivateKey.generate()
    key = NoteKey(origin, KeyKind.ED25519, private.public_key().public_bytes_raw())

    def sign(checkpoint: Checkpoint) -> bytes:
        line = NoteSignature(key.name, key.key_id, private.sign(checkpoint.text))
        return Note(checkpoint.text, (line,)).data

    return sign, key


def entries_of(folder: Path) -> list[Sealed]:
    """All entries of a journal."""
    return [entry for _, entry in Reader(folder).read()]


def forge(folder: Path, entries: Sequence[Sealed], *, is_tree_kept: bool = True) -> None:
    """Put other entries into a journal, with checksums as they should be.

    Args:
        folder: the journal.
        entries: what stands in it from now on.
        is_tree_kept: whether the hashes of the tree stay those of the old entries.
    """
    for _, path in Reader(folder).segments():
        path.unlink()
    data = segment_header(0) + batch_header(framed(entries), 0, 0) + framed(entries).frames
    (folder / "segments" / f"{0:020}.seg").write_bytes(data)
    if not is_tree_kept:
        shutil.rmtree(folder / "tiles", ignore_errors=True)


GOLDEN_SCENARIO = Path(__file__).parents[1] / "data" / "scenarios" / "golden.toml"


def golden(folder: Path, seed: int) -> None:
    """Write a golden journal: a few pods, a refusal, a checkpoint, states."""
    sign, key = notary(ORIGIN)
    with written(folder, origin=ORIGIN, notary=sign, state_every=10) as wrap:
        run_simulation(
            scenario=str(GOLDEN_SCENARIO),
            policy="default",
            seed=seed,
            runs=1,
            data=None,
            list_name=None,
            load=None,
            progress=None,
            wrap=wrap,
        )
    for name in ("index.sqlite", "lock"):
        (folder / name).unlink(missing_ok=True)
    (folder / "key").write_text(f"{key.text}\n", encoding="utf-8")
