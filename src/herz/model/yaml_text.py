"""JSON and YAML text to plain values, exactly as Kubernetes' YAML 1.1 reads them, or refused.

What comes in is the bytes of a manifest, what goes out is documents of dicts, lists, texts and
numbers. A number that isn't whole stays its text (`msgspec.Raw`, a JSON number), never a float, so
that a quantity is exact; and where PyYAML and Kubernetes read a text differently, Kubernetes wins:
"1:30" is a text, 0644 and 0x10 are numbers, y and n are booleans.

Source: go.yaml.in/yaml/v2 resolve.go (facts).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from herz.errors import ConfigError

# Bounds on what one input may make us build. Anchors could otherwise turn a few lines into
# gigabytes; the largest objects of a cluster are far below all of them.
BYTES_MAX = 256 * 1024 * 1024
DEPTH_MAX = 100
ALIASED_VALUES_MAX = 100_000

_PLAIN = "!plain"
_STANDARD = "tag:yaml.org,2002:"
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DATE = re.compile(r"[0-9]{4}-[0-9]")
_INTEGER = re.compile(r"([-+]?)(?:(0|[1-9][0-9]*)|0[oO]?([0-7]+)|0[xX]([0-9a-fA-F]+)|0[bB]([01]+))")
_DECIMAL = re.compile(r"([-+]?)(?:(\.[0-9]+)|([0-9]+)(\.[0-9]*)?)(?:[eE]([-+]?[0-9]+))?")
_HALF = re.compile(r"\\u[dD][89a-fA-F]|\\U0000[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Below these, what is nested is composed safely: some hundred levels.
_OPENINGS_SAFE = 500
_INDENTED = re.compile(r"^[ \t?:-]{200}", re.MULTILINE)
_NUMBER_STARTS = frozenset("+-.0123456789")

_LoaderBase: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_LoaderBase):  # type: ignore[misc]  # the base is chosen at run time
    """Composes nodes only; what a plain text means is decided here, not by PyYAML."""

    yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(r""))]}  # noqa: RUF012


@dataclass(frozen=True, slots=True)
class Document:
    """One document of an input.

    Args:
        value: its content; None where the document is empty.
        number: its place in the input, from 1.
        root: its YAML nodes, which know their lines; None for JSON.
    """

    value: Any
    number: int
    root: yaml.Node | None = None

    def line(self, path: str) -> int | None:
        """The line, from 1, of the deepest node on a path such as "spec.containers[0].name"."""
        node, rest = self.root, path
        if node is None:
            return None
        # Bound: every round takes a part of the path.
        while rest:
            step = _step(node, rest)
            if step is None:
                break
            node, rest = step
        return int(node.start_mark.line) + 1


def documents(data: bytes, *, source: str = "<input>") -> Iterator[Document]:
    """The non-empty documents of an input. One that starts with "{" or "[" is JSON.

    Raises:
        ConfigError: no JSON or YAML, a key twice, an unknown tag, or beyond a bound.
    """
    if len(data) > BYTES_MAX:
        fix = "split it"
        raise ConfigError(f"the input is larger than {BYTES_MAX} bytes", where=source, fix=fix)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("the input isn't UTF-8", where=source, fix="re-encode it") from error
    read = _json_documents if text.lstrip()[:1] in ("{", "[") else _yaml_documents
    is_suspect = _HALF.search(text) is not None
    for document in read(text, source):
        if document.value is None:
            continue
        if is_suspect:
            _refuse_halves(document, source)
        yield document


def _refuse_halves(document: Document, source: str) -> None:
    """Refuse half of a surrogate pair, which an escape can write and UTF-8 cannot."""
    try:
        msgspec.json.encode(document.value)
    except UnicodeEncodeError as error:
        where = f"{source} (document {document.number})"
        fix = "write the character itself, or both halves of its escape"
        raise ConfigError("half of a character", where=where, fix=fix) from error


def _json_documents(text: str, source: str) -> Iterator[Document]:
    """JSON values one after another."""
    reader = json.JSONDecoder(
        parse_float=_raw, parse_constant=_refused_constant, object_pairs_hook=_unique_pairs
    )
    position, number = 0, 0
    while True:
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        if position == len(text):
            return
        number += 1
        try:
            value, position = reader.raw_decode(text, position)
        except json.JSONDecodeError as error:
            where = f"{source}:{error.lineno}"
            fix = "correct the JSON"
            raise ConfigError(f"not JSON: {error.msg}", where=where, fix=fix) from error
        except RecursionError as error:
            raise ConfigError("nested too deeply", where=source, fix="flatten it") from error
        except ConfigError as error:
            raise error.at(f"{source} (document {number})") from error
        yield Document(value, number)


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _refused_constant(text: str) -> object:
    raise ConfigError("not a JSON number", value=text, fix="write a finite number")


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ConfigError("a key stands twice in one object", value=twice, fix="remove one")
    return content


def _yaml_documents(text: str, source: str) -> Iterator[Document]:
    try:
        refuse_depth(text, source)
        # The stub has no None, but an empty document gives one.
        roots: list[yaml.Node | None] = [*yaml.compose_all(text, Loader=_Loader)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}" if mark else source
        problem = error.problem or error.context or "unreadable"
        raise ConfigError(f"not YAML: {problem}", where=where, fix="correct the YAML") from error
    except ConfigError:
        raise
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        # Without libyaml an escape beyond Unicode is an error of Python's.
        raise ConfigError(f"not YAML: {error}", where=source, fix="correct the YAML") from error
    for index, root in enumerate(roots, start=1):
        value = None if root is None else _Builder(source).build(root)
        yield Document(value, index, root)


def refuse_depth(text: str, source: str) -> None:
    """Refuse what is nested too deeply before it is composed: libyaml's composer would overflow.

    Its composer recurses in C, without a limit; its parser does not. Few texts are parsed twice:
    those that have openings enough, or a line that begins with so many blanks and marks.

    Raises:
        ConfigError: it is.
        yaml.YAMLError: it is no YAML.
    """
    if text.count("[") + text.count("{") <= _OPENINGS_SAFE and not _INDENTED.search(text):
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            where = f"{source}:{event.start_mark.line + 1}" if event.start_mark else source
            raise ConfigError("nested too deeply", where=where, fix="flatten it")


def refuse_surrogates(text: str, source: str) -> None:
    """Refuse what an escape can write and UTF-8 cannot, before it is read into anything.

    Raises:
        ConfigError: there is such a character.
        yaml.YAMLError: it is no YAML.
    """
    if _HALF.search(text) is None:
        return
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.ScalarEvent) and _SURROGATE.search(event.value):
            where = f"{source}:{event.start_mark.line + 1}" if event.start_mark else source
            raise ConfigError("half of a character", where=where, fix="write the character itself")


class _Builder:
    """Makes plain values of the nodes of one document, counting what aliases repeat."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._seen: set[int] = set()
        self._aliased = 0
        self._alias_depth = 0

    def build(self, node: yaml.Node, depth: int = 0) -> Any:
        if depth > DEPTH_MAX:
            raise self._error("nested too deeply, or an anchor contains itself", node)
        is_alias = id(node) in self._seen
        self._seen.add(id(node))
        self._alias_depth += is_alias
        if self._alias_depth:
            # Bound: ALIASED_VALUES_MAX values that come from aliases.
            self._aliased += 1
            if self._aliased > ALIASED_VALUES_MAX:
                raise self._error("aliases repeat too many values", node, fix="write them out")
        try:
            return self._content(node, depth)
        finally:
            self._alias_depth -= is_alias

    def _content(self, node: yaml.Node, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._check_tag(node, "map" if isinstance(node, yaml.MappingNode) else "seq")
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, depth + 1) for item in node.value]
        content: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merged = {**self._merged(value_node, depth + 1), **merged}
                continue
            key = self._key(key_node)
            if key in content:
                raise self._error("a key stands twice in one mapping", key_node, value=key)
            content[key] = self.build(value_node, depth + 1)
        return {**merged, **content} if merged else content

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        """What `<<: node` brings: a mapping, or a list of them, the first of which wins."""
        content = self.build(node, depth)
        parts = content if isinstance(content, list) else [content]
        merged: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, dict):
                raise self._error("'<<' merges mappings only", node)
            merged = {**part, **merged}
        return merged

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            key = self._scalar(node)
            if isinstance(key, str):
                return key
            raise self._error("a key must be a text", node, node.value, fix="put it in quotes")
        raise self._error("a key must be a text", node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text, tag = node.value, node.tag
        if tag == _PLAIN:
            return self._plain(node)
        if tag == f"{_STANDARD}str":
            return text
        wanted = {
            "int": (int,),
            "float": (int, msgspec.Raw),
            "bool": (bool,),
            "null": (type(None),),
        }
        types = wanted.get(tag.removeprefix(_STANDARD))
        value = self._plain(node) if types else None
        if types is None or type(value) not in types:
            raise self._error("the text doesn't fit its tag", node, f"{tag} {text}")
        return value

    def _plain(self, node: yaml.ScalarNode) -> Any:
        value = plain_scalar(node.value)
        if value is NotImplemented:
            raise self._error("not a finite number", node, node.value, fix="write a finite number")
        return value

    def _check_tag(self, node: yaml.Node, kind: str) -> None:
        # A wildcard resolver tags scalars only; collections keep the default or their own tag.
        if node.tag != f"{_STANDARD}{kind}":
            raise self._error("unknown YAML tag", node, node.tag, fix="remove the tag")

    def _error(
        self, what: str, node: yaml.Node, value: object = None, fix: str = "correct the YAML"
    ) -> ConfigError:
        where = f"{self._source}:{node.start_mark.line + 1}"
        return ConfigError(what, where=where, value=value, fix=fix)


def plain_scalar(text: str) -> Any:
    """What an unquoted YAML text means to Kubernetes.

    Returns:
        None, a bool, an int, a number's JSON text (`msgspec.Raw`) or the text itself;
        NotImplemented for an infinity or a NaN, which JSON can't hold.
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] not in _NUMBER_STARTS or _DATE.match(text):
        return text
    if _NOT_FINITE.fullmatch(text):
        return NotImplemented
    digits = text if text[0] == "." else text.replace("_", "")
    if found := _INTEGER.fullmatch(digits):
        return _integer(found)
    if found := _DECIMAL.fullmatch(digits):
        return _decimal(found)
    return text


def _integer(found: re.Match[str]) -> Any:
    sign, decimal, octal, hexadecimal, binary = found.groups()
    if decimal is not None:
        number = msgspec.Raw(decimal.encode()) if len(decimal) > 18 else int(decimal)
        if isinstance(number, msgspec.Raw):
            return msgspec.Raw(f"{sign.rstrip('+')}{decimal}".encode())
    elif octal is not None:
        number = int(octal, 8)
    elif hexadecimal is not None:
        number = int(hexadecimal, 16)
    else:
        number = int(binary, 2)
    return -number if sign == "-" else number


def _decimal(found: re.Match[str]) -> msgspec.Raw:
    """The same number as a JSON number: a digit before the point and one after it."""
    sign, bare_fraction, whole, fraction, exponent = found.groups()
    digits = (whole or "0").lstrip("0") or "0"
    text = sign.rstrip("+") + digits
    tail = bare_fraction or fraction or ""
    if len(tail) > 1:
        text += tail
    return msgspec.Raw((text + (f"e{exponent}" if exponent else "")).encode())


def _is_merge(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _PLAIN and node.value == "<<"


def _step(node: yaml.Node, rest: str) -> tuple[yaml.Node, str] | None:
    """The child that the path's first part names, and the rest of the path; None at its end."""
    if isinstance(node, yaml.SequenceNode):
        found = re.match(r"\[([0-9]+)\]\.?", rest)
        if found and int(found[1]) < len(node.value):
            return node.value[int(found[1])], rest[found.end() :]
        return None
    best: tuple[yaml.Node, str] | None = None
    if isinstance(node, yaml.MappingNode):
        # Keys may contain points ("example.com/gpu"): the longest that fits is meant.
        for key, value in node.value:
            name = key.value
            if isinstance(name, str) and re.match(rf"{re.escape(name)}(\.|\[|$)", rest):
                tail = rest[len(name) :].removeprefix(".")
                if best is None or len(tail) < len(best[1]):
                    best = value, tail
    return best
