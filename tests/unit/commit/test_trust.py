"""Whose keys count: quorum, validity by size, and every trust file that is refused."""

from __future__ import annotations

import pytest

from herz.commit.audit.note import Note, NoteSignature, parse_note
from herz.commit.audit.trust import bracket, coverage, parse_trust
from herz.errors import AuditError, ConfigError
from tests.support.trust import SmallLog, cosigned, cosigner, log_signer, trust_text

LOG = SmallLog(20)
SIGNER = log_signer(1)
W1, W2, W3 = cosigner(101), cosigner(102), cosigner(103)


def signed(size: int, time_s: int = 1_700_000_000, *, by: int = 3) -> bytes:
    note = SIGNER.sign(LOG.checkpoint(size).text)
    return cosigned(note, *(W1, W2, W3)[:by], time_s=time_s).data


def test_a_quorum_of_witnesses_is_needed() -> None:
    trust = parse_trust(trust_text(SIGNER, W1, W2, W3, quorum=2).encode())
    assert trust.vouched(signed(7, by=2)).checkpoint.size == 7
    assert "witness.example/w101 at 1700000000 s" in trust.judge(signed(7))
    with pytest.raises(AuditError, match="cosigned by 1 known witnesses, 2 are asked for"):
        trust.vouched(signed(7, by=1))


def test_a_witness_that_cosigns_twice_counts_once() -> None:
    trust = parse_trust(trust_text(SIGNER, W1, W2, quorum=2).encode())
    note = SIGNER.sign(LOG.checkpoint(5).text)
    twice = cosigned(cosigned(note, W1, time_s=1_700_000_000), W1, time_s=1_700_000_009)
    with pytest.raises(AuditError, match="cosigned by 1"):
        trust.vouched(twice.data)
    both = cosigned(twice, W2)
    assert trust.vouched(both.data).witnesses[0] == ("witness.example/w101", 1_700_000_009)


def test_an_unknown_log_key_or_origin_is_not_trusted() -> None:
    trust = parse_trust(trust_text(SIGNER).encode())
    other = log_signer(2).sign(LOG.checkpoint(5).text)
    with pytest.raises(AuditError, match="no trusted key has signed it"):
        trust.vouched(other.data)
    foreign = SIGNER.sign(LOG.checkpoint(5, origin="other.example/log").text)
    with pytest.raises(AuditError, match="no key is trusted for that origin"):
        trust.vouched(foreign.data)


def test_a_key_counts_only_for_the_sizes_that_it_was_valid_for() -> None:
    new = log_signer(2)
    lines = trust_text(SIGNER).replace("[[log]]", "[[log]]\nuntil = 10")
    text = f'{lines}\n[[log]]\nfrom = 10\nkey = "{new.keys[0].text}"\n'
    trust = parse_trust(text.encode())
    for size, signer in ((9, SIGNER), (10, new)):
        note = signer.sign(LOG.checkpoint(size).text)
        assert trust.vouched(note.data).checkpoint.size == size
    for size, signer in ((10, SIGNER), (9, new)):
        with pytest.raises(AuditError, match="no trusted key has signed it"):
            trust.vouched(signer.sign(LOG.checkpoint(size).text).data)


def test_where_a_p384_key_is_listed_its_line_is_needed_too() -> None:
    both = log_signer(1, has_p384=True)
    trust = parse_trust(trust_text(both).encode())
    note = both.sign(LOG.checkpoint(5).text)
    assert len(trust.vouched(note.data).log) == 2
    with pytest.raises(AuditError, match="no trusted key has signed it with P384"):
        trust.vouched(Note(note.text, note.signatures[:1]).data)


def test_a_trusted_keys_wrong_signature_refuses_the_checkpoint() -> None:
    trust = parse_trust(trust_text(SIGNER, W1, quorum=1).encode())
    note = cosigned(SIGNER.sign(LOG.checkpoint(5).text), W1)
    for forged in (SIGNER.keys[0], W1.key):
        length = forged.kind.signature_bytes
        bad = note.signed(NoteSignature(forged.name, forged.key_id, b"\x01" * length))
        with pytest.raises(AuditError, match="does not verify"):
            trust.vouched(bad.data)


