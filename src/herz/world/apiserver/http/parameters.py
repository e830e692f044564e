"""Query parameters and bodies as typed values; what is malformed becomes a 400."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from herz.errors import ConfigError
from herz.world.apiserver.objects.events import stored
from herz.world.apiserver.objects.kinds import Kind
from herz.world.apiserver.objects.rules import check_event
from herz.world.apiserver.objects.schema import Decimal, conform, plain
from herz.world.apiserver.refusal import RefusedError, bad_request, cause_of, invalid
from herz.world.apiserver.registry.deletion import Deletion

Content = dict[str, Any]

BODY_BYTES_MAX = 3 * 1024 * 1024
LIMIT_MAX = 2**31 - 1
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=Decimal)
_MATCHES = ("", "Exact", "NotOlderThan")


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a list or watch is asked for, beside its selectors.

    Args:
        revision: a resourceVersion; None where none is given.
        match: `Exact`, `NotOlderThan`, or empty.
        limit: objects a page; 0 for all.
        token: where the next page begins; empty for the first.
        timeout_s: when a watch ends; None for the server's choice.
        has_bookmarks: whether a watch wants them.
        sends_initial: whether a watch begins with what is there; None for the older rule.
    """

    revision: int | None
    match: str
    limit: int
    token: str
    timeout_s: int | None
    has_bookmarks: bool
    sends_initial: bool | None


