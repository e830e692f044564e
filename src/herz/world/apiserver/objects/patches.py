"""The three patches: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

A patch is applied to a copy; the document that is given may be changed in place and is then no
longer of use. Whether the result is an object of its kind is somebody else's question.

Source: the RFCs; apimachinery `strategicpatch` (facts), merge keys in `schema.txt`.
"""

from __future__ import annotations

from typing import Any

from herz.world.apiserver.objects.schema import DEPTH_MAX, Type
from herz.world.apiserver.refusal import RefusedError, bad_request

OPERATIONS_MAX = 10_000
"""Bound: steps of one JSON patch, as in Kubernetes."""
_RETAIN = "$retainKeys"
_DIRECTIVE = "$patch"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"

Document = dict[str, Any]


def merge_patch(document: Any, patch: Any, depth: int = 0) -> Any:
    """The document with the patch's members; a null takes a member away."""
    _check_depth(depth)
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value, depth + 1)
    return result


# ---- JSON patch -----------------------------------------------------------------------------


def json_patch(document: Any, steps: Any) -> Any:
    """The document after all steps.

    Raises:
        RefusedError: 400: it is no patch; 422: a step or a test fails.
    """
    if not isinstance(steps, list):
        raise bad_request("a JSON patch is a list of operations")
    if len(steps) > OPERATIONS_MAX:
        raise RefusedError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(steps)}",
        )
    for step in steps:
        document = _step(document, step)
    return document


def _step(document: Any, step: Any) -> Any:
    if not isinstance(step, dict):
        raise bad_request("an operation of a JSON patch is an object")
    operation = step.get("op")
    path = _pointer(step.get("path"))
    if operation == "remove":
        return _removed(document, path)[0]
    if operation == "test":
        if "value" not in step:
            raise bad_request("the operation test needs a value")
        if not _equal(_found(document, path), step["value"]):
            raise _failed(f"testing value {step.get('path')} failed")
        return document
    if operation in ("add", "replace"):
        if "value" not in step:
            raise bad_request(f"the operation {operation} needs a value")
        if operation == "replace":
            if not path:
                return step["value"]
            document = _removed(document, path)[0]
        return _added(document, path, step["value"])
    if operation in ("move", "copy"):
        source = _pointer(step.get("from"))
        if operation == "copy":
            return _added(document, path, _found(document, source))
        if path[: len(source)] == source and path != source:
            raise _failed("a value cannot be moved into itself")
        document, value = _removed(document, source)
        return _added(document, path, value)
    raise bad_request(f"unknown operation of a JSON patch: {str(operation)[:40]!r}")


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request("a path of a JSON patch is a text that begins with a slash")
    parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]
    _check_depth(len(parts))
    return parts


def _found(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1)]
        else:
            raise _failed(f"the path /{'/'.join(path)} does not exist")
    return document


def _added(document: Any, path: list[str], value: Any) -> Any:
    """The document with the value there; what lies on the way is copied, never shared."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(document, dict):
        if rest and part not in document:
            raise _failed(f"the member {part!r} does not exist")
        return {**document, part: _added(document.get(part), rest, value)}
    if isinstance(document, list):
        if not rest:
            at = len(document) if part == "-" else _index(part, len(document))
            return [*document[:at], value, *document[at:]]
        at = _index(part, len(document) - 1)
        return [*document[:at], _added(document[at], rest, value), *document[at + 1 :]]
    raise _failed(f"nothing can be added below {part!r}")


def _removed(document: Any, path: list[str]) -> tuple[Any, Any]:
    """The document without what is there, and that."""
    if not path:
        raise _failed("the whole document cannot be removed")
    part, rest = path[0], path[1:]
    if isinstance(document, dict) and part in document:
        if not rest:
            return {key: item for key, item in document.items() if key != part}, document[part]
        inner, value = _removed(document[part], rest)
        return {**document, part: inner}, value
    if isinstance(document, list):
        at = _index(part, len(document) - 1)
        if not rest:
            return [*document[:at], *document[at + 1 :]], document[at]
        inner, value = _removed(document[at], rest)
        return [*document[:at], inner, *document[at + 1 :]], value
    raise _failed(f"the member {part!r} does not exist")


def _index(part: str, last: int) -> int:
    is_index = (
        part.isascii() and part.isdigit() and len(part) < 10 and (part == "0" or part[0] != "0")
    )
    if not is_index or int(part) > last:
        raise _failed(f"{part[:40]!r} is no index of the list")
    return int(part)


def _equal(one: Any, other: Any) -> bool:
    """JSON's equality: 1 is not true."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _failed(why: str) -> RefusedError:
    return RefusedError(
        422, "Invalid", f"the server rejected our request due to an error in our request: {why}"
    )


