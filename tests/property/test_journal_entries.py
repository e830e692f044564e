"""Every kind of entry is read back as it was written, and nothing else is read."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.commit.audit import entry
from herz.commit.audit.entry import decode, encode, kind_of, leaf_kind, opened, seal
from herz.errors import AuditError
from herz.model.events import Event, ObjectApplied, ObjectDeleted
from herz.model.journal import Kind
from herz.model.objects import KubernetesObject
from herz.model.outcomes import BindFinished, BindOutcome
from tests.support.structs import values

SALT = bytes(range(32))
CONTENTS = [
    shape for kind in Kind for shape in get_args(entry.shape_of(kind)) or [entry.shape_of(kind)]
]
OBJECTS = get_args(KubernetesObject)


def test_every_event_is_an_entry_and_every_kind_is_used() -> None:
    assert set(get_args(Event)) <= set(CONTENTS)
    kinds = {entry._KINDS.get(one, Kind.INPUT) for one in CONTENTS}
    assert kinds == set(Kind)


@pytest.mark.slow
@pytest.mark.parametrize("shape", CONTENTS, ids=lambda shape: shape.__name__)
def test_entries_of_each_shape_are_read_back(shape: type) -> None:
    @settings(max_examples=60)
    @given(content=values(shape))
    def check(content: Any) -> None:
        kind = kind_of(content)
        sealed = seal(kind, encode(content), SALT)
        assert opened(sealed) == (kind, content)
        assert leaf_kind(sealed.leaf) is kind

    check()


@pytest.mark.slow
@pytest.mark.parametrize("shape", OBJECTS, ids=lambda shape: shape.__name__)
def test_events_about_each_kind_of_object_are_read_back(shape: type) -> None:
    @settings(max_examples=30)
    @given(thing=values(shape), event=st.sampled_from([ObjectApplied, ObjectDeleted]))
    def check(thing: Any, event: Any) -> None:
        content = event(time_ns=7, object=thing)
        assert decode(Kind.INPUT, encode(content)) == content

    check()


STEP = b'{"limit":1,"now_ns":2}'


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"now_ns":2,"limit":1}',
        b'{"limit":1, "now_ns":2}',
        b'{"limit":1,"now_ns":2}\n',
        b'{"limit":1,"limit":1,"now_ns":2}',
        b'{"limit":1.0,"now_ns":2}',
        b'{"limit":"1","now_ns":2}',
        b'{"limit":1,"more":3,"now_ns":2}',
        b'{"limit":1,"now_ns":2e0}',
        b"\xff",
    ],
)
def test_what_is_not_canonical_is_refused(payload: bytes) -> None:
    assert encode(decode(Kind.STEP, STEP)) == STEP
    with pytest.raises(AuditError, match="step"):
        decode(Kind.STEP, payload)


def test_an_event_of_the_other_kind_is_refused() -> None:
    answer = BindFinished(time_ns=1, uid="u", decision=1, outcome=BindOutcome.BOUND)
    for kind in (Kind.INPUT, Kind.STEP):
        with pytest.raises(AuditError):
            decode(kind, encode(answer))


def test_unknown_fields_inside_objects_are_refused() -> None:
    payload = encode(ObjectApplied(time_ns=1, object=_node()))
    more = payload.replace(b'"name":"a"', b'"name":"a","secret":"b"')
    assert more != payload
    with pytest.raises(AuditError, match="canonical"):
        decode(Kind.INPUT, more)


def test_unknown_versions_and_kinds_are_refused() -> None:
    leaf = seal(Kind.STEP, STEP, SALT).leaf
    for other in (b"\2" + leaf[1:], leaf[:1] + b"\xc8" + leaf[2:], leaf[:1] + b"\0" + leaf[2:]):
        with pytest.raises(AuditError, match="not known"):
            leaf_kind(other)


def test_the_leaf_commits_to_every_bit_of_salt_and_payload() -> None:
    sealed = seal(Kind.STEP, STEP, SALT)
    for field in ("salt", "payload"):
        data = getattr(sealed, field)
        for bit in range(8 * len(data)):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(AuditError, match="commits"):
                opened(sealed._replace(**{field: bytes(changed)}))


def test_an_erased_entry_cannot_be_opened() -> None:
    with pytest.raises(AuditError, match="erased"):
        opened(seal(Kind.STEP, STEP, SALT)._replace(salt=b"", payload=b""))


def _node() -> Any:
    from tests.support.objects import make_node

    return make_node("a")
