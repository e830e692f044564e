"""Manifests: JSON or YAML files of Kubernetes objects, read, checked and completed.

Used by the command line, the simulator and the embedded cluster: what comes in is bytes, what goes
out is frozen objects with the place that each came from. Whatever would change a placement if it
were guessed is refused with a `ConfigError` that names file, line, field, value and remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from herz.errors import ConfigError
from herz.model.decode import decode, without_nulls
from herz.model.defaults import apply_defaults
from herz.model.fields import unlisted_fields
from herz.model.meta import Namespace, PriorityClass
from herz.model.node import CSINode, Node
from herz.model.objects import KubernetesObject
from herz.model.pod import Pod
from herz.model.service_levels import NodeSignals, ServiceProfile, SLAClass
from herz.model.storage import (
    CSIDriver,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from herz.model.validate import validate
from herz.model.workload import (
    PodDisruptionBudget,
    PodGroup,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from herz.model.yaml_text import Document, documents

# Each kind that is understood, and the API versions whose objects have the shape that is read.
KINDS: dict[str, tuple[type[KubernetesObject], tuple[str, ...]]] = {
    "Pod": (Pod, ("v1",)),
    "Node": (Node, ("v1",)),
    "Namespace": (Namespace, ("v1",)),
    "Service": (Service, ("v1",)),
    "ReplicationController": (ReplicationController, ("v1",)),
    "PersistentVolume": (PersistentVolume, ("v1",)),
    "PersistentVolumeClaim": (PersistentVolumeClaim, ("v1",)),
    "ReplicaSet": (ReplicaSet, ("apps/v1",)),
    "StatefulSet": (StatefulSet, ("apps/v1",)),
    "PriorityClass": (PriorityClass, ("scheduling.k8s.io/v1",)),
    "PodDisruptionBudget": (PodDisruptionBudget, ("policy/v1",)),
    "StorageClass": (StorageClass, ("storage.k8s.io/v1",)),
    "CSINode": (CSINode, ("storage.k8s.io/v1",)),
    "CSIDriver": (CSIDriver, ("storage.k8s.io/v1",)),
    "CSIStorageCapacity": (CSIStorageCapacity, ("storage.k8s.io/v1",)),
    "VolumeAttachment": (VolumeAttachment, ("storage.k8s.io/v1",)),
    "PodGroup": (PodGroup, ("scheduling.k8s.io/v1alpha2", "scheduling.x-k8s.io/v1alpha1")),
    "SLAClass": (SLAClass, ("scheduling.herz.dev/v1alpha1",)),
    "NodeSignals": (NodeSignals, ("scheduling.herz.dev/v1alpha1",)),
    "ServiceProfile": (ServiceProfile, ("scheduling.herz.dev/v1alpha1",)),
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of an input.

    Args:
        object: the object, checked.
        where: file, line or document, kind and name; for messages about it.
        unlisted: spec fields of a pod that this release doesn't know; it must not be placed.
    """

    object: KubernetesObject
    where: str
    unlisted: tuple[str, ...] = ()


def read_manifests(data: bytes, *, source: str = "<input>") -> tuple[Manifest, ...]:
    """The objects of one input, in order, checked but not completed (`complete` does that).

    Args:
        data: JSON (one or more values) or YAML (one or more documents); lists are unpacked.
        source: the file's name, for messages.

    Raises:
        ConfigError: the first thing that is wrong; nothing of the input is to be used then.
    """
    found = []
    for document in documents(data, source=source):
        for content, path in _unpacked(document, source):
            found.append(_read(content, _Place(document, source, path)))
    _check_unique(found)
    return tuple(found)


