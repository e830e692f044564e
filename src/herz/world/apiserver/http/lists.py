"""Lists: at a revision, selected, page by page from one and the same revision."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec

from herz.world.apiserver.http.parameters import ListOptions
from herz.world.apiserver.http.paths import Target
from herz.world.apiserver.objects.selection import Selection
from herz.world.apiserver.refusal import RefusedError, bad_request, too_large
from herz.world.apiserver.store import Key, Store, Version


class _Token(msgspec.Struct, frozen=True):
    """Where the next page begins: after this key, in the state of this revision."""

    revision: int
    namespace: str
    name: str


_TOKEN = msgspec.json.Decoder(_Token)


def page(
    store: Store, target: Target, selection: Selection, options: ListOptions
) -> tuple[list[Version], dict[str, Any]]:
    """The objects of one page, and the list's metadata.

    Raises:
        RefusedError: 400; 410: the revision or the token is too old; 504: the revision is to come.
    """
    token = _parsed(options.token) if options.token else None
    revision = _revision(store, options) if token is None else token.revision
    if token is not None and revision < store.compacted:
        message = (
            "The provided continue parameter is too old to display a consistent list result. "
            "You must start a new list without the continue parameter."
        )
        raise RefusedError(410, "Expired", message)
    found = _candidates(store, target, selection, revision)
    if token is not None:
        last = (token.namespace, token.name)
        found = [item for item in found if item.key[1:] > last]
    if not selection.is_everything:
        found = [item for item in found if selection.matches(item.content)]
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if options.limit and len(found) > options.limit:
        rest = len(found) - options.limit
        found = found[: options.limit]
        metadata["continue"] = _written(_Token(revision, *found[-1].key[1:]))
        if selection.is_everything:
            metadata["remainingItemCount"] = rest
    return found, metadata


def _revision(store: Store, options: ListOptions) -> int:
    """At which revision: the newest, unless exactly an older one is wanted."""
    asked = options.revision
    if asked is None or asked == 0:
        return store.revision
    is_exact = options.match == "Exact" or (not options.match and options.limit > 0)
    if is_exact:
        store.check(asked)
        return asked
    if asked > store.revision:
        raise too_large(asked, store.revision)
    return store.revision


def _candidates(store: Store, target: Target, selection: Selection, revision: int) -> list[Version]:
    stored = target.kind.stored
    is_one = selection.name and (target.namespace or not target.kind.is_namespaced)
    if is_one and revision == store.revision:
        one = store.get(Key(stored, target.namespace, selection.name))
        return [] if one is None else [one]
    return store.items(stored, target.namespace, at=revision)


def _written(token: _Token) -> str:
    return urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _parsed(text: str) -> _Token:
    try:
        raw = text.encode("ascii")
        token = _TOKEN.decode(urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)))
    except (ValueError, msgspec.MsgspecError) as error:
        raise bad_request("continue key is not valid") from error
    if token.revision < 0:
        raise bad_request("continue key is not valid")
    return token
