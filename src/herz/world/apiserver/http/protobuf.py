r"""Bodies in Kubernetes' protobuf, which kubectl sends for some kinds: read, never written.

The envelope is `k8s\0` and a runtime.Unknown (type, bytes); within it the messages of the kinds,
whose field numbers are in the table of fields. Answers are JSON, which every client takes.

Source: apimachinery runtime/generated.proto and serializer/protobuf (facts).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from herz.world.apiserver.objects.schema import DEPTH_MAX, Type, types
from herz.world.apiserver.refusal import RefusedError, bad_request

MEDIA = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10
_SECONDS_MAX = 253_402_300_799
"""The end of the year 9999."""

_Wire = int | bytes
_Numbers = dict[int, tuple[str, Type] | dict[int, Any]]


def decode(body: bytes, fallback: str) -> dict[str, Any]:
    """The object of a body, as its JSON would be, with `kind` and `apiVersion`.

    Args:
        body: the envelope.
        fallback: the type in the table of fields, where that is not the kind's name.

    Raises:
        RefusedError: 400: it is no such envelope, or a message in it is malformed.
    """
    if not body.startswith(_MAGIC):
        raise _malformed("the prefix is missing")
    envelope = dict(_fields(body[len(_MAGIC) :]))
    raw = envelope.get(2, b"")
    names = dict(_fields(_bytes(envelope.get(1, b""))))
    api_version, kind = (_text(names.get(number, b"")) for number in (1, 2))
    if envelope.get(3) or envelope.get(4) not in (
        None,
        b"",
        MEDIA.encode(),
        b"application/protobuf",
    ):
        raise _malformed("its content is encoded once more")
    content = _message(fallback, _bytes(raw), 0)
    return {"kind": kind, "apiVersion": api_version, **content}


def _message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    content: dict[str, Any] = {}
    _read(_numbers(name), data, content, depth)
    return content


def _read(numbers: _Numbers, data: bytes, content: dict[str, Any], depth: int) -> None:
    """Add the message's fields to the content."""
    if depth > DEPTH_MAX:
        raise _malformed(f"it is nested more than {DEPTH_MAX} levels deep")
    for number, wire in _fields(data):
        found = numbers.get(number)
        if found is None:
            # A field of another Kubernetes: dropped, as a server of this one would.
            continue
        if isinstance(found, dict):
            _read(found, _bytes(wire), content, depth + 1)
            continue
        name, kind = found
        if kind.name == "[":
            assert kind.item is not None
            content.setdefault(name, []).append(_value(kind.item, wire, depth + 1))
        elif kind.name == "{":
            assert kind.item is not None
            entry = dict(_fields(_bytes(wire)))
            key = _text(_bytes(entry.get(1, b"")))
            value = _value(kind.item, entry.get(2, b""), depth + 1)
            content.setdefault(name, {})[key] = value
        else:
            value = _value(kind, wire, depth + 1)
            if value is not None and (kind.is_optional or value not in (0, "", False)):
                content[name] = value


def _value(kind: Type, wire: _Wire, depth: int) -> Any:
    if kind.fields is not None:
        return _message(kind.name, _bytes(wire), depth)
    name = kind.name
    if name in ("i", "b"):
        if not isinstance(wire, int):
            raise _malformed("a number is missing")
        return bool(wire) if name == "b" else wire
    data = _bytes(wire)
    if name == "s":
        return _text(data)
    if name == "y":
        return b64encode(data).decode()
    inner = dict(_fields(data))
    if name == "q":
        return _text(_bytes(inner.get(1, b"")))
    if name == "x":
        return _text(_bytes(inner.get(3, b""))) if inner.get(1) else inner.get(2, 0)
    if name == "t":
        return _time(inner)
    # Free content never comes this way but as managed fields, which are not kept.
    return None


def _time(inner: dict[int, _Wire]) -> str | None:
    seconds, nanos = inner.get(1, 0), inner.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise _malformed("a time has no numbers")
    if not inner:
        return None
    if not (0 <= seconds <= _SECONDS_MAX and 0 <= nanos < 10**9):
        raise _malformed("a time is out of range")
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos // 1000:06d}Z" if nanos else f"{text}Z"


@cache
def _numbers(name: str) -> _Numbers:
    """A type's fields by number; a dict where a message lies around some of them."""
    found: _Numbers = {}
    for field, kind in types()[name].items():
        level: dict[int, Any] = found
        for number in kind.number[:-1]:
            level = level.setdefault(number, {})
        if kind.number:
            level[kind.number[-1]] = (field, kind)
    return found


# ---- the wire -------------------------------------------------------------------------------


def _fields(data: bytes) -> Iterator[tuple[int, _Wire]]:
    """The fields of a message in order.

    Raises:
        RefusedError: 400: it ends too early, or has a wire type that protobuf does not have.
    """
    at = 0
    # Bound: every round takes at least one byte.
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value - (1 << 64) if value >> 63 else value
        elif wire == _BYTES:
            length, at = _varint(data, at)
            if length > len(data) - at:
                raise _malformed("it ends too early")
            yield number, data[at : at + length]
            at += length
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
            if at > len(data):
                raise _malformed("it ends too early")
        else:
            raise _malformed(f"there is no wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of at most 64 bits, and where it ends."""
    value = 0
    for index in range(_VARINT_BYTES_MAX):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), at + index + 1
    raise _malformed("a number does not end")


def _bytes(wire: _Wire) -> bytes:
    if isinstance(wire, int):
        raise _malformed("a number stands where bytes must be")
    return wire


def _text(data: _Wire) -> str:
    try:
        return _bytes(data).decode()
    except UnicodeDecodeError as error:
        raise _malformed("a text is no UTF-8") from error


def _malformed(why: str) -> RefusedError:
    return bad_request(f"the body of the request is no Kubernetes protobuf: {why}")
