"""Entries of the journal: what each kind tells, in canonical form.

A payload is JSON without spaces, keys sorted, no floats; decoding and encoding it again gives the
same bytes, or it is refused, as is any field, kind or version that this release does not know.
A record's payload is its canonical form as it was hashed and chained (`chain`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from herz._native import sha3_384
from herz.errors import AuditError
from herz.model.journal import COMMITMENT_BYTES, LEAF_BYTES, SALT_BYTES, VERSION, Kind, Sealed
from herz.model.outcomes import BindFinished, Outcome, PatchRefused, RemovalRefused
from herz.model.record import Record, canonical

if TYPE_CHECKING:
    from herz.model.events import Event


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The base: a field that is not known is refused."""


class Engine(_Entry, frozen=True, kw_only=True):
    """What decides besides policy and events.

    Args:
        digest: as records name it, over all parts.
        herz: version.
        image: name of the container image, where the driver was told one.
        packages: (name, version) of those in the lock file that decisions go through.
        parts: (name, SHA3-384) of what it is made of: sources, native module, versions, rules.
        python: version.
        rules: (name, where from, version) of third-party rules.
    """

    digest: str
    herz: str
    image: str = ""
    packages: tuple[tuple[str, str], ...] = ()
    parts: tuple[tuple[str, str], ...] = ()
    python: str
    rules: tuple[tuple[str, str, str], ...] = ()


class Start(_Entry, frozen=True, kw_only=True):
    """A machine begins, with an empty state: what follows tells it everything anew.

    Args:
        aliases: (other scheduler name, whose pods its pods are).
        engine: what decides.
        head: digest of the last record before, hex; zeros where there is none.
        models: (name, blob) of learned models.
        origin: the log's name.
        policy: `@sha256:` digest, as records name it.
        policy_blob: digest of the blob with the policy's JSON.
        recovered: what the store had to mend, in words; empty when nothing.
        seed: stands for the log's life: keys ties and permutation digests.
        sequence: number of the last record before.
        term: the leader's.
        top: how many of the best nodes its records name; absent: as many as those of a scheduler.
    """

    aliases: tuple[tuple[str, str], ...] = ()
    engine: Engine
    head: str
    models: tuple[tuple[str, str], ...] = ()
    origin: str
    policy: str
    policy_blob: str
    recovered: str = ""
    seed: int
    sequence: int
    term: int
    top: Annotated[int, msgspec.Meta(ge=1)] | UnsetType = UNSET


class Step(_Entry, frozen=True, kw_only=True):
    """The machine was asked to decide at most `limit` pods at this time of the driver's."""

    limit: int
    now_ns: int


class State(_Entry, frozen=True, kw_only=True):
    """The machine's whole state after what stands before this entry.

    Args:
        blob: digest of the blob that holds it.
        head: digest of the last record, hex.
        sequence: number of the last record.
    """

    blob: str
    head: str
    sequence: int


class Configuration(_Entry, frozen=True, kw_only=True):
    """Who put other settings in force, and why; a `Start` with them follows."""

    actor: str
    policy: str
    policy_blob: str
    reason: str
    time_ns: int


class Model(_Entry, frozen=True, kw_only=True):
    """Who put another model in force, and why."""

    actor: str
    blob: str
    name: str
    reason: str
    time_ns: int


class Key(_Entry, frozen=True, kw_only=True):
    """Another key signs the checkpoints.

    Args:
        actor: who did it.
        new: the new verifier key.
        old: the one before; empty for the first.
        reason: why.
        signatures: (verifier key's name, signature, base64) by both keys over the rest.
        time_ns: when.
    """

    actor: str
    new: str
    old: str = ""
    reason: str
    signatures: tuple[tuple[str, str], ...] = ()
    time_ns: int


class Erasure(_Entry, frozen=True, kw_only=True):
    """Payloads and salts are gone for good; their leaves stay in the tree.

    Args:
        actor: who did it.
        blobs: digests of blobs that are gone, too.
        ranges: (first entry, last entry).
        reason: why.
        time_ns: when.
    """

    actor: str
    blobs: tuple[str, ...] = ()
    ranges: tuple[tuple[int, int], ...]
    reason: str
    time_ns: int


class Mode(_Entry, frozen=True, kw_only=True):
    """Another proof mode is in force."""

    actor: str
    mode: Literal["relaxed", "strict", "witnessed"]
    reason: str
    time_ns: int


class Clock(_Entry, frozen=True, kw_only=True):
    """The driver's clock stepped back; the machine was told the later time."""

    now_ns: int
    told_ns: int


class Hold(_Entry, frozen=True, kw_only=True):
    """Entries that must not be erased, from now on, or no longer."""

    actor: str
    is_held: bool
    ranges: tuple[tuple[int, int], ...]
    reason: str
    time_ns: int


class Check(_Entry, frozen=True, kw_only=True):
    """Before the start these were tried on fixed cases, and none failed.

    Args:
        comparators: (name, how many pools of pods).
        rules: (name, how many made clusters).
        seed: of the cases.
    """

    comparators: tuple[tuple[str, int], ...]
    rules: tuple[tuple[str, int], ...]
    seed: int


class Promised(_Entry, frozen=True, kw_only=True):
    """What became of the promises of a class in one window; models are judged by it.

    Args:
        sla_class: the class.
        time_ns: when it was measured, by the driver's clock.
        told: of each pod the number of the record that placed it, whether its promise was kept,
            and the indicator in ns, 0 where it is no time.
        window: number of the window, as the source counts them.
    """

    sla_class: str
    time_ns: int
    told: tuple[tuple[int, bool, int], ...]
    window: int


