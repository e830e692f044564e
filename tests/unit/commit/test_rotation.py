"""A change of keys is signed by both, for one log."""

from __future__ import annotations

import msgspec
import pytest

from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.entry import Key
from herz.commit.audit.rotation import check_key_change, followed, following, key_change
from herz.errors import AuditError
from tests.support.trust import ORIGIN, soft_key

OLD, NEW = soft_key(1), soft_key(2)


def change() -> Key:
    return key_change(ORIGIN, OLD, NEW, actor="ops", reason="yearly", time_ns=7)


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p384-sha3-384"])
def test_both_keys_sign(algorithm: str) -> None:
    old, new = soft_key(1, algorithm), soft_key(2, algorithm)  # type: ignore[arg-type]
    content = key_change(ORIGIN, old, new, actor="ops", reason="yearly", time_ns=7)
    before, after = check_key_change(ORIGIN, content)
    assert before is not None
    assert (before.public, after.public) == (old.public, new.public)


def test_a_first_key_signs_alone() -> None:
    content = key_change(ORIGIN, None, NEW, actor="ops", reason="first", time_ns=7)
    assert check_key_change(ORIGIN, content)[0] is None


@pytest.mark.parametrize("field", ["actor", "reason", "time_ns", "new", "old"])
def test_a_changed_field_is_found(field: str) -> None:
    other = key_change(ORIGIN, soft_key(3), soft_key(4), actor="x", reason="y", time_ns=8)
    changed = msgspec.structs.replace(change(), **{field: getattr(other, field)})
    with pytest.raises(AuditError):
        check_key_change(ORIGIN, changed)


def test_a_change_says_nothing_in_another_log() -> None:
    with pytest.raises(AuditError, match="does not verify"):
        check_key_change("other.example", change())


def test_every_named_key_must_have_signed_and_no_other() -> None:
    content = change()
    for kept in (content.signatures[:1], content.signatures[1:], ()):
        with pytest.raises(AuditError, match="not signed by"):
            check_key_change(ORIGIN, msgspec.structs.replace(content, signatures=kept))
    extra = key_change(ORIGIN, None, soft_key(3), actor="x", reason="y", time_ns=8).signatures
    more = (*content.signatures, *extra)
    with pytest.raises(AuditError, match="other keys"):
        check_key_change(ORIGIN, msgspec.structs.replace(content, signatures=more))


def test_a_key_is_followed_by_one_of_its_kind() -> None:
    mixed = key_change(
        ORIGIN, OLD, soft_key(2, "ecdsa-p384-sha3-384"), actor="x", reason="y", time_ns=8
    )
    with pytest.raises(AuditError, match="another name or kind"):
        check_key_change(ORIGIN, mixed)


def test_the_log_that_is_followed_is_read_from_the_first_key() -> None:
    last = Checkpoint("old log, of 2026", 7, bytes(32))
    told = following(last, "stolen\n\non a Friday")
    content = key_change(ORIGIN, None, NEW, actor="ops", reason=told, time_ns=7)
    assert followed(content) == last
    check_key_change(ORIGIN, content)
    assert followed(change()) is None
    with pytest.raises(AuditError):
        followed(msgspec.structs.replace(content, reason="follows\nnothing"))
