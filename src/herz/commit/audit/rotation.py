"""Changes of a log's keys, as an entry that the old and the new key sign.

What is signed names the log and the whole entry, so that it says nothing in another log, and
cannot be a checkpoint: its second line is no size.
"""

from __future__ import annotations

from typing import Final

import msgspec

from herz.commit.audit.checkpoint import Checkpoint, parse_checkpoint
from herz.commit.audit.entry import Key, encode
from herz.commit.audit.note import NoteKey, from_base64, parse_key, to_base64
from herz.commit.audit.signing import log_key
from herz.errors import AuditError
from herz.ports import Signer

_FOLLOWS: Final = "follows\n"
_HEADER: Final = b"herz.dev/key-change/v1\nlog "


def key_change(
    origin: str, old: Signer | None, new: Signer, *, actor: str, reason: str, time_ns: int
) -> Key:
    """The entry by which `new` signs for the log from now on.

    Args:
        origin: the log.
        old: the key that it takes the place of; None for a log's first key, or another one.
        new: the key.
        actor: who does it.
        reason: why.
        time_ns: when.

    Raises:
        WorldError: a key cannot be used now.
    """
    content = Key(
        actor=actor,
        new=log_key(origin, new).text,
        old="" if old is None else log_key(origin, old).text,
        reason=reason,
        time_ns=time_ns,
    )
    message = _message(origin, content)
    signers = [new] if old is None else [old, new]
    signatures = tuple(
        (log_key(origin, each).text, to_base64(each.sign(message))) for each in signers
    )
    return msgspec.structs.replace(content, signatures=signatures)


def following(last: Checkpoint, why: str) -> str:
    """The reason of the first keys of a log that takes the place of one whose key was stolen.

    Args:
        last: the last checkpoint of the other log that outside memory covers.
        why: in words.
    """
    return f"{_FOLLOWS}{last.text.decode()}\n{why}"


def followed(content: Key) -> Checkpoint | None:
    """The checkpoint of another log that the entry's log goes on from; None: it names none.

    Raises:
        AuditError: what it names is no checkpoint.
    """
    if content.old or not content.reason.startswith(_FOLLOWS):
        return None
    text, _, _ = content.reason.removeprefix(_FOLLOWS).partition("\n\n")
    return parse_checkpoint(f"{text}\n".encode())


def check_key_change(origin: str, content: Key) -> tuple[NoteKey | None, NoteKey]:
    """Check that the keys which a change names have signed it.

    Returns:
        The old key, None where there was none, and the new one.

    Raises:
        AuditError: one has not.
    """
    message = _message(origin, content)
    signed = dict(content.signatures)
    found: list[NoteKey] = []
    for text in filter(None, (content.old, content.new)):
        key = parse_key(text)
        if text not in signed:
            raise AuditError(f"the change of keys is not signed by {text}")
        key.verify(message, from_base64(signed[text]))
        found.append(key)
    if len(signed) != len(content.signatures) or len(signed) != len(found):
        raise AuditError("the change of keys bears signatures of other keys")
    old = found[0] if content.old else None
    if old is not None and (old.kind, old.name) != (found[-1].kind, found[-1].name):
        raise AuditError("a key's place is taken by one of another name or kind")
    return old, found[-1]


def _message(origin: str, content: Key) -> bytes:
    unsigned = msgspec.structs.replace(content, signatures=())
    return _HEADER + origin.encode() + b"\n" + encode(unsigned) + b"\n"