def list_options(query: Mapping[str, str]) -> ListOptions:
    """The options of a query.

    Raises:
        RefusedError: 400 or 422.
    """
    match = query.get("resourceVersionMatch", "")
    if match not in _MATCHES:
        raise _forbidden("resourceVersionMatch", f'"{match[:40]}" is not known')
    revision = revision_of(query)
    token = query.get("continue", "")
    sends = truth(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    is_watch = truth(query, "watch")
    if match and revision is None and sends is None:
        raise _forbidden("resourceVersionMatch", "is forbidden unless resourceVersion is provided")
    if match and token:
        raise _forbidden("resourceVersionMatch", "is forbidden when continue is provided")
    if match == "Exact" and revision == 0:
        raise _forbidden("resourceVersionMatch", '"Exact" is forbidden for resourceVersion "0"')
    if match and is_watch and sends is None:
        raise _forbidden("resourceVersionMatch", "is forbidden for watch without sendInitialEvents")
    if sends is not None and (not is_watch or match != "NotOlderThan"):
        what = "needs watch, and resourceVersionMatch NotOlderThan"
        raise _forbidden("sendInitialEvents", what)
    return ListOptions(
        revision,
        match,
        number(query, "limit") or 0,
        token,
        number(query, "timeoutSeconds") or None,
        truth(query, "allowWatchBookmarks"),
        sends,
    )


def revision_of(query: Mapping[str, str]) -> int | None:
    """The resourceVersion of a query; None where there is none."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad_request(f"Invalid value for resourceVersion: {text[:40]!r}")
    return int(text)


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number that is not negative; None where there is none."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= LIMIT_MAX):
        raise bad_request(f"the parameter {name} must be a whole number, not {text[:40]!r}")
    return int(text)


def truth(query: Mapping[str, str], name: str) -> bool:
    """A truth value; a parameter without a value is true, as in Kubernetes."""
    if name not in query:
        return False
    text = query[name].lower()
    if text not in ("", "1", "0", "true", "false"):
        raise bad_request(f"the parameter {name} must be true or false, not {text[:40]!r}")
    return text in ("", "1", "true")


def is_dry(query: Mapping[str, str], body: Content | None = None) -> bool:
    """Whether nothing is to be changed."""
    given = [query["dryRun"]] if "dryRun" in query else []
    given += list((body or {}).get("dryRun", ()))
    if any(value not in ("All", "") for value in given):
        raise bad_request("dryRun: the only value is All")
    return "All" in given


def json_of(body: bytes) -> Any:
    """The body's value, with the numbers that are no integers as they were written.

    Raises:
        RefusedError: 400: it is no JSON.
    """
    try:
        value = _DECODER.decode(body)
        # What cannot be written again (a lone surrogate) must not come in.
        msgspec.json.encode(value, enc_hook=str)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise bad_request(f"the body of the request is no JSON: {str(error)[:120]}") from error
    return value


def object_of(kind: Kind, value: Any, namespace: str) -> tuple[Content, list[str]]:
    """The object of a body in its stored form, and the paths of fields that its kind has not.

    Args:
        kind: what it must be.
        value: the body.
        namespace: the request's.

    Raises:
        RefusedError: 400: it is of another kind, or a field has another type; 422: an event of
            a wrong form.
    """
    if not isinstance(value, dict):
        raise bad_request("the body of the request must be one object")
    for name, wanted in (("kind", kind.name), ("apiVersion", kind.api_version)):
        if value.get(name) not in (None, "", wanted):
            raise bad_request(
                f"the {name} in the data ({str(value[name])[:60]}) "
                f"does not match the expected one ({wanted})"
            )
    content, unknown = _conformed(kind, value)
    content.setdefault("metadata", {})
    if kind.stored == "events":
        try:
            check_event(kind, content, namespace)
        except ConfigError as error:
            name = content["metadata"].get("name", "")
            raise invalid(kind.name, kind.group, name, [cause_of(error)]) from error
    return stored(kind, content), unknown


def struct_of(type_name: str, value: Any) -> Content:
    """A body that is no object of a kind: a Binding, an Eviction, a Scale, DeleteOptions.

    Raises:
        RefusedError: 400.
    """
    if not isinstance(value, dict):
        raise bad_request("the body of the request must be one object")
    if value.get("kind") not in (None, "", type_name):
        raise bad_request(
            f"the kind in the data must be {type_name}, not {str(value['kind'])[:60]}"
        )
    try:
        content, _ = conform(type_name, value)
    except ConfigError as error:
        raise bad_request(
            f"the object cannot be handled as a {type_name}: {error.message}"
        ) from error
    if type_name != "DeleteOptions":
        content.setdefault("metadata", {})
    return content


def check_unknown(query: Mapping[str, str], unknown: list[str]) -> list[str]:
    """What to warn of, by the request's fieldValidation.

    Raises:
        RefusedError: 400: strict, and there are fields that the kind has not.
    """
    how = query.get("fieldValidation", "") or "Warn"
    if how not in ("Ignore", "Warn", "Strict"):
        raise bad_request(f"fieldValidation must be Ignore, Warn or Strict, not {how[:40]!r}")
    texts = [f'unknown field "{path}"' for path in unknown[:20]]
    if texts and how == "Strict":
        raise bad_request(f"strict decoding error: {', '.join(texts)}")
    return texts if how == "Warn" else []


def deletion_of(query: Mapping[str, str], body: Content) -> Deletion:
    """How something is to be deleted, by query and body.

    Raises:
        RefusedError: 400.
    """
    grace_s = body.get("gracePeriodSeconds")
    if grace_s is None:
        grace_s = number(query, "gracePeriodSeconds")
    policy = body.get("propagationPolicy") or query.get("propagationPolicy", "")
    orphans = body.get("orphanDependents")
    if orphans is None and "orphanDependents" in query:
        orphans = truth(query, "orphanDependents")
    if orphans is not None:
        if policy:
            raise bad_request("orphanDependents and propagationPolicy cannot both be set")
        policy = "Orphan" if orphans else "Background"
    wanted = body.get("preconditions", {})
    return Deletion(
        grace_s,
        policy,
        wanted.get("uid", ""),
        wanted.get("resourceVersion", ""),
        is_dry(query, body),
    )


def _conformed(kind: Kind, value: Content) -> tuple[Content, list[str]]:
    try:
        if kind.schema:
            return conform(kind.schema, value)
        content = plain({name: item for name, item in value.items() if name != "metadata"})
        metadata = value.get("metadata")
        meta, unknown = conform("ObjectMeta", {} if metadata is None else metadata)
    except ConfigError as error:
        raise bad_request(
            f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: '
            f"{error.message}"
        ) from error
    return {**content, "metadata": meta}, [f"metadata.{path}" for path in unknown]


def _forbidden(field: str, why: str) -> RefusedError:
    cause = {
        "reason": "FieldValueForbidden",
        "field": field,
        "message": f"Forbidden: {field} {why}",
    }
    return invalid("ListOptions", "meta.k8s.io", "", [cause])
