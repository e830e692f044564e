"""The words of each surface: names of fields, kinds and values, taken from the code that reads."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from herz.builtin import PLUGINS
from herz.commit.audit import entry, note, proof, trust
from herz.config import Policy, kubescheduler, parse_policy
from herz.config.wire import KubeSchedulerConfiguration
from herz.intake.fuzz import words_of
from herz.model import events, manifest, outcomes, quantity, selector_text
from herz.model.meta import LabelSelector, NodeSelector
from herz.model.record import Record
from herz.place.plugins.arguments import Arguments
from herz.world.apiserver.http import parameters
from herz.world.apiserver.objects.kinds import KINDS
from herz.world.kube.informer import _Change, _Mark, _Page
from herz.world.sim.tables import ScenarioFile
from tests.fuzz import witnessed

_SIGNS: Final = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Equal", "metadata.name"]
_SUFFIXES: Final = ["n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
_HEADERS: Final = [
    *("Authorization: Bearer t", "Content-Type: application/json", "Accept: application/json"),
    *("Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked", "Host: a"),
    *("Connection: close", "Connection: keep-alive", "Connection: Upgrade", "Upgrade: websocket"),
    *("Expect: 100-continue", "Content-Encoding: gzip", "Content-Encoding: identity", "X: \xff"),
    "Content-Type: application/vnd.kubernetes.protobuf",
    "Content-Type: application/apply-patch+yaml",
    "Content-Type: application/merge-patch+json",
    "Content-Type: application/json-patch+json",
    "Content-Type: application/strategic-merge-patch+json",
    "Accept: application/json;as=Table;g=meta.k8s.io;v=v1",
    "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "Accept: application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList",
]
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"]
_PARTS: Final = ["api", "apis", "v1", "namespaces", "default", "status", "scale", "binding", "log"]
_QUERIES: Final = [
    *("limit=1", "continue=", "resourceVersion=0", "resourceVersion=5", "watch=1", "dryRun=All"),
    *("resourceVersionMatch=Exact", "fieldSelector=metadata.name%3Da", "labelSelector=a%3Db"),
    *("allowWatchBookmarks=true", "sendInitialEvents=true", "timeoutSeconds=0", "force=true"),
    *("propagationPolicy=Orphan", "gracePeriodSeconds=0", "fieldManager=m", "exclude=ping"),
]


_ENTRIES: Final = (
    *(entry.Start, entry.Step, entry.State, entry.Configuration, entry.Model, entry.Key),
    *(entry.Erasure, entry.Mode, entry.Clock, entry.Hold, entry.Check, Record),
    *(events.ObjectApplied, outcomes.BindFinished),
)


def kinds(surface: str) -> tuple[type, ...]:
    """Types of msgspec that this surface reads from JSON, YAML or TOML."""
    if surface in ("manifests", "watches", "servers"):
        return tuple(kind for kind, _ in manifest.KINDS.values())
    if surface == "configuration":
        return (KubeSchedulerConfiguration, Policy, *Arguments.__subclasses__())
    plain = {"selectors": (LabelSelector, NodeSelector), "journals": _ENTRIES}
    return {**plain, "scenarios": (ScenarioFile,)}.get(surface, ())


@functools.cache
def words(surface: str) -> tuple[str, ...]:
    """What to write into inputs of this surface, each once, in order."""
    return tuple(dict.fromkeys(word for word in _WORDS[surface]() if word))


def dictionary(surface: str) -> str:
    """The words as libFuzzer's dictionary."""
    lines = []
    for word in words(surface):
        shown = "".join(
            chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}"
            for byte in word.encode()
        )
        lines.append(f'"{shown}"\n')
    return "".join(lines)


def _named(*kinds: Any) -> Iterator[str]:
    """Names of fields, tags and literals below these types."""
    waiting, seen = list(msgspec.inspect.multi_type_info(kinds)), set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, msgspec.inspect.StructType):
            if found.cls in seen:
                continue
            seen.add(found.cls)
            yield from (str(found.tag or ""), found.tag_field or "")
            yield from (field.encode_name for field in found.fields)
            waiting += [field.type for field in found.fields]
        elif isinstance(found, msgspec.inspect.LiteralType):
            yield from map(str, found.values)
        elif isinstance(found, msgspec.inspect.EnumType):
            yield from (str(one.value) for one in found.cls)
        else:
            for name in ("types", "item_types", "item_type", "key_type", "value_type"):
                inner = getattr(found, name, ())
                waiting += inner if isinstance(inner, tuple) else [inner]


