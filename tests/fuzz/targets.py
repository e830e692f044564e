"""One target a surface: takes bytes, and raises only where Herz has a bug.

What a surface promises: bytes are read, or refused by one of its own errors: ConfigError,
AuditError, WorldError, or the API server's RefusedError below 500.
"""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest import mock

from herz import app
from herz.commit.audit import entry, proof
from herz.commit.audit.note import parse_key, parse_note
from herz.commit.audit.trust import parse_trust
from herz.config import Policy, files, policies
from herz.config.policies import Policies
from herz.config.profiles import Rules
from herz.errors import AuditError, ConfigError, WorldError
from herz.model import decode, labels, manifest, quantity, selector_text
from herz.model.meta import LabelSelector, NodeSelector
from herz.world.apiserver.http import parameters, paths, protobuf
from herz.world.apiserver.objects import patches
from herz.world.apiserver.refusal import RefusedError
from herz.world.sim import catalogue, expand, scenario_file
from herz.world.store import frames
from tests.fuzz.mutate import kind_of
from tests.fuzz.served import servers
from tests.fuzz.shapes import refused, saw
from tests.fuzz.watched import watches

Target = Callable[[bytes], None]
CPU_NS_MAX: Final = 10**9
"""Of one input, under instrumentation; CPU time, because the machine is shared."""
_MEMORY = "/dev/shm"
_FOLDER = tempfile.TemporaryDirectory(
    prefix="herz-fuzz-", dir=_MEMORY if Path(_MEMORY).is_dir() else None
)
_NAMED_NANO = 10**30
"""Beyond E there is no suffix, and Kubernetes writes the number without one; so do we."""
NODES_MAX: Final = 10_000
_BATCHES_MAX = 64


class SlowError(AssertionError):
    """An input took more than a second of CPU time."""


def manifests(data: bytes) -> None:
    found = manifest.complete(manifest.read_manifests(data))
    saw("objects", [one.object for one in found])


def quantities(data: bytes) -> None:
    """Two quantities, by lines: read, compared, added, and written and read."""
    one, _, two = data.decode("utf-8", "replace").partition("\n")
    read = quantity.parse_quantity(one)
    saw("quantity", read)
    quantity.quantity_milli(one)
    quantity.quantity_nano(one)
    quantity.quantity_value(one)
    if abs(read.nano) < _NAMED_NANO:
        written = quantity.parse_quantity(str(read))
        assert written.nano == read.nano, "what is written is the same amount"
    if two:
        other = quantity.parse_quantity(two)
        assert (read + other).nano == read.nano + other.nano
        assert (read - other).nano == read.nano - other.nano


def selectors(data: bytes) -> None:
    first, rest = data[:1], data[1:]
    if first <= b"\x55":
        selector_text.parse_selector(rest.decode("utf-8", "replace")).matches({"a": "b"})
    elif first <= b"\xaa":
        wanted = decode.decode(LabelSelector, rest)
        saw("labels", wanted)
        labels.compile_selector(wanted).matches({"a": "1"})
    else:
        given = decode.decode(NodeSelector, rest)
        saw("nodes", given)
        for term in given.node_selector_terms:
            for item in term.match_expressions:
                if item.operator in labels.NODE_OPERATORS:
                    saw(f"operator {item.operator}", item.values)
        labels.compile_node_selector(given).matches("n", {"a": "1"})


def configuration(data: bytes) -> None:
    """A file of settings, whose name ends as its text looks.

    Of a policy of Herz's own the rules are made, too; kube-scheduler's are as it is read.
    """
    start = data.lstrip()[:1]
    suffix = ".json" if start == b"{" else ".toml" if b" = " in data else ".yaml"
    file = Path(_FOLDER.name, f"settings{suffix}")
    file.write_bytes(data)
    settings = files.read_settings(file, _rules())
    saw("settings", settings)
    found = files.pick_policies(settings, "fuzz", "")
    policies.policy_of(policies.canonical_policy(found), found.digest)
    if isinstance(settings, Policy):
        app.check(settings)
    elif isinstance(settings, Policies):
        for profile in settings.profiles:
            app.check(profile.policy)


@functools.cache
def _rules() -> Rules:
    """Herz's own; what a rule extends is asked once for the same arguments, it takes long."""
    rules = app.rules()

    @functools.lru_cache(maxsize=4096)
    def known(name: str, text: str) -> Collection[str]:
        return rules.extends(name, json.loads(text))

    def extends(name: str, args: Mapping[str, Any]) -> Collection[str]:
        return known(name, json.dumps(args))

    return replace(rules, extends=extends)


def scenarios(data: bytes) -> None:
    """A scenario file of fewer nodes than are allowed: each takes its 10 us to make."""
    file = Path(_FOLDER.name, "s.toml")
    file.write_bytes(data)
    saw("tables", scenario_file.read_tables(file))
    with mock.patch.object(expand, "NODES_MAX", NODES_MAX):
        saw("scenario", catalogue.load_scenario(str(file)))


def journals(data: bytes) -> None:
    """A segment file, or the payload of an entry."""
    if data[:1] < b"\x80":
        saw("payload", entry.decode(kind_of(data[:1]), data[1:]))
        return
    data = frames.segment_header(0) + data[1:]
    frames.check_segment(data, 0)
    offset, index = frames.SEGMENT.size, 0
    for _ in range(_BATCHES_MAX):
        if offset == len(data):
            return
        try:
            batch = frames.read_batch(data, offset, index)
            sealed = [one for _, one in frames.entries_of(data, batch)]
        except frames.DamageError:
            later = frames.later_batch(data, offset, index)
            assert later is None or later > index
            raise
        assert len(list(frames.frames_of(data, batch))) == len(sealed)
        for one in sealed:
            saw("entry", entry.opened(one)[1])
        offset, index = batch.end, index + batch.entries


def proofs(data: bytes) -> None:
    first, rest = data[:1], data[1:]
    if first < b"\x40":
        read = proof.parse_proof(rest)
        assert proof.parse_proof(read.data) == read, "what is read is written and read"
        saw("proof", read)
        saw("note", parse_note(read.note))
    elif first < b"\x80":
        note = parse_note(rest)
        assert parse_note(note.data) == note, "what is read is written and read"
        saw("note", note)
    elif first < b"\xc0":
        saw("trust", parse_trust(rest))
    else:
        key = parse_key(rest.decode("utf-8", "replace"))
        assert parse_key(key.text) == key, "what is read is written and read"


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
    "servers": servers,
}


def run(surface: str, data: bytes) -> bool:
    """Give bytes to a surface; what it may raise is swallowed. Whether it read them.

    Raises:
        SlowError: it took more than a second.
        Exception: anything else is a bug.
    """
    began, is_read = time.thread_time_ns(), False
    try:
        SURFACES[surface](data)
        is_read = True
    except (ConfigError, AuditError, WorldError) as error:
        refused(error)
    except RefusedError as error:
        if error.code >= 500:
            raise
        refused(error)
    taken = time.thread_time_ns() - began
    if taken > CPU_NS_MAX:
        raise SlowError(f"{surface}: {taken / 1e9:.1f} s of CPU time for {len(data)} bytes")
    return is_read
