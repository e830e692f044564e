"""Records: canonical JSON, in types that cannot be otherwise, in a chain that shows any change."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.commit.audit.chain import NO_RECORD, Chain
from herz.model import record as module
from herz.model.record import (
    Candidate,
    Decided,
    Order,
    PodReference,
    PolicyReference,
    Record,
    Rejection,
    Stage,
    Statement,
    canonical,
)
from tests.support.machine import Harness
from tests.support.objects import make_node, make_pod

SAFE = 2**53 - 1
STRUCTS = [
    kind
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
]
ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", "\x00\x1f\x7f", "\u2028", "\U0001f600", "a/b", "</x>", "\ue000\U00010000"]
)
numbers = st.integers(-SAFE, SAFE)
stages = st.builds(
    Stage,
    into=numbers,
    out=numbers,
    reasons=st.lists(st.tuples(texts, numbers), max_size=2).map(tuple),
    stage=texts,
)
orders = st.builds(
    Order,
    batch=numbers,
    broken=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    cycles=st.lists(st.lists(texts, max_size=2).map(tuple), max_size=2).map(tuple),
    descents=st.lists(st.tuples(numbers, texts), max_size=2).map(tuple),
    dropped=st.lists(st.tuples(texts, texts), max_size=1).map(tuple),
    fault=texts,
    overruled=st.just(()),
    rung=numbers,
)
records = st.builds(
    Record,
    decided=st.sampled_from(Decided),
    devices=st.lists(numbers, max_size=2).map(tuple),
    engine=texts,
    levels=st.lists(st.tuples(texts, numbers), max_size=2).map(tuple),
    marks=st.lists(texts, max_size=2).map(tuple),
    message=texts,
    node=texts,
    order=orders,
    path=st.lists(stages, max_size=2).map(tuple),
    plugins=st.lists(texts, max_size=2).map(tuple),
    pod=st.builds(PodReference, texts, texts, texts, texts),
    policy=st.builds(PolicyReference, texts, texts, texts),
    previous=texts,
    rejections=st.lists(
        st.builds(Rejection, numbers, st.lists(texts, max_size=2).map(tuple), texts, texts),
        max_size=2,
    ).map(tuple),
    repeated=numbers,
    repeats=numbers,
    sequence=numbers,
    snapshot=texts,
    term=numbers,
    tied=numbers,
    time_ns=texts,
    top=st.lists(
        st.builds(Candidate, texts, st.lists(numbers, max_size=2).map(tuple), numbers), max_size=2
    ).map(tuple),
)


def plain(thing: Any) -> str:
    """RFC 8785 over decoded JSON without floats."""
    match thing:
        case None | True | False:
            return json.dumps(thing)
        case int():
            assert abs(thing) <= SAFE
            return str(thing)
        case str():
            return f'"{"".join(map(escaped, thing))}"'
        case list():
            return f"[{','.join(map(plain, thing))}]"
        case dict():
            keys = sorted(thing, key=lambda key: key.encode("utf-16-be"))
            return f"{{{','.join(f'{plain(key)}:{plain(thing[key])}' for key in keys)}}}"
    raise AssertionError(f"{thing!r} has no canonical form here")


def escaped(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    return f"\\u{ord(character):04x}" if character < " " else character


@pytest.mark.slow
@settings(max_examples=300)
@given(records)
def test_a_record_is_encoded_as_rfc_8785_says(record: Record) -> None:
    data = canonical(record)
    assert data.decode() == plain(json.loads(data))
    assert msgspec.json.decode(data, type=Record) == record, "nothing is lost"


@pytest.mark.parametrize("kind", STRUCTS, ids=[kind.__name__ for kind in STRUCTS])
def test_fields_are_declared_in_the_order_of_their_encoded_names(kind: Any) -> None:
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    assert names == sorted(names, key=lambda name: name.encode("utf-16-be"))
    config = kind.__struct_config__
    assert config.tag is None, "a tag would be written first, wherever it sorts"


def test_no_float_dict_or_untyped_value_can_be_in_a_record() -> None:
    assert len(STRUCTS) == 10, STRUCTS
    unsafe = (
        msgspec.inspect.FloatType,
        msgspec.inspect.DictType,
        msgspec.inspect.AnyType,
        msgspec.inspect.SetType,
        msgspec.inspect.FrozenSetType,
        msgspec.inspect.RawType,
    )
    seen: set[str] = set()

    def walk(kind: Any, path: str) -> None:
        seen.add(type(kind).__name__)
        assert not isinstance(kind, unsafe), path
        for name in ("types", "item_types", "fields"):
            for index, inner in enumerate(getattr(kind, name, ())):
                walk(getattr(inner, "type", inner), f"{path}.{getattr(inner, 'name', index)}")
        if hasattr(kind, "item_type"):
            walk(kind.item_type, f"{path}[]")

    walk(msgspec.inspect.type_info(Record), "record")
    assert {"StructType", "IntType", "StrType", "VarTupleType", "TupleType"} <= seen


# ---- the chain --------------------------------------------------------------------------


def make_lines() -> tuple[list[bytes], str]:
    harness = Harness().apply(make_node("a"), make_node("b", cpu="1"))
    for number in range(7):
        harness.apply(make_pod(f"p{number}", {"cpu": str(1 + number % 4)})).step()
    return harness.kept.lines, harness.chain.head


LINES, HEAD = make_lines()


def verifies(lines: list[bytes], head: str) -> bool:
    """What a reader of the log does: recompute every link."""
    previous = NO_RECORD
    for number, line in enumerate(lines, 1):
        try:
            record = msgspec.json.decode(line, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        if record.previous != previous or record.sequence != number:
            return False
        previous = hashlib.sha3_384(line).hexdigest()
    return previous == head


def test_the_chain_as_written_verifies() -> None:
    assert len(LINES) >= 7
    assert verifies(LINES, HEAD)


@settings(max_examples=300)
@given(data=st.data(), number=st.integers(0, len(LINES) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(data: st.DataObject, number: int, bit: int) -> None:
    line = bytearray(LINES[number])
    line[data.draw(st.integers(0, len(line) - 1))] ^= 1 << bit
    assert not verifies([*LINES[:number], bytes(line), *LINES[number + 1 :]], HEAD)


def test_a_removed_record_is_found() -> None:
    for number in range(len(LINES)):
        assert not verifies(LINES[:number] + LINES[number + 1 :], HEAD)


def test_swapped_records_are_found() -> None:
    for one in range(len(LINES)):
        for other in range(one):
            lines = list(LINES)
            lines[one], lines[other] = lines[other], lines[one]
            assert not verifies(lines, HEAD)


def test_an_inserted_record_is_found() -> None:
    for number in range(len(LINES) + 1):
        for extra in (LINES[0], LINES[-1]):
            assert not verifies([*LINES[:number], extra, *LINES[number:]], HEAD)


def test_a_forged_record_with_a_right_link_is_found_by_the_next() -> None:
    for number in range(len(LINES)):
        record = msgspec.json.decode(LINES[number], type=Record)
        forged = canonical(msgspec.structs.replace(record, node="mine"))
        if forged != LINES[number]:
            assert not verifies([*LINES[:number], forged, *LINES[number + 1 :]], HEAD)


def test_another_engine_policy_or_term_makes_another_chain() -> None:
    policy = PolicyReference("@sha256:0", "one", "1")
    pod = Harness().machine._arrivals.read(make_pod("a"), ())
    heads = set()
    for engine, given_policy, term in (
        ("e", policy, 0),
        ("f", policy, 0),
        ("e", PolicyReference("@sha256:1", "one", "1"), 0),
        ("e", policy, 1),
    ):
        chain = Chain(engine, [given_policy], [], term=term)
        chain.append(pod, Decided.WAIT, Order(batch=0, rung=1), "00", 1, Statement(message="no"))
        chain.seal()
        heads.add(chain.head)
    assert len(heads) == 4