def complete(manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """The same objects as the API server would store them: defaults, priorities, namespaces.

    PriorityClasses are taken from among the manifests, wherever they stand.

    Raises:
        ConfigError: a pod's priority doesn't fit its class, or two objects have one name.
    """
    given = tuple(manifests)
    classes = {
        item.object.metadata.name: item.object
        for item in given
        if isinstance(item.object, PriorityClass)
    }
    completed = []
    for item in given:
        try:
            completed.append(replace(item, object=apply_defaults(item.object, classes)))
        except ConfigError as error:
            raise error.at(item.where) from error
    _check_unique(completed)
    return tuple(completed)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in an input an object stands."""

    document: Document
    source: str
    path: str

    def name(self, field: str, label: str = "") -> str:
        """`file:line kind name field`, with the document's number where no line is known."""
        inner = f"{self.path}.{field}" if self.path and field else self.path or field
        line = self.document.line(inner)
        place = (
            f"{self.source}:{line}" if line else f"{self.source} (document {self.document.number})"
        )
        return " ".join(part for part in (place, label, inner) if part)


def _unpacked(document: Document, source: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a document and their paths; `List` and typed lists are taken apart."""
    content = document.value
    place = _Place(document, source, "")
    if isinstance(content, list):
        yield from _items(content, place, {})
        return
    if not isinstance(content, dict):
        fix = "give an object with apiVersion, kind and metadata"
        raise ConfigError("not an object", where=place.name(""), value=content, fix=fix)
    kind = content.get("kind")
    is_list = isinstance(kind, str) and kind.endswith("List") and "items" in content
    if not is_list:
        yield content, ""
        return
    inherited: dict[str, Any] = {}
    if kind != "List":
        inherited = {
            "kind": str(kind).removesuffix("List"),
            "apiVersion": content.get("apiVersion"),
        }
    items = content["items"] if content["items"] is not None else []
    if not isinstance(items, list):
        raise ConfigError("not a list", where=place.name("items"), value=items, fix="use a list")
    yield from _items(items, replace(place, path="items"), inherited)


def _items(
    items: list[Any], place: _Place, inherited: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str]]:
    for index, item in enumerate(items):
        path = f"{place.path}[{index}]"
        if not isinstance(item, dict):
            where = replace(place, path=path).name("")
            raise ConfigError("not an object", where=where, value=item, fix="give an object")
        yield {**inherited, **item}, path


def _read(content: dict[str, Any], place: _Place) -> Manifest:
    """One object from its plain content."""
    kind_name, kind = _kind_of(content, place)
    _refuse_null_entries(content, place)
    content = without_nulls(content)
    metadata = content.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    label = f"{kind_name} {name}" if isinstance(name, str) else kind_name
    try:
        thing = decode(kind, msgspec.json.encode(content))
        validate(thing)
    except ConfigError as error:
        path, value = _found(content, error)
        where = place.name(path, label)
        raise ConfigError(error.what, where=where, value=value, fix=error.fix) from error
    spec = content.get("spec")
    keys = spec if isinstance(thing, Pod) and isinstance(spec, dict) else ()
    return Manifest(thing, place.name("", label), unlisted_fields(keys))


def _kind_of(content: dict[str, Any], place: _Place) -> tuple[str, type[KubernetesObject]]:
    """The kind's name and struct; its API version must be one that is understood."""
    name, version = content.get("kind"), content.get("apiVersion")
    if not isinstance(name, str) or name not in KINDS:
        what = "unknown kind" if name else "an object without a kind"
        fix = f"use one of {', '.join(KINDS)}"
        raise ConfigError(what, where=place.name("kind"), value=name, fix=fix)
    kind, versions = KINDS[name]
    if version not in versions:
        where = place.name("apiVersion", name)
        fix = f"use {' or '.join(versions)}"
        raise ConfigError(f"unknown apiVersion of {name}", where=where, value=version, fix=fix)
    return name, kind


# Maps whose keys are the user's own. Kubernetes reads a null there as 0 or "", not as absent.
_OPEN_MAPS = frozenset(
    (
        "requests",
        "limits",
        "overhead",
        "allocatable",
        "capacity",
        "labels",
        "annotations",
        "matchLabels",
        "nodeSelector",
    )
)


def _refuse_null_entries(content: Any, place: _Place, path: str = "") -> None:
    """Refuse a null among labels or quantities: it is a slip, and would be guessed."""
    if isinstance(content, list):
        for index, item in enumerate(content):
            _refuse_null_entries(item, place, f"{path}[{index}]")
    elif isinstance(content, dict):
        is_open = path.rpartition(".")[2] in _OPEN_MAPS
        for key, item in content.items():
            inner = f"{path}.{key}" if path else key
            if is_open and item is None:
                raise ConfigError("no value", where=place.name(inner), fix="write a value")
            _refuse_null_entries(item, place, inner)


_GOT = {
    "str": str,
    "int": int,
    "float": msgspec.Raw,
    "bool": bool,
    "array": list,
    "object": dict,
}


def _found(content: object, error: ConfigError) -> tuple[str, object]:
    """The error's path with the keys it leaves open, and the value that stands there."""
    value: object = content
    path = ""
    got = re.search(r"got `(\w+)`", error.what)
    wrong = _GOT.get(got[1]) if got else None
    for part in re.findall(r"\[\.\.\.\]|\[[0-9]+\]|[^.\[\]]+", error.where):
        if part == "[...]" and isinstance(value, dict):
            key = next((key for key, item in value.items() if type(item) is wrong), None)
            if key is None:
                return error.where, error.value
            value, path = value[key], f"{path}.{key}"
        elif isinstance(value, list) and part[1:-1].isdigit() and int(part[1:-1]) < len(value):
            value, path = value[int(part[1:-1])], f"{path}{part}"
        elif isinstance(value, dict) and part in value:
            value, path = value[part], f"{path}.{part}"
        else:
            return error.where, error.value
    if error.value is not None:
        return path.removeprefix("."), error.value
    shown = bytes(value).decode() if isinstance(value, msgspec.Raw) else value
    return path.removeprefix("."), shown


def _check_unique(manifests: Iterable[Manifest]) -> None:
    """Refuse two objects of one kind, namespace and name."""
    seen: dict[tuple[str, str], str] = {}
    for item in manifests:
        identity = type(item.object).__name__, item.object.metadata.key
        if identity in seen:
            raise ConfigError(
                f"a second {identity[0]} of this name; the first is at {seen[identity]}",
                where=item.where,
                value=identity[1],
                fix="rename or remove one of them",
            )
        seen[identity] = item.where
