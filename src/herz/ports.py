"""Ports: what the scheduler and its drivers ask of each other, as Protocols.

`world/*` implements or drives these; `app` chooses. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from herz.model.effects import Effect
from herz.model.events import Event
from herz.model.journal import Batch, Sealed
from herz.model.podinfo import PodInfo
from herz.model.record import Record


class Machine(Protocol):
    """The scheduler as its drivers see it: a state machine without I/O.

    Same construction, same calls in the same order: same effects and same records, byte for
    byte, in any process on any machine.
    """

    def apply(self, event: Event) -> None:
        """Take one event in. Decides nothing.

        Raises:
            ConfigError: the object is refused (the pod is parked with a condition instead
                where it can be; see docs/reference/events.md); the state is unchanged.
        """
        ...

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """Decide at most `limit` pods and give what is to be done about them, in order.

        Args:
            now_ns: the driver's time; never before an earlier call's or event's.
            limit: the bound, a count and never a duration; 0: only what waits to be done goes out.

        Returns:
            Effects in the order in which they must be carried out; empty when nothing is
            ready.
        """
        ...

    @property
    def ready(self) -> int:
        """How many pods a step could decide now: the length of the active queue."""
        ...

    @property
    def held(self) -> Mapping[str, str]:
        """What room is taken for: node by the uid of each pod that is there, or on its way there.

        For checks; costs as many look-ups as pods.
        """
        ...


Sync = Callable[[], None]
"""Makes something durable; may be called in another thread, and must be called once."""


@runtime_checkable
class Deferring(Machine, Protocol):
    """A machine whose effects may leave a little later, when a disk has answered."""

    def decide(self, now_ns: int, limit: int) -> tuple[list[Effect], Sync | None]:
        """As `step`, without waiting for the disk.

        Returns:
            The effects, and what must have been called, and returned, before they leave; None:
            they may leave now. Meanwhile events may be applied.

        Raises:
            WorldError: the journal cannot be written; the sync may raise it, too.
        """
        ...

    def rest(self) -> None:
        """Nobody waits for a decision: what is due and takes long may be done.

        Raises:
            WorldError: the journal cannot be written.
        """
        ...


Watch = Callable[[str, PodInfo | None], None]
"""Told which verb begins, for which pod of a step; None with `prove`, which is all its pods'. It
is asked nothing."""


class RecordSink(Protocol):
    """Where each record goes, once, in order, before its effect leaves."""

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Keep the record.

        Args:
            record: the decision.
            canonical: its canonical JSON (RFC 8785), which is what was hashed.
            digest: SHA3-384 over `canonical`, 48 bytes.
        """
        ...


class Journal(Protocol):
    """A journal that is read: entries in order, blobs by digest, checkpoints, the tree's hashes."""

    @property
    def cut(self) -> str:
        """Where reading found the last append cut off, in words; empty where it did not."""
        ...

    def read(self, first: int = 0, end: int | None = None) -> Iterator[tuple[int, Sealed]]:
        """The entries from `first` up to `end` with their indexes.

        Raises:
            AuditError: at the first that is damaged.
        """
        ...

    def read_hashes(self, level: int, first: int, count: int) -> bytes:
        """Hashes of a level of the tree's tiles, as they were kept; fewer where there are fewer.

        They are no evidence: they follow from the entries, and may be missing.
        """
        ...

    def notes(self) -> list[bytes]:
        """The signed checkpoints in the order in which they were kept.

        Raises:
            AuditError: one is damaged.
        """
        ...

    def get(self, digest: str) -> bytes:
        """A blob.

        Raises:
            AuditError: it is not there, or is not what was kept.
        """
        ...