Content: TypeAlias = (
    "Start | Event | Step | Record | State | Configuration | Model | Key | Erasure | Mode | Clock"
    " | Hold | Check | Promised"
)
"""What an entry says."""

OUTCOMES: Final = (BindFinished, PatchRefused, RemovalRefused)
"""The events that are answers of the API."""

_encoder = msgspec.json.Encoder(order="sorted")
_encode = _encoder.encode
_SHAPES: Final[dict[Kind, Any]] = {
    Kind.START: Start,
    Kind.STEP: Step,
    Kind.RECORD: Record,
    Kind.OUTCOME: Outcome,
    Kind.STATE: State,
    Kind.CONFIGURATION: Configuration,
    Kind.MODEL: Model,
    Kind.KEY: Key,
    Kind.ERASURE: Erasure,
    Kind.MODE: Mode,
    Kind.CLOCK: Clock,
    Kind.HOLD: Hold,
    Kind.CHECK: Check,
    Kind.PROMISE: Promised,
}


class _Decoders(dict[Kind, Callable[[bytes], Any]]):
    """Each is made when it is first needed: who shows one record waits for one."""

    def __missing__(self, kind: Kind) -> Callable[[bytes], Any]:
        hook = str if kind in (Kind.INPUT, Kind.OUTCOME) else None
        self[kind] = msgspec.json.Decoder(shape_of(kind), float_hook=hook).decode
        return self[kind]


def shape_of(kind: Kind) -> Any:
    """What an entry of that kind says: a type, or a union of several."""
    if kind is not Kind.INPUT:
        return _SHAPES[kind]
    # Imported here: all kinds of objects of a cluster take longer to load than a record to show.
    from herz.model.events import ObjectApplied, ObjectDeleted, OrderLimited  # noqa: PLC0415

    return ObjectApplied | ObjectDeleted | OrderLimited


_DECODERS: Final = _Decoders()
_KINDS: Final[Mapping[type, Kind]] = MappingProxyType(
    {
        Start: Kind.START,
        Step: Kind.STEP,
        Record: Kind.RECORD,
        State: Kind.STATE,
        Configuration: Kind.CONFIGURATION,
        Model: Kind.MODEL,
        Key: Kind.KEY,
        Erasure: Kind.ERASURE,
        Mode: Kind.MODE,
        Clock: Kind.CLOCK,
        Hold: Kind.HOLD,
        Check: Kind.CHECK,
        Promised: Kind.PROMISE,
        **dict.fromkeys(OUTCOMES, Kind.OUTCOME),
    }
)
_BY_NUMBER: Final = {int(kind): kind for kind in Kind}
_PREFIXES: Final = {kind: bytes((VERSION, kind)) for kind in Kind}
_KNOWN: Final = {prefix: kind for kind, prefix in _PREFIXES.items()}


def kind_of(content: Content) -> Kind:
    """The kind of an entry that says this."""
    return _KINDS.get(type(content), Kind.INPUT)


def encode(content: Content) -> bytes:
    """The payload: what is committed to, kept, and hashed."""
    if type(content) is Record:
        return canonical(content)
    return _encoder.encode(content)


def decode(kind: Kind, payload: bytes) -> Content:
    """What a payload says.

    Raises:
        AuditError: it is not the canonical form of anything of that kind.
    """
    try:
        content: Content = _DECODERS[kind](payload)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"not an entry of the kind {kind.name.lower()}: {error}") from error
    if (canonical(content) if type(content) is Record else _encode(content)) != payload:
        raise AuditError(f"not the canonical form of an entry of the kind {kind.name.lower()}")
    return content


def seal(kind: Kind, payload: bytes, salt: bytes) -> Sealed:
    """The entry as it is kept, and its leaf."""
    commitment = sha3_384(salt + payload)
    return Sealed(_PREFIXES[kind] + commitment, salt, payload)


def leaf_kind(leaf: bytes) -> Kind:
    """The kind that a leaf names.

    Raises:
        AuditError: the leaf is of a version or kind that this release does not know.
    """
    if len(leaf) != LEAF_BYTES or leaf[0] != VERSION:
        raise AuditError(f"a leaf of version {leaf[0] if leaf else 'none'}: not known here")
    kind = _BY_NUMBER.get(leaf[1])
    if kind is None:
        raise AuditError(f"an entry of kind {leaf[1]}: not known here")
    return kind


def opened(entry: Sealed) -> tuple[Kind, Content]:
    """What an entry says, once its payload is seen to be what the leaf commits to.

    Raises:
        AuditError: it is not, it is erased, or its payload is not canonical.
    """
    leaf, salt, payload = entry
    if sha3_384(salt + payload) != leaf[2:] or len(salt) != SALT_BYTES:
        check_commitment(entry)
    return told(entry)


def told(entry: Sealed) -> tuple[Kind, Content]:
    """What an entry says, where it is known to be what its leaf commits to (`grouped`).

    Raises:
        AuditError: its payload is not canonical.
    """
    leaf, _, payload = entry
    kind = _KNOWN.get(leaf[:2]) or leaf_kind(leaf)
    return kind, decode(kind, payload)


def check_commitment(entry: Sealed) -> None:
    """Check that salt and payload are what the leaf commits to.

    Raises:
        AuditError: they are not, or are erased.
    """
    assert len(entry.leaf) == 2 + COMMITMENT_BYTES, "frames hold whole leaves"
    if entry.is_erased:
        raise AuditError("it is erased")
    commitment = sha3_384(entry.salt + entry.payload)
    if len(entry.salt) != SALT_BYTES or entry.leaf[2:] != commitment:
        raise AuditError("payload and salt are not what its leaf commits to")
