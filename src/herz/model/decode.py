"""Bytes of the API's JSON to objects and back, with every number kept exact.

Used at every edge where JSON comes in: the watch driver, the simulator, manifests, replay.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from herz.errors import ConfigError
from herz.model.fields import unlisted_fields
from herz.model.meta import Wire
from herz.model.pod import Pod

WireT = TypeVar("WireT", bound=Wire)

_ENCODER = msgspec.json.Encoder(order="deterministic")


class _SpecKeys(Wire, frozen=True, kw_only=True):
    """Only the names of a pod's spec fields; their values are skipped, not built."""

    spec: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)


_SPEC_KEYS = msgspec.json.Decoder(_SpecKeys)


@lru_cache(maxsize=64)
def decoder(kind: type[WireT]) -> msgspec.json.Decoder[WireT]:
    """The JSON decoder of a kind, made once.

    `float_hook=str` keeps a quantity such as 1.5 as its text; a decoder made without it would take
    the number through a float. Also use it for a struct of your own that contains objects.
    """
    return msgspec.json.Decoder(kind, float_hook=str)


def decode(kind: type[WireT], data: bytes | msgspec.Raw) -> WireT:
    """One object of the kind from its JSON.

    A null counts as an absent field, as it does for Kubernetes.

    Raises:
        ConfigError: it is no JSON, or a field that is read has another type than it must have.
    """
    try:
        thing: WireT = decoder(kind).decode(data)
    except msgspec.ValidationError:
        # A null is rare, so it is worth a second and slow reading only when the first fails.
        return _decode_slowly(kind, bytes(data))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}", fix="give one JSON object") from error
    return thing


def decode_pod(data: bytes | msgspec.Raw) -> tuple[Pod, tuple[str, ...]]:
    """A pod from its JSON, and the names of spec fields that Herz doesn't know.

    A pod with unknown fields must not be placed: the field may say where it can't run.

    Cost: two passes over the bytes; the second builds no values.
    """
    pod = decode(Pod, data)
    try:
        names = _SPEC_KEYS.decode(data)
    except msgspec.ValidationError:
        # The pod was read, so the spec can only be null here: it has no fields.
        return pod, ()
    except UnicodeDecodeError as error:
        # Names that the pod's own reading passed over.
        raise ConfigError(f"not JSON: {error}", fix="give one JSON object") from error
    return pod, unlisted_fields(names.spec)


def convert(kind: type[WireT], content: object) -> WireT:
    """One object of the kind from plain values (dicts, lists, texts, whole numbers).

    Raises:
        ConfigError: a field that is read has another type than it must have; `where` is its path.
    """
    try:
        return msgspec.convert(without_nulls(content), kind)
    except msgspec.ValidationError as error:
        raise _as_config_error(error) from error


def encode(thing: Wire) -> bytes:
    """The object as JSON with sorted keys; fields at their default are left out."""
    return _ENCODER.encode(thing)


def without_nulls(content: Any) -> Any:
    """The same plain value without the entries of dicts that are null."""
    if isinstance(content, dict):
        return {key: without_nulls(item) for key, item in content.items() if item is not None}
    if isinstance(content, list):
        return [without_nulls(item) for item in content]
    return content


def _decode_slowly(kind: type[WireT], data: bytes) -> WireT:
    """The same without nulls; numbers are copied as they stand, so that they keep their type."""
    try:
        content = json.loads(data, parse_float=_number)
        plain = msgspec.json.encode(without_nulls(content))
        thing: WireT = decoder(kind).decode(plain)
    except msgspec.ValidationError as error:
        raise _as_config_error(error) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}", fix="give one JSON object") from error
    return thing


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _as_config_error(error: msgspec.ValidationError) -> ConfigError:
    """Turn msgspec's "what - at `$.path`" as our error, the path first."""
    what, _, path = str(error).partition(" - at ")
    where = path.strip("`").removeprefix("$").removeprefix(".")
    text = what[:1].lower() + what[1:]
    return ConfigError(text, where=where, fix="correct the field's type")
