"""What a live scheduler proves while it runs: signatures, cosignatures, its proof mode."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from herz.commit.audit.checkpoint import Checkpoint, parse_checkpoint
from herz.commit.audit.exposure import MODES, ProofMode
from herz.commit.audit.guarded import Guarded
from herz.commit.audit.journaled import Journaled
from herz.commit.audit.note import parse_note
from herz.commit.audit.signing import LogSigner
from herz.commit.audit.tree import TILE_WIDTH, Tile, TileHashes
from herz.commit.audit.trust import Trust, Witness
from herz.errors import ConfigError, WorldError
from herz.front.cli.options import checked_name
from herz.front.trusting import Asked, Secret, ask, log_signer
from herz.front.vouched import read_trust

TEND_SECONDS: Final = 0.25
"""How often it is looked whether a checkpoint is due while nothing is decided."""
WITNESS_SECONDS: Final = 5.0
"""How long after one round of witnesses the next may be asked."""
_log = logging.getLogger("herz.proof")


@dataclass(frozen=True, slots=True)
class Proving:
    """Who signs and cosigns a live scheduler's journal, and what may be bound without them.

    Args:
        signer: of its checkpoints.
        mode: what is allowed while signer or witnesses are away.
        witnesses: those with an address.
        quorum: how many of them must have cosigned.
    """

    signer: LogSigner
    mode: ProofMode
    witnesses: tuple[Witness, ...]
    quorum: int


def proving(
    key: str | None, passphrase_file: str | None, trust: str | None, mode: str | None
) -> Proving | None:
    """As the options have it; None where nobody signs.

    Raises:
        ConfigError: an option is missing, or names nothing that can be used.
        WorldError: the key cannot be read.
    """
    if key is None:
        for option, text in (
            ("--passphrase-file", passphrase_file),
            ("--trust", trust),
            ("--proof-mode", mode),
        ):
            if text is not None:
                fix = "give --key, too: nothing is signed without one"
                raise ConfigError("there is nobody who signs", where=option, value=text, fix=fix)
        return None
    chosen = MODES.get(mode or "relaxed")
    if chosen is None:
        fix = f"use one of {', '.join(MODES)}"
        raise ConfigError("no proof mode", where="--proof-mode", value=mode, fix=fix)
    trusted = Trust(()) if trust is None else read_trust(trust)
    witnesses = tuple(each for each in trusted.witnesses if each.url)
    quorum = max(1, trusted.quorum)
    if trust is not None and len(witnesses) < quorum:
        fix = 'give enough of its [[witness]] tables their url = "https://…"'
        raise ConfigError(
            "too few witnesses with an address", where="--trust", value=trust, fix=fix
        )
    if chosen.name == "witnessed" and not witnesses:
        fix = "name witnesses: --trust FILE"
        raise ConfigError("nobody witnesses", where="--proof-mode", value=mode, fix=fix)
    signer = log_signer(checked_name(key, option="--key"), Secret(passphrase_file, None))
    return Proving(signer, chosen, witnesses, quorum)


class Prover:
    """Signs and has cosigned what one machine writes.

    Args:
        asked: who does, and the proof mode.
        tell: shows a person what happens.
    """

    def __init__(self, asked: Proving, tell: Callable[[str], None]) -> None:
        self._asked = asked
        self._tell = tell
        self._latest = b""
        # What each witness is known to have cosigned.
        self._known: dict[str, int] = {}
        self._said = ""

    def notary(self, checkpoint: Checkpoint) -> bytes:
        """Sign a checkpoint (`herz.commit.audit.log.Notary`)."""
        self._latest = self._asked.signer.sign(checkpoint.text).data
        return self._latest

    def guarded(self, machine: Journaled, told_ns: int) -> Guarded:
        """The machine under the proof mode, which is put in force.

        Args:
            machine: in its journal.
            told_ns: the latest time in the journal, by whichever machine.

        Raises:
            WorldError: the journal cannot be written.
        """
        now_ns, witnessed = time.time_ns(), 0 if self._asked.witnesses else None
        made = Guarded(
            machine,
            machine.log,
            self._asked.mode,
            witnessed=witnessed,
            now_ns=now_ns,
            told_ns=told_ns,
        )
        actor = f"uid {os.geteuid()} on {os.uname().nodename}"
        made.switch(self._asked.mode, actor=actor, reason="herz run", now_ns=now_ns)
        return made

    async def run(self, machine: Journaled, guarded: Guarded, now_ns: Callable[[], int]) -> None:
        """Sign what is due, and have it cosigned, until it is cancelled.

        Args:
            machine: in its journal.
            guarded: the same, guarded.
            now_ns: the driver's time.
        """
        next_ns = now_ns()
        while True:  # Bound: the driver's life.
            try:
                guarded.tend(now_ns())
                self._say(guarded)
                if self._asked.witnesses and self._latest and now_ns() >= next_ns:
                    await self._witness(machine, guarded)
                    next_ns = now_ns() + round(WITNESS_SECONDS * 1e9)
            except WorldError as error:
                # The journal has failed: its next commit ends the driver.
                _log.error("nothing is signed any more: %s", error)
                return
            await asyncio.sleep(TEND_SECONDS)

    def _say(self, guarded: Guarded) -> None:
        """Tell once why nothing is decided, or signed; and when that is over."""
        said = "refused" if guarded.refusal else "unsigned" if guarded.signer_error else ""
        if said == self._said:
            return
        self._said = said
        if guarded.refusal:
            self._tell(f"nothing is bound: {guarded.refusal}")
        elif guarded.signer_error:
            self._tell(f"nothing is signed: {guarded.signer_error}")
        else:
            self._tell("the journal is signed again, and pods are bound")

    async def _witness(self, machine: Journaled, guarded: Guarded) -> None:
        note, log = parse_note(self._latest), machine.log
        checkpoint = parse_checkpoint(note.text)
        asked = [one for one in self._asked.witnesses if self._size(one) < checkpoint.size]
        if not asked:
            return

        def tile(wanted: Tile) -> bytes:
            first = wanted.index * TILE_WIDTH
            return log.store.read_hashes(wanted.level, first, wanted.width)

        read = TileHashes(tile, checkpoint.size)
        found = await asyncio.gather(*(ask(one, note, read, self._size(one)) for one in asked))
        cosigned = note.signed(*(each.line for each in found if each.line is not None))
        for each in found:
            self._take(each, checkpoint.size)
        if cosigned != note:
            log.store.keep_note(cosigned.data)
        done = sorted((self._size(one) for one in self._asked.witnesses), reverse=True)
        guarded.witnessed(done[self._asked.quorum - 1])

    def _take(self, answer: Asked, size: int) -> None:
        if answer.error is None:
            self._known[answer.name] = size
        elif isinstance(answer.error, WorldError):
            _log.warning("not cosigned: %s", answer.error)
        else:
            _log.error("not cosigned: %s", answer.error)

    def _size(self, witness: Witness) -> int:
        return self._known.get(witness.key.name, 0)


def shown(guarded: Guarded | None, now_ns: Callable[[], int]) -> Mapping[str, float]:
    """What is exposed, for `/metrics`; nothing where nobody signs."""
    return {} if guarded is None else guarded.figures(now_ns())