def _objects() -> Iterator[str]:
    for name, (kind, versions) in manifest.KINDS.items():
        yield from (name, f"{name}List", *versions)
        yield from _named(kind)
    yield from (*_SIGNS, "NoSchedule", "NoExecute", "PreferNoSchedule", "DoNotSchedule", "Never")
    yield from ("ScheduleAnyway", "Always", "TCP", "UDP", "SCTP", "List", "items", "100m", "1Gi")
    yield from ("Honor", "Ignore", "Bound", "Running", "True", "False", "kubernetes.io/hostname")


def _configuration() -> Iterator[str]:
    yield from PLUGINS
    for function in (kubescheduler.parse_configuration, parse_policy):
        found = words_of(function)
        yield from found.texts
        yield from found.around.texts if found.around else ()
    yield from ("MostAllocated", "LeastAllocated", "RequestedToCapacityRatio", "shape", "args")
    yield from ("utilization", "score", "resources", "weight", "multiPoint", "enabled", "disabled")


def _journals() -> Iterator[str]:
    yield from _named(*_ENTRIES)
    yield from ("HERZSEG1", "HZBT", "relaxed", "strict", "witnessed")


def _servers() -> Iterator[str]:
    yield from (*_METHODS, *_HEADERS, *_PARTS, *_QUERIES, " HTTP/1.1\r\n", " HTTP/1.0\r\n", "\r\n")
    yield from (name for kind in KINDS for name in (kind.resource, kind.name, kind.group))
    yield from ("/healthz", "/livez", "/readyz", "/metrics", "/version", "/openapi/v3", "?verbose")
    yield from ("/add-checkpoint", "/checkpoint", "old 0", "old 3", witnessed.ORIGIN)
    yield from ("metadata", "name", "namespace", "spec", "status", "kind", "apiVersion", "uid")
    yield from (
        "resourceVersion",
        "containers",
        "image",
        "labels",
        "ownerReferences",
        "generateName",
    )


def _requests() -> Iterator[str]:
    found = words_of(parameters.list_options)
    yield from (*found.texts, *(found.around.texts if found.around else ()))
    yield from (*_PARTS, *_QUERIES, "op", "add", "remove", "replace", "move", "copy", "test")
    yield from ("path", "from", "value", "/a/-", "/a/1/b", "$patch", "delete", "merge", "~0", "~1")
    yield from (name for kind in KINDS for name in (kind.resource, kind.group))


_WORDS: Final = {
    "manifests": _objects,
    "quantities": lambda: iter([*_SUFFIXES, *quantity._SUFFIX_EXPONENTS, "e3", "E-9", "."]),
    "selectors": lambda: iter(
        [*_named(LabelSelector, NodeSelector), *_SIGNS, *selector_text._OPERATORS, "a", "b", "()"]
    ),
    "configuration": _configuration,
    "scenarios": lambda: iter(
        [
            *(*_named(ScenarioFile), "10m", "1h", "100m", "1Gi", "19:30", "[[nodes]]\n"),
            *("n", "n-0000", "z1", "high", "zone", "label", "a=b:NoSchedule", "a:NoExecute"),
        ]
    ),
    "journals": _journals,
    "proofs": lambda: iter(
        [
            *(proof.HEADER, "extra ", "index ", note._DASH, "\n\n", trust.FORMAT, "=", "AAAA", "+"),
            *(*_named(trust._TrustTable), "[[log]]\n", "[[witness]]\n", "url", "herz.example/log"),
        ]
    ),
    "watches": lambda: iter(
        [
            *(*_objects(), *_named(_Change, _Mark, _Page), "ADDED", "MODIFIED", "DELETED"),
            *("BOOKMARK", "ERROR", "Expired", "Gone", "410", "HTTP/1.1 ", "Content-Length: "),
            *("Retry-After: 1", "Transfer-Encoding: chunked", "Connection: close", "\r\n"),
            *("0\r\n\r\n", "\n"),
        ]
    ),
    "requests": _requests,
    "servers": _servers,
}
