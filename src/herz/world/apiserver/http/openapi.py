"""OpenAPI v3 of what is served: fields, types and merge keys, from the table of fields.

It has what clients compute with (validation on the server, merge keys, `kubectl explain`'s tree)
and no prose: a field's meaning is in Kubernetes' own documentation.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Any

import msgspec

from herz.world.apiserver.http.discovery import VERSION
from herz.world.apiserver.objects.kinds import KINDS, VERSIONS, Kind
from herz.world.apiserver.objects.schema import Type, types

Content = dict[str, Any]

_PRIMITIVES: dict[str, Content] = {
    "s": {"type": "string"},
    "y": {"type": "string", "format": "byte"},
    "i": {"type": "integer", "format": "int64"},
    "f": {"type": "number", "format": "double"},
    "b": {"type": "boolean"},
    "t": {"type": "string", "format": "date-time"},
    "q": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "x": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
    "o": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_QUERY = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    *("labelSelector", "fieldSelector", "resourceVersion", "resourceVersionMatch", "continue"),
    *("watch", "allowWatchBookmarks"),
)


@cache
def index() -> bytes:
    """The answer to `/openapi/v3`: where each group's document is."""
    paths = {}
    for group, version in sorted(VERSIONS.items()):
        path = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = sha256(document(group, version) or b"").hexdigest().upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return msgspec.json.encode({"paths": paths})


@cache
def document(group: str, version: str) -> bytes | None:
    """The document of one group; None where it is not served."""
    if VERSIONS.get(group) != version:
        return None
    kinds = [kind for kind in KINDS if kind.group == group]
    paths: Content = {}
    wanted = ["DeleteOptions", "Status", "Binding", "Eviction", "Scale"]
    for kind in kinds:
        paths |= _paths(kind)
        wanted.append(kind.schema or "ObjectMeta")
    schemas = _schemas([name for name in wanted if name in types()])
    for kind in kinds:
        names = {"group": kind.group, "version": kind.version, "kind": kind.name}
        own = {"metadata": _reference("ObjectMeta")}
        loose = {"type": "object", "properties": own, **_PRIMITIVES["o"]}
        schema = schemas.get(kind.schema) or loose
        schemas[kind.schema or kind.name] = {**schema, "x-kubernetes-group-version-kind": [names]}
    schemas["Status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    info = {"title": "Herz's embedded API server", "version": VERSION["gitVersion"]}
    found = {"openapi": "3.0.0", "info": info, "paths": paths}
    return msgspec.json.encode({**found, "components": {"schemas": schemas}})


def _paths(kind: Kind) -> Content:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = f"{root}/namespaces/{{namespace}}" if kind.is_namespaced else root
    names = [_parameter("namespace", "path")] if kind.is_namespaced else []
    found = {
        f"{inside}/{kind.resource}": {
            "parameters": names,
            "get": _operation(kind, "list", query=_LIST),
            "post": _operation(kind, "post", has_body=True, query=_QUERY),
            "delete": _operation(kind, "deletecollection", query=_LIST),
        },
        f"{inside}/{kind.resource}/{{name}}": {
            "parameters": [*names, _parameter("name", "path")],
            "get": _operation(kind, "get"),
            "put": _operation(kind, "put", has_body=True, query=_QUERY),
            "patch": _operation(kind, "patch", patches=_patches(kind), query=_QUERY),
            "delete": _operation(kind, "delete", query=("dryRun", "propagationPolicy")),
        },
    }
    if kind.is_namespaced:
        found[f"{root}/{kind.resource}"] = {"get": _operation(kind, "list", query=_LIST)}
    return found


def _patches(kind: Kind) -> tuple[str, ...]:
    return _PATCHES if kind.schema else _PATCHES[:2]


def _operation(
    kind: Kind,
    action: str,
    *,
    has_body: bool = False,
    patches: tuple[str, ...] = (),
    query: tuple[str, ...] = (),
) -> Content:
    names = {"group": kind.group, "version": kind.version, "kind": kind.name}
    own = _reference(kind.schema or kind.name)
    schema = own if has_body else {}
    media = {name: {"schema": schema} for name in patches or ("application/json",)}
    operation: Content = {
        "operationId": f"{action}{kind.name}{kind.group.title().replace('.', '')}",
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": names,
        "parameters": [_parameter(name, "query") for name in query],
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": own}}},
            "default": {"description": "a Status"},
        },
    }
    if action in ("list", "deletecollection"):
        operation["responses"]["200"] = {"description": "OK"}
    if has_body or patches:
        operation["requestBody"] = {"content": media, "required": True}
    return operation


def _parameter(name: str, place: str) -> Content:
    found: Content = {"name": name, "in": place, "schema": {"type": "string"}}
    return {**found, "required": True} if place == "path" else found


def _schemas(wanted: list[str]) -> Content:
    """The wanted types and all that they are made of."""
    table, found = types(), {}
    waiting = list(wanted)
    # Bound: each type of the table is taken once.
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        fields = table[name]
        found[name] = {
            "type": "object",
            "properties": {field: _schema(kind) for field, kind in fields.items()},
        }
        waiting += [inner for kind in fields.values() for inner in _structs(kind)]
    return dict(sorted(found.items()))


def _structs(kind: Type) -> list[str]:
    if kind.item is not None:
        return _structs(kind.item)
    return [kind.name] if kind.fields is not None else []


def _schema(kind: Type) -> Content:
    if kind.name == "{":
        assert kind.item is not None
        return {"type": "object", "additionalProperties": _schema(kind.item)}
    if kind.name == "[":
        assert kind.item is not None
        found: Content = {"type": "array", "items": _schema(kind.item)}
        if kind.merge_key is not None:
            found["x-kubernetes-patch-strategy"] = "merge" + (",retainKeys" * kind.is_retaining)
            if kind.merge_key:
                found["x-kubernetes-patch-merge-key"] = kind.merge_key
        return found
    if kind.fields is not None:
        strategy = {"x-kubernetes-patch-strategy": "retainKeys"} if kind.is_retaining else {}
        return {"allOf": [_reference(kind.name)], **strategy}
    return _PRIMITIVES[kind.name]


def _reference(name: str) -> Content:
    return {"$ref": f"#/components/schemas/{name}"}
