"""The form of an answer: the object itself, a Table, or its metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from herz.world.apiserver.objects.events import served
from herz.world.apiserver.objects.kinds import EVENTS_GROUP, Kind
from herz.world.apiserver.objects.tables import columns_of, row_of
from herz.world.apiserver.refusal import RefusedError
from herz.world.apiserver.store import Version

Content = dict[str, Any]

JSON = "application/json"
META = "meta.k8s.io/v1"
ACCEPT_LENGTH_MAX = 2048


class Form(Enum):
    """What objects are shown as."""

    OBJECT = "object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Shape:
    """The form, and for Tables how much of each object goes with its row.

    Args:
        form: of the answer.
        included: `Metadata`, `Object` or `None`.
    """

    form: Form = Form.OBJECT
    included: str = "Metadata"


def media_types(accept: str) -> list[tuple[str, dict[str, str]]]:
    """The media types of an Accept header in order, with their parameters."""
    found = []
    for item in accept[:ACCEPT_LENGTH_MAX].split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        pairs = dict(part.split("=", 1) for part in rest if "=" in part)
        found.append((name.lower(), pairs))
    return found


def shape_of(accept: str, included: str = "") -> Shape:
    """The first form of the header that can be given.

    Raises:
        RefusedError: 406: none can.
    """
    if included not in ("", "None", "Metadata", "Object"):
        raise RefusedError(400, "BadRequest", "includeObject must be None, Metadata or Object")
    for name, pairs in media_types(accept or JSON):
        if name not in (JSON, "*/*", "application/*"):
            continue
        wanted = pairs.get("as", "")
        if not wanted:
            return Shape()
        if pairs.get("g") != "meta.k8s.io" or pairs.get("v") not in ("v1", None):
            continue
        if wanted == "Table":
            return Shape(Form.TABLE, included or "Metadata")
        if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Shape(Form.METADATA)
    raise not_acceptable(JSON)


def not_acceptable(*types: str) -> RefusedError:
    """406: the answer exists in other forms only."""
    message = f"only the following media types are accepted: {', '.join(types)}"
    return RefusedError(406, "NotAcceptable", message)


def one(kind: Kind, shape: Shape, content: Content, *, has_columns: bool = True) -> bytes:
    """One object as an answer, or in a watch."""
    if shape.form is Form.OBJECT:
        return msgspec.json.encode(served(kind, content))
    if shape.form is Form.METADATA:
        return msgspec.json.encode(_metadata(content))
    revision = content["metadata"].get("resourceVersion", "")
    table = _table(kind, shape, [content], {"resourceVersion": revision})
    if not has_columns:
        table["columnDefinitions"] = None
    return msgspec.json.encode(table)


def version(kind: Kind, shape: Shape, found: Version) -> bytes:
    """The same for what is stored, where it can go out as it lies there."""
    if shape.form is Form.OBJECT and kind.group != EVENTS_GROUP:
        return found.data
    return one(kind, shape, found.content)


def many(kind: Kind, shape: Shape, found: list[Version], metadata: Content) -> bytes:
    """A list."""
    if shape.form is Form.TABLE:
        contents = [item.content for item in found]
        return msgspec.json.encode(_table(kind, shape, contents, metadata))
    name, api_version = f"{kind.name}List", kind.api_version
    if shape.form is Form.METADATA:
        name, api_version = "PartialObjectMetadataList", META
    head = msgspec.json.encode({"kind": name, "apiVersion": api_version, "metadata": metadata})
    items = b",".join([version(kind, shape, item) for item in found])
    return head[:-1] + b',"items":[' + items + b"]}"


def bookmark(kind: Kind, shape: Shape, revision: int, annotations: Content) -> bytes:
    """The object of a bookmark: a revision, in the watch's form."""
    metadata: Content = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    if shape.form is Form.TABLE:
        table = _table(kind, shape, [], {"resourceVersion": str(revision)})
        if annotations:
            table["metadata"]["annotations"] = annotations
        return msgspec.json.encode({**table, "columnDefinitions": None})
    names = (META, "PartialObjectMetadata")
    if shape.form is Form.OBJECT:
        names = (kind.api_version, kind.name)
    head = {"kind": names[1], "apiVersion": names[0]}
    return msgspec.json.encode({**head, "metadata": metadata})


def _metadata(content: Content) -> Content:
    head = {"kind": "PartialObjectMetadata", "apiVersion": META}
    return {**head, "metadata": content["metadata"]}


def _table(kind: Kind, shape: Shape, contents: list[Content], metadata: Content) -> Content:
    rows = []
    for content in contents:
        row: Content = {"cells": row_of(kind, content)}
        if shape.included == "Metadata":
            row["object"] = _metadata(content)
        elif shape.included == "Object":
            row["object"] = served(kind, content)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": META,
        "metadata": metadata,
        "columnDefinitions": [column.definition for column in columns_of(kind)],
        "rows": rows,
    }