def test_coverage_says_what_no_outside_memory_covers() -> None:
    trust = parse_trust(trust_text(SIGNER, W1, W2, quorum=2).encode())
    notes = [signed(5), signed(12, 1_700_000_100), signed(17, by=1), signed(20, by=0)]
    found = coverage(notes, 20, trust)
    assert (found.signed, found.vouched) == (20, 12)
    assert found.statement.startswith(
        "no outside memory covers entries 12 to 19 (8); the 12 before"
    )
    assert len(found.refused) == 2
    assert coverage([notes[0]], 5, trust).statement.startswith("all 5 entries are covered")
    nothing = coverage([notes[3]], 20, trust)
    assert nothing.statement.endswith("(20): who has the key can rewrite them unseen")


def test_without_a_quorum_a_signature_is_no_outside_memory() -> None:
    found = coverage([signed(20)], 20, parse_trust(trust_text(SIGNER).encode()))
    assert (found.signed, found.vouched, found.last) == (20, 0, None)


def test_the_time_of_an_entry_lies_between_cosignatures() -> None:
    trust = parse_trust(trust_text(SIGNER, W1).encode())
    notes = [signed(at, by=by, time_s=at * 10) for at, by in ((5, 1), (9, 1), (12, 0), (15, 1))]
    for index, expected in ((0, (0, 50)), (5, (50, 90)), (8, (50, 90)), (13, (90, 150))):
        at = sum(size <= index for size in (5, 9, 12, 15))
        found = bracket(notes[:at][::-1], notes[at:], trust)
        assert (found.after_s, found.before_s) == expected
    last = bracket(notes[::-1], [], trust)
    assert (last.after_s, last.before_s) == (150, 0)


def test_a_witness_name_alone_gives_no_time() -> None:
    """Whoever writes the name of a known witness into a note has not cosigned it."""
    trust = parse_trust(trust_text(SIGNER, W1).encode())
    good, bare = signed(9, by=1, time_s=90), parse_note(signed(5, by=0))
    forged = NoteSignature(W1.key.name, b"\x01\x02\x03\x04", bytes(72))
    notes = [bare.signed(forged).data, good]
    assert bracket([], notes, trust).before_s == 90
    assert bracket([], notes[:1], trust).before_s == 0


GOOD = trust_text(SIGNER, W1)
WITNESS = f'[[witness]]\nkey = "{W1.key.text}"\n'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "missing required field `format`"),
        ("\xff", "not a trust file"),
        ("a = ", "not a trust file"),
        (GOOD.replace("herz-trust/1", "herz-trust/2"), "not a trust file"),
        (GOOD.replace("quorum = 1", "quorum = -1"), "quorum"),
        (GOOD.replace("quorum = 1", "quorum = 2"), "more than the 1 witnesses"),
        (GOOD.replace("quorum = 1", 'quorum = "1"'), "quorum"),
        (GOOD.replace("quorum = 1", "quorum = 1\nmore = 2"), "unknown field `more`"),
        (GOOD.replace("[[log]]", "[[log]]\nfrom = 7\nuntil = 7"), "never counts"),
        (GOOD.replace("[[log]]", "[[log]]\nfrom = 1.5"), "from"),
        (GOOD.replace(SIGNER.keys[0].text, W1.key.text), "cannot be trusted for this"),
        (GOOD.replace(W1.key.text, SIGNER.keys[0].text), "cannot be trusted for this"),
        (GOOD.replace(SIGNER.keys[0].key_id.hex(), "00000000"), "is not that of the key"),
        (GOOD + WITNESS, "a witness twice"),
        (trust_text(SIGNER, cosigner(1)), "a log's own key as a witness"),
        ('format = "herz-trust/1"\nlog = []\n', "no log is trusted"),
        ("#" * 1_000_001, "more than 1000000 bytes"),
    ],
)
def test_a_trust_file_that_is_not_understood_is_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match="trust") as caught:
        parse_trust(text.encode("latin-1"))
    assert what in str(caught.value)
    assert caught.value.fix