class Store(Journal, Protocol):
    """Where a journal is written.

    What it holds is always a prefix of what was appended; what `append` returned from is in it
    after a crash.
    """

    @property
    def size(self) -> int:
        """How many entries there are."""
        ...

    @property
    def term(self) -> int:
        """The writer's term as leader."""
        ...

    @property
    def recovered(self) -> str:
        """What had to be mended when it was opened, in words; empty when nothing."""
        ...

    @property
    def is_for_certain(self) -> bool:
        """Whether all that was appended is on the disk, whatever happens to the machine."""
        ...

    def append(self, batch: Batch, *, expected: int, sync: bool) -> None:
        """Keep more entries.

        Args:
            batch: the next ones; none, where only a sync is wanted.
            expected: how many the writer believes to be there.
            sync: return only when they, and all before them, are on the disk.

        Raises:
            WorldError: the disk refused, or somebody else writes this journal now; nothing more
                can be appended through this store, and what was not synced may be missing.
        """
        ...

    def begin(self, batch: Batch, *, expected: int, sync: bool) -> Sync | None:
        """As `append`, which may be done when it returns, or later: in the order of the calls.

        Returns:
            What returns, in whatever thread, when they are kept, and are on the disk if that was
            asked; None: they are kept, and no sync was asked.

        Raises:
            WorldError: here or there, as `append`; or what was begun before has failed since.
        """
        ...

    @property
    def is_behind(self) -> bool:
        """Whether something that was begun is not kept yet."""
        ...

    def keep_hashes(self, level: int, first: int, hashes: bytes) -> None:
        """Keep hashes of a level of the tree's tiles, from that index on; what stood there goes.

        They follow from the entries, and may be lost.
        """
        ...

    def keep_note(self, note: bytes) -> None:
        """Keep a signed checkpoint.

        Raises:
            WorldError: the disk refused.
        """
        ...

    def erase(self, entries: Sequence[int], blobs: Sequence[str]) -> None:
        """Put zeros over payloads and salts, and remove blobs; both may be gone already.

        Args:
            entries: indexes, ascending.
            blobs: digests.

        Raises:
            WorldError: the disk refused: some may be erased, and some not.
        """
        ...

    def put(self, data: bytes) -> str:
        """Keep a blob on the disk, before any entry that is appended later; its SHA3-384, hex.

        Raises:
            WorldError: the disk refused; what is appended later may raise it, too.
        """
        ...


class Progress(Protocol):
    """Tells a person how far long work has come."""

    def advance(self, done: int, total: int, note: str) -> None:
        """Show that `done` of `total` units are done; `note` is one short phrase."""
        ...


Algorithm = Literal["ed25519", "ecdsa-p384-sha3-384"]
"""How a signer signs: RFC 8032, or FIPS 186-5 with the digests of FIPS 202."""


class Signer(Protocol):
    """One private key that signs, wherever it is kept."""

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""
        ...

    @property
    def public(self) -> bytes:
        """The public half: 32 bytes of Ed25519, or 97 of an uncompressed P-384 point."""
        ...

    @property
    def keeper(self) -> str:
        """What keeps the private half, in words for a report."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature: 64 bytes of Ed25519, or r and s of P-384, 48 bytes each.

        Raises:
            WorldError: the key cannot be used now.
        """
        ...


class WitnessMemory(Protocol):
    """What a witness remembers: the last checkpoint of each log that it cosigned."""

    def latest(self, origin: str) -> bytes | None:
        """The note with the witness' own line; None where it never cosigned that log.

        Raises:
            WorldError: the disk refused.
        """
        ...

    def latest_by_hash(self, origin_hash: str) -> bytes | None:
        """The same by the SHA-256 of the origin, hex."""
        ...

    def replace(self, origin: str, old: bytes | None, new: bytes) -> bool:
        """Remember another note in the place of `old`; on the disk when it returns.

        Returns:
            Whether `old` was still the last one; if not, nothing was done.

        Raises:
            WorldError: the disk refused.
        """
        ...


MachineFactory = Callable[[int, Sequence[RecordSink]], Machine]
"""Makes a machine from a seed (the tie key of a simulated log) and the sinks of its records."""