# ---- strategic merge patch ------------------------------------------------------------------


def strategic_patch(document: Document, patch: Any, kind: Type) -> Document:
    """The document with the patch merged in; lists by their merge keys.

    Raises:
        RefusedError: 400: the patch is none, or a directive of it is malformed.
    """
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch is an object")
    return _merged(document, patch, kind, 0)


def _merged(document: Document, patch: Document, kind: Type, depth: int) -> Document:
    _check_depth(depth)
    directive = patch.get(_DIRECTIVE)
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown directive $patch: {str(directive)[:40]!r}")
    result = dict(document)
    retained = patch.get(_RETAIN)
    if retained is not None:
        wanted = _texts(retained, _RETAIN)
        result = {key: value for key, value in result.items() if key in wanted}
    fields = kind.fields or {}
    for key, value in patch.items():
        if key in (_DIRECTIVE, _RETAIN) or key.startswith((_ORDER, _DELETE)):
            continue
        if value is None:
            result.pop(key, None)
            continue
        inner = kind.item if kind.name == "{" else fields.get(key)
        order = patch.get(_ORDER + key)
        result[key] = _member(result.get(key), value, inner or Type("o"), order, depth)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            unwanted = _texts(value, key)
            if isinstance(result.get(name), list):
                result[name] = [item for item in result[name] if item not in unwanted]
        elif key.startswith(_ORDER) and key.removeprefix(_ORDER) not in patch:
            name = key.removeprefix(_ORDER)
            inner = fields.get(name)
            if isinstance(result.get(name), list) and inner is not None:
                result[name] = _ordered(result[name], value, inner.merge_key or "", result[name])
    return result


def _member(old: Any, new: Any, kind: Type, order: Any, depth: int) -> Any:
    if isinstance(new, dict):
        return _merged(old if isinstance(old, dict) else {}, new, kind, depth + 1)
    if not isinstance(new, list) or kind.merge_key is None or kind.item is None:
        return new
    existing = old if isinstance(old, list) else []
    if kind.merge_key == "":
        merged = existing + [item for item in new if item not in existing]
    else:
        merged = _merged_items(existing, new, kind, depth)
    return merged if order is None else _ordered(merged, order, kind.merge_key, existing)


def _merged_items(existing: list[Any], new: list[Any], kind: Type, depth: int) -> list[Any]:
    """Items with one key are merged, others added, those marked deleted taken away."""
    key, item_type = kind.merge_key or "", kind.item or Type("o")
    result = list(existing)
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in new):
        return [item for item in new if isinstance(item, dict) and _DIRECTIVE not in item]
    for item in new:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {str(item)[:80]} does not contain declared merge key: {key}")
        places = [at for at, one in enumerate(result) if _key(one, key) == item[key]]
        if item.get(_DIRECTIVE) == "delete":
            result = [one for at, one in enumerate(result) if at not in places]
        elif places:
            result[places[0]] = _merged(result[places[0]], item, item_type, depth + 1)
        else:
            result.append(_merged({}, item, item_type, depth + 1))
    return result


def _ordered(items: list[Any], order: Any, key: str, before: list[Any]) -> list[Any]:
    """The items that the order names in its order; the others before what they stood before."""
    if not isinstance(order, list):
        raise bad_request("a $setElementOrder directive is a list")
    wanted = [_key(item, key) if key else item for item in order]
    keyed = [(_key(item, key) if key else item, item) for item in items]
    named = sorted(
        (pair for pair in keyed if pair[0] in wanted), key=lambda pair: wanted.index(pair[0])
    )
    others = [pair for pair in keyed if pair[0] not in wanted]
    places = [_key(item, key) if key else item for item in before]
    result: list[Any] = []
    for name, item in named:
        while others and name in places and others[0][0] in places:
            if places.index(others[0][0]) > places.index(name):
                break
            result.append(others.pop(0)[1])
        result.append(item)
    return result + [item for _, item in others]


def _key(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def _texts(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad_request(f"the directive {name} is a list")
    return value


def _check_depth(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise bad_request(f"the patch is nested more than {DEPTH_MAX} levels deep")
