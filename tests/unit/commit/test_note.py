"""Notes, checkpoints and cosignatures against the published examples, and what is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA3_384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from herz.commit.audit.checkpoint import Checkpoint, parse_checkpoint, parse_signed
from herz.commit.audit.note import (
    KeyKind,
    Note,
    NoteKey,
    NoteSignature,
    cosignature,
    cosigned_message,
    joined_signatures,
    parse_key,
    parse_note,
    parse_signatures,
    to_base64,
)
from herz.commit.audit.tree import EMPTY_ROOT
from herz.errors import AuditError

# c2sp.org/signed-note, its example.
FOO_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
# golang.org/x/mod/sumdb/note, its test vector: the key's secret half is public.
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_TEXT = (
    b"If you think cryptography is the answer to your problem,\n"
    b"then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
# A checkpoint of Go's checksum database, whose key has another name than the log's origin.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_CHECKPOINT = (
    "go.sum database tree\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n"
    "— sum.golang.org "
    "Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=\n"
).encode()
# c2sp.org/tlog-cosignature, its example. The keys were not published.
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIU"
    "BkBIfZ+qnA==\n"
).encode()

WITNESS = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P384 = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP384R1())


def witness_key(name: str = "witness.example/w1") -> NoteKey:
    return NoteKey(name, KeyKind.COSIGNATURE, WITNESS.public_key().public_bytes_raw())


def p384_key(name: str = "herz.example/log") -> NoteKey:
    point = P384.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return NoteKey(name, KeyKind.P384, point)


def test_the_example_of_signed_note_verifies() -> None:
    key = parse_key(FOO_KEY)
    assert (key.text, key.key_id.hex()) == (FOO_KEY, "530d903a")
    note = parse_note(FOO_NOTE)
    assert note.data == FOO_NOTE
    assert [(each.key, each.time_s) for each in note.verified([key])] == [(key, 0)]


def test_the_go_vector_is_signed_and_verified_byte_for_byte() -> None:
    key = parse_key(PETER_KEY)
    secret = ed25519.Ed25519PrivateKey.from_private_bytes(PETER_SECRET)
    note = Note(PETER_TEXT, (NoteSignature(key.name, key.key_id, secret.sign(PETER_TEXT)),))
    assert note.data == PETER_TEXT + b"\n" + PETER_LINE
    assert note.verified([key])


def test_a_checkpoint_of_the_go_checksum_database_verifies() -> None:
    checkpoint, note = parse_signed(GO_CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("go.sum database tree", 35225469)
    assert checkpoint.text == note.text
    assert note.verified([parse_key(GO_KEY)])


def test_the_example_of_a_cosignature_is_framed_as_published() -> None:
    checkpoint, note = parse_signed(SOFA)
    line = note.signatures[1]
    assert (line.name, line.key_id.hex()) == ("witness.example.com/w1", "8d66cf3f")
    assert len(line.signature) == KeyKind.COSIGNATURE.signature_bytes
    time_s = int.from_bytes(line.signature[:8], "big")
    assert cosigned_message(checkpoint.text, time_s).decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    assert note.verified([parse_key(FOO_KEY), witness_key()]) == []


def test_a_cosignature_says_when_and_holds_for_that_time_only() -> None:
    key, (checkpoint, note) = witness_key(), parse_signed(GO_CHECKPOINT)
    raw = WITNESS.sign(cosigned_message(checkpoint.text, 1_700_000_000))
    cosigned = note.signed(cosignature(key, 1_700_000_000, raw))
    assert [each.time_s for each in cosigned.verified([key])] == [1_700_000_000]
    for time_s in (0, 1_700_000_001, 2**63 - 1):
        with pytest.raises(AuditError, match="does not verify"):
            note.signed(cosignature(key, time_s, raw)).verified([key])


def test_a_p384_line_verifies_with_sha3_and_its_type_collides_with_none() -> None:
    key = p384_key()
    r, s = utils.decode_dss_signature(P384.sign(PETER_TEXT, ec.ECDSA(SHA3_384())))
    raw = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    note = Note(PETER_TEXT).signed(NoteSignature(key.name, key.key_id, raw))
    assert parse_note(note.data).verified([parse_key(key.text)])
    assert key.kind.value[0] == 0xFF
    with pytest.raises(AuditError, match="does not verify"):
        Note(PETER_TEXT + b"\n", note.signatures).verified([key])


def test_a_known_key_that_does_not_verify_refuses_the_note_and_an_unknown_one_is_ignored() -> None:
    peter, foo = parse_key(PETER_KEY), parse_key(FOO_KEY)
    note = parse_note(FOO_NOTE)
    forged = note.signed(NoteSignature(peter.name, peter.key_id, b"\x00" * 64))
    assert [each.key for each in forged.verified([foo])] == [foo]
    with pytest.raises(AuditError, match="PeterNeumann"):
        forged.verified([foo, peter])
    same_name = NoteSignature(foo.name, b"\x00" * 4, b"\x00" * 64)
    assert len(note.signed(same_name).verified([foo])) == 1


def test_every_mangling_of_a_key_is_refused() -> None:
    for low in range(len(PETER_KEY)):
        for high in range(low + 1, len(PETER_KEY) + 1):
            if (low, high) != (0, len(PETER_KEY)):
                with pytest.raises(AuditError):
                    parse_key(PETER_KEY[low:high])
    for at, character in enumerate(PETER_KEY):
        with pytest.raises(AuditError):
            parse_key(PETER_KEY[:at] + chr(ord(character) + 1) + PETER_KEY[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        # Golang's own: a key of another length, a kind that nobody knows, both with a right id.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        PETER_KEY.replace("c74f20a3", "C74F20A3"),
        PETER_KEY + "\n",
        " " + PETER_KEY,
        "",
    ],
)
def test_a_key_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(AuditError):
        parse_key(text)


def test_a_point_off_the_curve_or_compressed_is_no_key() -> None:
    point = p384_key().public
    for bad in (point[:-1] + bytes([point[-1] ^ 1]), b"\x02" + point[1:]):
        with pytest.raises(AuditError, match="not a public key"):
            NoteKey("a", KeyKind.P384, bad)


SIGNED = PETER_TEXT + b"\n" + PETER_LINE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PETER_TEXT,
        PETER_TEXT + b"\n",
        PETER_TEXT + PETER_LINE,
        SIGNED[:-1],
        SIGNED + b"\n",
        SIGNED + b"more",
        SIGNED.replace(b"\n\n", b"\n\n\x00"),
        SIGNED.replace(b"think", b"th\rnk"),
        SIGNED.replace(b"think", b"th\xffnk"),
        SIGNED.replace("— ".encode(), b"- "),
        SIGNED.replace(b"PeterNeumann ", b"Peter Neumann "),
        SIGNED.replace(b"PeterNeumann", b"Peter+Neumann"),
        SIGNED.replace(b"PeterNeumann", b""),
        SIGNED.replace(b"AM=\n", b"AM\n"),
        SIGNED.replace(b"AM=\n", b"AN=\n"),
        SIGNED.replace(b"AM=\n", b"AM= \n"),
        PETER_TEXT + "\n— PeterNeumann x08g\n".encode(),
        PETER_TEXT + b"\n" + PETER_LINE * 101,
        b"a" * 1_000_001 + SIGNED,
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(AuditError):
        parse_note(data)


def test_a_text_may_hold_blank_lines() -> None:
    note = parse_note("a\n\nb\n\n— x AAAAAAA=\n".encode())
    assert note.text == b"a\n\nb\n"


def test_a_line_is_added_once_and_only_to_its_own_text() -> None:
    note = parse_note(FOO_NOTE)
    assert note.signed(*note.signatures) == note
    assert joined_signatures(note.text, [note, note]) == note
    with pytest.raises(AuditError, match="different texts"):
        joined_signatures(b"other\n", [note])


def test_lines_of_a_witness_are_read_as_in_a_note() -> None:
    assert parse_signatures(PETER_LINE)[0].name == "PeterNeumann"
    for bad in (b"", b"\n", PETER_LINE[:-1], PETER_LINE + b"\n", b"\xff\n"):
        with pytest.raises(AuditError):
            parse_signatures(bad)


# ---- checkpoints ----------------------------------------------------------------------------

ROOT = to_base64(b"r" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n",
        f"o\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"o\n01\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n+1\n{ROOT}\n",
        f"o\n1 \n{ROOT}\n",
        f"o\n\u0661\n{ROOT}\n",
        f"o\n{2**62 + 1}\n{ROOT}\n",
        f"o\n1\n{ROOT[:-4]}\n",
        f"o\n1\n{ROOT}\n\n",
        f"o\n0\n{ROOT}\n",
        "o\n1\n!\n",
        b"\xff\n1\nAAAA\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str | bytes) -> None:
    with pytest.raises(AuditError):
        parse_checkpoint(text if isinstance(text, bytes) else text.encode())


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    for checkpoint in (
        Checkpoint("o", 0, EMPTY_ROOT),
        Checkpoint("a b", 7, b"r" * 32, ("more", "and more")),
    ):
        assert parse_checkpoint(checkpoint.text) == checkpoint


def test_a_checkpoint_of_two_lines_in_one_is_refused() -> None:
    with pytest.raises(AuditError, match="one line"):
        Checkpoint("o\n7", 1, b"r" * 32)
