"""One target a surface: takes bytes, and raises only where Herz has a bug.

What a surface promises: bytes are read, or refused by one of its own errors: ConfigError,
AuditError, or the API server's RefusedError below 500.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from herz import app
from herz.commit.audit import entry, proof
from herz.commit.audit.note import parse_key, parse_note
from herz.commit.audit.trust import parse_trust
from herz.config import kubescheduler, parse_policies, parse_policy
from herz.errors import AuditError, ConfigError
from herz.model import decode, labels, manifest, quantity, selector_text
from herz.model.journal import Kind
from herz.model.meta import LabelSelector, NodeSelector
from herz.model.objects import Node, Pod
from herz.world.apiserver.http import parameters, paths, protobuf
from herz.world.apiserver.objects import patches
from herz.world.apiserver.refusal import RefusedError
from herz.world.sim import catalogue
from herz.world.store import frames

Target = Callable[[bytes], None]
_FOLDER = tempfile.TemporaryDirectory(prefix="herz-fuzz-")
_KINDS = list(Kind)


def manifests(data: bytes) -> None:
    manifest.complete(manifest.read_manifests(data))


def quantities(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    read = quantity.parse_quantity(text)
    assert read == quantity.parse_quantity(text), "the same text is the same quantity"
    quantity.quantity_milli(text)
    quantity.quantity_nano(text)


def selectors(data: bytes) -> None:
    first, rest = data[:1], data[1:]
    if first <= b"\x55":
        selector_text.parse_selector(rest.decode("utf-8", "replace")).matches({"a": "b"})
    elif first <= b"\xaa":
        labels.compile_selector(decode.decode(LabelSelector, rest)).matches({"a": "1"})
    else:
        labels.compile_node_selector(decode.decode(NodeSelector, rest)).matches("n", {"a": "1"})


def configuration(data: bytes) -> None:
    if kubescheduler.is_configuration(data):
        kubescheduler.parse_configuration(data, app.rules(), source="fuzz")
        return
    given = _json(data)
    reader = parse_policies if isinstance(given, dict) and "profiles" in given else parse_policy
    reader(given, where="fuzz")


def scenarios(data: bytes) -> None:
    file = Path(_FOLDER.name, "s.toml")
    file.write_bytes(data)
    catalogue.load_scenario(str(file))


def journals(data: bytes) -> None:
    """A segment file, or the payload of an entry."""
    if data[:1] < b"\x80":
        entry.decode(_KINDS[data[0] % len(_KINDS)] if data else Kind.START, data[1:])
        return
    data = frames.segment_header(0) + data[1:]
    frames.check_segment(data, 0)
    batch = frames.read_batch(data, frames.SEGMENT.size, 0)
    for _, sealed in frames.entries_of(data, batch):
        entry.leaf_kind(sealed.leaf)


def proofs(data: bytes) -> None:
    first, rest = data[:1], data[1:]
    if first < b"\x40":
        proof.parse_proof(rest)
    elif first < b"\x80":
        parse_note(rest)
    elif first < b"\xc0":
        parse_trust(rest)
    else:
        parse_key(rest.decode("utf-8", "replace"))


def watches(data: bytes) -> None:
    """The objects of a watch's lines."""
    if data[:1] < b"\x80":
        pod, _ = decode.decode_pod(data[1:])
        assert decode.decode(Pod, decode.encode(pod)) == pod, "what is read is written and read"
    else:
        decode.decode(Node, data[1:])


def requests(data: bytes) -> None:
    """What the API server reads of a request: its path, query, body and patches."""
    way, rest = data[:1], data[1:]
    text = rest.decode("utf-8", "replace")
    if way < b"\x40":
        paths.target_of(paths.segments(text))
    elif way < b"\x80":
        pairs = [part.partition("=") for part in text.split("&")]
        parameters.list_options({name: value for name, _, value in pairs})
    elif way < b"\xc0":
        both = parameters.json_of(rest)
        patches.merge_patch({"a": {"b": 1}}, both)
        patches.json_patch({"a": [1, {"b": "c"}]}, both)
    else:
        protobuf.decode(b"k8s\0" + rest, "Pod")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError("no JSON") from error


SURFACES: dict[str, Target] = {
    "manifests": manifests,
    "quantities": quantities,
    "selectors": selectors,
    "configuration": configuration,
    "scenarios": scenarios,
    "journals": journals,
    "proofs": proofs,
    "watches": watches,
    "requests": requests,
}


def run(surface: str, data: bytes) -> None:
    """Give bytes to a surface; what it may raise is swallowed.

    Raises:
        Exception: anything else is a bug.
    """
    try:
        SURFACES[surface](data)
    except (ConfigError, AuditError):
        return
    except RefusedError as refused:
        if refused.code >= 500:
            raise


# ---- planted bugs ---------------------------------------------------------------------------


def _fails_at(home: Any, name: str, at: Callable[[Any], bool]) -> Callable[[], None]:
    def plant() -> None:
        real = getattr(home, name)

        def planted(*given: Any, **more: Any) -> Any:
            found = real(*given, **more)
            if at(found):
                raise KeyError("planted")
            return found

        setattr(home, name, planted)

    return plant


PLANTED: dict[str, Callable[[], None]] = {
    "manifests": _fails_at(manifest, "read_manifests", lambda found: "hostPort=8" in repr(found)),
    "quantities": _fails_at(quantity, "quantity_nano", lambda found: found == 7_000_000_000),
    "selectors": _fails_at(selector_text, "parse_selector", lambda found: "zz" in repr(found)),
    "configuration": _fails_at(kubescheduler, "is_configuration", lambda found: found),
    "scenarios": _fails_at(catalogue, "load_scenario", lambda found: found.name != "s"),
    "journals": _fails_at(entry, "decode", lambda found: getattr(found, "limit", 1) > 1),
    "proofs": _fails_at(proof, "parse_proof", lambda found: found.index != 5),
    "watches": _fails_at(decode, "decode_pod", lambda found: found[0].spec.priority != 5),
    "requests": _fails_at(patches, "json_patch", lambda found: len(found["a"]) != 3),
}
"""By surface, a bug that only bytes that it understands reach."""
