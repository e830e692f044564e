"""From a request to its answer: which verb it is, on what, and in which form it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from herz.world.apiserver.http import forms, protobuf
from herz.world.apiserver.http.lists import page
from herz.world.apiserver.http.parameters import (
    check_unknown,
    deletion_of,
    is_dry,
    json_of,
    list_options,
    object_of,
    revision_of,
    struct_of,
    truth,
)
from herz.world.apiserver.http.paths import Target
from herz.world.apiserver.http.watches import BOOKMARK_S, Stream, Watch
from herz.world.apiserver.objects.events import served
from herz.world.apiserver.objects.patches import json_patch, merge_patch, strategic_patch
from herz.world.apiserver.objects.schema import Type
from herz.world.apiserver.objects.selection import parse_selection
from herz.world.apiserver.refusal import (
    RefusedError,
    bad_request,
    not_allowed,
    not_done,
    too_large,
    unsupported_media,
)
from herz.world.apiserver.registry import Registry
from herz.world.apiserver.registry.deletion import delete
from herz.world.apiserver.registry.subresources import bind, evict, rescale, scale_of

Content = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read.

    Args:
        method: of HTTP.
        target: what the path names.
        query: its parameters, the first of each name.
        accept: the Accept header.
        media: the body's media type without parameters.
        body: as it came.
    """

    method: str
    target: Target
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = ""
    media: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back.

    Args:
        body: JSON; unused where there is a stream.
        code: of HTTP.
        warnings: for the client's user.
        media: the body's media type.
        stream: a watch's lines; None for a plain answer.
    """

    body: bytes = b""
    code: int = 200
    warnings: tuple[str, ...] = ()
    media: str = "application/json"
    stream: Stream | None = None


class Verbs:
    """Carries out requests.

    Args:
        registry: what acts on objects.
        bookmark_s: see `watches.BOOKMARK_S`.
    """

    def __init__(self, registry: Registry, *, bookmark_s: float = BOOKMARK_S) -> None:
        self._registry = registry
        self._bookmark_s = bookmark_s

    async def answer(self, asked: Asked) -> Answer:
        """Do what is asked.

        Raises:
            RefusedError: it is not done.
        """
        target = asked.target
        handlers: dict[str, Callable[[Asked], Awaitable[Answer]]] = {"GET": self._read}
        if target.part in ("binding", "eviction"):
            handlers = {"POST": self._bind if target.part == "binding" else self._evict}
        elif target.part == "scale":
            handlers = {"GET": self._scale, "PUT": self._rescale, "PATCH": self._rescale}
        elif target.part == "finalize":
            handlers = {"PUT": self._update}
        elif target.part == "status":
            handlers |= {"PUT": self._update, "PATCH": self._patch}
        elif target.name:
            handlers |= {"PUT": self._update, "PATCH": self._patch, "DELETE": self._delete}
        else:
            handlers |= {"DELETE": self._delete_all}
            if target.namespace or not target.kind.is_namespaced:
                handlers["POST"] = self._create
        handler = handlers.get(asked.method)
        if handler is None:
            raise not_allowed(asked.method)
        return await handler(asked)

    # ---- reading ----------------------------------------------------------------------------

    async def _read(self, asked: Asked) -> Answer:
        target, store = asked.target, self._registry.store
        shape = forms.shape_of(asked.accept, asked.query.get("includeObject", ""))
        is_watch = truth(asked.query, "watch")
        if target.name and not is_watch:
            asked_revision = revision_of(asked.query)
            if asked_revision is not None and asked_revision > store.revision:
                raise too_large(asked_revision, store.revision)
            found = self._registry.get(target.kind, target.namespace, target.name)
            return Answer(forms.version(target.kind, shape, found))
        fields = asked.query.get("fieldSelector", "")
        if target.name:
            fields = f"metadata.name={target.name}" + (f",{fields}" if fields else "")
        selection = parse_selection(target.kind, asked.query.get("labelSelector", ""), fields)
        options = list_options(asked.query)
        if is_watch:
            watch = Watch(target, selection, options, shape)
            stream = Stream(store, watch, bookmark_s=self._bookmark_s)
            stream.check()
            return Answer(stream=stream)
        items, metadata = page(store, target, selection, options)
        return Answer(forms.many(target.kind, shape, items, metadata))

    async def _scale(self, asked: Asked) -> Answer:
        target = asked.target
        found = self._registry.get(target.kind, target.namespace, target.name)
        return Answer(msgspec.json.encode(scale_of(target.kind, found.content)))

    # ---- writing ----------------------------------------------------------------------------

    async def _create(self, asked: Asked) -> Answer:
        target = asked.target
        content, unknown = object_of(
            target.kind, _body_of(asked, target.kind.schema), target.namespace
        )
        warnings = check_unknown(asked.query, unknown)
        dry = is_dry(asked.query)
        shape = forms.shape_of(asked.accept)
        made = await self._registry.create(target.kind, target.namespace, content, is_dry=dry)
        return _shown(target, shape, made, code=201, warnings=warnings)

    async def _update(self, asked: Asked) -> Answer:
        target = asked.target
        content, unknown = object_of(
            target.kind, _body_of(asked, target.kind.schema), target.namespace
        )
        warnings = check_unknown(asked.query, unknown)
        dry = is_dry(asked.query)
        shape = forms.shape_of(asked.accept)
        where = (target.kind, target.namespace, target.name)
        made = await self._registry.update(*where, content, subresource=target.part, is_dry=dry)
        return _shown(target, shape, made, warnings=warnings)

    async def _patch(self, asked: Asked) -> Answer:
        target, kind = asked.target, asked.target.kind
        apply = _patcher(asked)
        warnings: list[str] = []

        def patched(old: Content) -> Content:
            content, unknown = object_of(kind, apply(served(kind, old)), target.namespace)
            warnings.extend(check_unknown(asked.query, unknown))
            return content

        dry = is_dry(asked.query)
        shape = forms.shape_of(asked.accept)
        where = (kind, target.namespace, target.name)
        made = await self._registry.patch(*where, patched, subresource=target.part, is_dry=dry)
        return _shown(target, shape, made, warnings=warnings)

    async def _delete(self, asked: Asked) -> Answer:
        target = asked.target
        how = deletion_of(asked.query, _options(asked))
        shape = forms.shape_of(asked.accept)
        where = (target.kind, target.namespace, target.name)
        last, is_gone = await delete(self._registry, *where, how)
        if not is_gone or target.kind.name == "Pod":
            return _shown(target, shape, last)
        details = {"name": target.name, "group": target.kind.group, "kind": target.kind.resource}
        details = {name: value for name, value in details.items() if value}
        return Answer(_success({**details, "uid": last["metadata"]["uid"]}))

    async def _delete_all(self, asked: Asked) -> Answer:
        target = asked.target
        if target.kind.name == "Namespace" or (target.kind.is_namespaced and not target.namespace):
            raise not_allowed(asked.method)
        how = deletion_of(asked.query, _options(asked))
        selection = parse_selection(
            target.kind, asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", "")
        )
        store = self._registry.store
        found, metadata = page(store, target, selection, list_options(asked.query))
        jobs = [
            delete(self._registry, target.kind, item.key.namespace, item.key.name, how)
            for item in found
        ]
        for outcome in await asyncio.gather(*jobs, return_exceptions=True):
            # Not found: somebody was quicker, and it is gone as was wanted.
            is_gone = isinstance(outcome, RefusedError) and outcome.code == 404
            if isinstance(outcome, BaseException) and not is_gone:
                raise outcome
        return Answer(forms.many(target.kind, forms.Shape(), found, metadata))

    # ---- subresources -----------------------------------------------------------------------

    async def _bind(self, asked: Asked) -> Answer:
        target = asked.target
        binding = struct_of("Binding", _body_of(asked, "Binding"))
        metadata = binding["metadata"]
        name = target.name or metadata.get("name", "")
        if not name:
            raise bad_request("the binding names no pod")
        dry = is_dry(asked.query)
        await bind(self._registry, target.namespace, name, binding, is_dry=dry)
        return Answer(_success({}), 201)

    async def _evict(self, asked: Asked) -> Answer:
        target = asked.target
        eviction = struct_of("Eviction", _body_of(asked, "Eviction"))
        if eviction["metadata"].get("name", target.name) != target.name:
            raise bad_request("the eviction's name must be that of the pod")
        options = eviction.get("deleteOptions", {})
        how = deletion_of(asked.query, options)
        await evict(self._registry, target.namespace, target.name, how)
        return Answer(_success({}), 201)

    async def _rescale(self, asked: Asked) -> Answer:
        target, kind = asked.target, asked.target.kind
        old = self._registry.latest(kind, target.namespace, target.name)
        if asked.method == "PATCH":
            value = _patcher(asked, "Scale")(scale_of(kind, old.content))
        else:
            value = _body_of(asked, "Scale")
        scale = struct_of("Scale", value)
        dry = is_dry(asked.query)
        changed = await rescale(self._registry, kind, old, scale, is_dry=dry)
        return Answer(msgspec.json.encode(changed))


def _patcher(asked: Asked, schema: str = "") -> Callable[[Content], Any]:
    """The patch of the body, by its media type, as a function of what it changes.

    Raises:
        RefusedError: 400; 415 for a type that is not read; 501 for server-side apply.
    """
    accepted = [JSON_PATCH, MERGE_PATCH]
    name = schema or asked.target.kind.schema
    if name:
        accepted.append(STRATEGIC_PATCH)
    if asked.media.startswith("application/apply-patch"):
        raise not_done("server-side apply; use client-side apply (kubectl's default)")
    if asked.media not in accepted:
        raise unsupported_media(asked.media, accepted)
    patch = json_of(asked.body)
    if asked.media == JSON_PATCH:
        return lambda old: json_patch(old, patch)
    if not isinstance(patch, dict):
        raise bad_request("the body of the request must be one object")
    if asked.media == MERGE_PATCH:
        return lambda old: merge_patch(old, patch)
    return lambda old: strategic_patch(old, patch, Type(name))


def _options(asked: Asked) -> Content:
    """The DeleteOptions of the body; none in an empty one."""
    if not asked.body.strip():
        return {}
    return struct_of("DeleteOptions", _body_of(asked, "DeleteOptions"))


def _body_of(asked: Asked, schema: str) -> Any:
    """The body's value; JSON where no media type is named.

    Raises:
        RefusedError: 400; 415.
    """
    if asked.media in ("", forms.JSON):
        return json_of(asked.body)
    if asked.media == protobuf.MEDIA and schema:
        return protobuf.decode(asked.body, schema)
    raise unsupported_media(asked.media, [forms.JSON, protobuf.MEDIA] if schema else [forms.JSON])


def _shown(
    target: Target,
    shape: forms.Shape,
    content: Content,
    *,
    code: int = 200,
    warnings: list[str] | None = None,
) -> Answer:
    return Answer(forms.one(target.kind, shape, content), code, tuple(warnings or ()))


def _success(details: Content) -> bytes:
    status: Content = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return msgspec.json.encode({**status, "details": details} if details else status)
