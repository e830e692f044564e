"""Mutations that keep an input readable: of JSON's tree, of lines, of HTTP, of journal frames.

libFuzzer's own mutations know bytes; most of what they make is refused at the first check (a
checksum, a spelling, a brace). These change what is meant and spell it right again.
"""

from __future__ import annotations

import base64
import binascii
import json
import random
import re
import tomllib
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import yaml

from herz.commit.audit import entry
from herz.errors import AuditError
from herz.model.journal import LEAF_BYTES, SALT_BYTES, Batch, Kind, Sealed
from herz.world.store import frames
from tests.fuzz import witnessed
from tests.fuzz.bases import Bases
from tests.fuzz.fields import Fields
from tests.fuzz.toml_text import toml_of
from tests.fuzz.words import kinds, words

Bytes = Callable[[bytes], bytes]
"""libFuzzer's own mutation."""
NASTY: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 63, 80, 65_535, 65_536, 2**31, 2**32, 2**53 + 1, 2**63 - 1),
    *(2**63, 2**64, -(2**63) - 1, 10**25, 0.5, 1e300, "", "0", "a", "-1", "1e9", "100m", "1Gi"),
    *(
        "0.1n",
        "12Ei",
        "a" * 64,
        "a" * 254,
        "\u00e9",
        "\ud83d\ude00",
        "\0",
        " ",
        "a/b",
        "../..",
        "50%",
    ),
    *("2006-01-02T15:04:05Z", "10m", "1h", [], {}, [[]], {"a": {}}, [None], {"": ""}, ["a", "a"]),
)
YAML: Final = ("manifests", "configuration")
TOML: Final = ("configuration", "scenarios")
"""Surfaces whose text may be YAML, and TOML."""
PREFIXED: Final = ("selectors", "journals", "proofs", "watches", "requests", "servers")
"""Surfaces whose first byte says who reads the rest."""
FITTING: Final = 0.5
"""Share of changes by which an object gets what its type knows, where types are known."""
WILD: Final = {
    "manifests": 0.15,
    "selectors": 0.2,
    "journals": 0.15,
    "proofs": 0.2,
    "watches": 0.2,
    "scenarios": 0.2,
}
"""Shares of libFuzzer's own mutations, where nearly all of them are refused."""
KINDS: Final = tuple(Kind)
_WORD: Final = re.compile(rb"[A-Za-z0-9_./+-]+")
_SIGNED: Final = b"POST /add-checkpoint"
"""Whose body ends with a signed note."""
_NUMBER: Final = re.compile(rb"-?[0-9]+")


class Mutator:
    """Mutates the inputs of one surface.

    Args:
        surface: its name.
        of_bytes: libFuzzer's own mutation.
    """

    def __init__(self, surface: str, of_bytes: Bytes) -> None:
        self._surface = surface
        self._of_bytes = of_bytes
        self._words = words(surface)
        known = kinds(surface)
        self._fields = Fields(known, self._words) if known else None
        self._dice = random.Random(0)
        self.bases = Bases()
        self._is_read = False

    def __call__(self, data: bytes, size_max: int, seed: int) -> bytes:
        """Another input, made from this one."""
        self._dice = dice = random.Random(seed)
        data = self.bases.instead_of(data, dice)
        self._is_read = self.bases.is_read(data)
        if dice.random() < WILD.get(self._surface, 0.35):
            return self._of_bytes(data)[:size_max]
        head, rest = (data[:1], data[1:]) if self._surface in PREFIXED else (b"", data)
        for _ in range(dice.choice((1, 1, 1, 2, 3, 5))):
            rest = self._once(head, rest)
        if head and dice.random() < 0.02:
            head = bytes([dice.randrange(256)])
        return (head + rest)[:size_max]

    def _once(self, head: bytes, rest: bytes) -> bytes:
        if self._surface == "servers":
            return self._http(rest)
        if self._surface == "journals":
            if head < b"\x80":
                return self._payload(kind_of(head), rest)
            return self._segment(rest)
        if self._surface == "watches" and head < b"\x80":
            return self._some_line(rest)
        if self._surface == "watches":
            return self._http(rest)
        return self._text(rest)

    def _text(self, data: bytes) -> bytes:
        changed = None
        if data.lstrip()[:1] in (b"{", b"["):
            changed = self._json(data)
        if changed is None and self._dice.random() < 0.6:
            if self._surface in TOML and b" = " in data:
                changed = self._toml(data)
            elif self._surface in YAML:
                changed = self._yaml(data)
        return self._lines(data) if changed is None else changed

    def _yaml(self, data: bytes) -> bytes | None:
        """The same YAML with one thing changed; None: it is none, or more than one document."""
        try:
            content = yaml.load(data, yaml.CSafeLoader)
            text = yaml.dump(self._tree(content), Dumper=yaml.CSafeDumper, sort_keys=False)
        except (ValueError, TypeError, RecursionError, yaml.YAMLError):
            return None
        return text.encode("utf-8", "replace")

    def _toml(self, data: bytes) -> bytes | None:
        """The same TOML with one thing changed; None: it is none."""
        try:
            content = tomllib.loads(data.decode())
            return toml_of(self._tree(content)).encode("utf-8", "replace")
        except (ValueError, TypeError, RecursionError):
            return None

    # ---- JSON -------------------------------------------------------------------------------

    def _json(self, data: bytes) -> bytes | None:
        """The same JSON with one thing changed; None: it is none."""
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return None
        content = self._tree(content)
        try:
            text = json.dumps(content, ensure_ascii=self._dice.random() < 0.5)
        except (ValueError, RecursionError):
            return None
        return text.encode("utf-8", "replace")

    def _tree(self, content: Any) -> Any:
        """The value with one place in it changed."""
        dice = self._dice
        places: list[tuple[Any, Any]] = []
        waiting = [content] if isinstance(content, dict | list) else []
        while waiting:
            node = waiting.pop()
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                places.append((node, key))
                if isinstance(value, dict | list):
                    waiting.append(value)
            places.append((node, None))
        if not places:
            return self._value(content)
        if self._fields and self._is_read:
            self._fields.see(places, dice)
        node, key = dice.choice(places)
        if self._fields and isinstance(node, dict) and dice.random() < FITTING:
            self._fields.put(node, dice)
        elif key is None or dice.random() < 0.2:
            self._grow(node, places)
        elif dice.random() < 0.2:
            del node[key]
        elif isinstance(node, dict) and dice.random() < 0.15:
            node[dice.choice(self._words)] = node.pop(key)
        elif dice.random() < 0.25:
            other, at = dice.choice(places)
            node[key] = json.loads(json.dumps(other[at])) if at is not None else {}
        else:
            node[key] = self._value(node[key])
        return content

    def _grow(self, node: Any, places: list[tuple[Any, Any]]) -> None:
        """Put one thing more into a list or an object."""
        way = self._dice.random()
        value: Any = {}
        if node and isinstance(node, list) and way < 0.6:
            value = self._sibling(self._dice.choice(node))
        elif way < 0.8:
            other, at = self._dice.choice(places)
            value = json.loads(json.dumps(other[at])) if at is not None else {}
        else:
            value = self._value("a")
        if isinstance(node, dict):
            node[self._dice.choice(self._words)] = value
        else:
            node.insert(self._dice.randint(0, len(node)), value)

    def _sibling(self, item: Any) -> Any:
        """A copy of an item, most often with something plain in it changed: its name, maybe."""
        item = json.loads(json.dumps(item))
        if isinstance(item, dict) and self._dice.random() < 0.7:
            plain = [key for key, value in item.items() if not isinstance(value, dict | list)]
            if plain:
                key = self._dice.choice(plain)
                item[key] = self._value(item[key])
        return item

    def _value(self, value: Any) -> Any:
        dice = self._dice
        way = dice.random()
        if way < 0.15:
            return json.loads(json.dumps(dice.choice(NASTY)))
        if way < 0.25:
            return dice.choice(self._words)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return self._whole(value)
        if isinstance(value, str) and way < 0.5:
            return dice.choice([one for one in NASTY if isinstance(one, str)])
        if isinstance(value, str) and way < 0.8:
            return dice.choice(self._words)
        if isinstance(value, str):
            return self._of_bytes(value.encode("utf-8", "replace")).decode("utf-8", "replace")
        return [value] if way < 0.6 else {dice.choice(self._words): value}

    # ---- lines ------------------------------------------------------------------------------

    def _lines(self, data: bytes) -> bytes:
        """TOML, YAML, notes and other text: a line, or a word of one, is another."""
        dice = self._dice
        lines = data.split(b"\n")
        at = dice.randrange(len(lines))
        way = dice.random()
        if way < 0.1:
            lines.insert(dice.randint(0, len(lines)), lines[at])
        elif way < 0.2:
            del lines[at]
        elif way < 0.26:
            to = dice.randrange(len(lines))
            lines[at], lines[to] = lines[to], lines[at]
        elif way < 0.4:
            heads = [at for at, line in enumerate(lines) if line.lstrip()[:1] in (b"[", b"-")]
            at = dice.choice(heads) if heads and dice.random() < 0.7 else at
            some = self._block(lines, at)
            lines[at:at] = some
            for _ in range(dice.randint(1, 3)):
                changed = dice.randrange(at, min(at + len(some), at + 4))
                lines[changed] = self._line(lines[changed])
        elif way < 0.48:
            name, value = dice.choice(self._words), json.dumps(dice.choice(NASTY))
            sign = ": " if self._surface == "manifests" else " = "
            indent = re.match(rb"[ -]*", lines[at])
            front = indent[0] if indent else b""
            lines.insert(at, front + f"{name}{sign}{value}".encode("utf-8", "replace"))
        else:
            lines[at] = self._line(lines[at])
        return b"\n".join(lines)

    def _block(self, lines: list[bytes], at: int) -> list[bytes]:
        """The lines from this one to where a table, an item or a paragraph like it begins."""
        dice = self._dice
        if dice.random() < 0.3:
            return lines[at : at + dice.randint(1, 6)]
        indent = len(lines[at]) - len(lines[at].lstrip(b" "))
        starts = (b"[", b"-") if lines[at].lstrip()[:1] in (b"[", b"-") else (b"",)
        for end in range(at + 1, len(lines)):
            inner = len(lines[end]) - len(lines[end].lstrip(b" "))
            if inner <= indent and lines[end].lstrip().startswith(starts):
                return lines[at:end]
        return lines[at:]

    def _line(self, line: bytes) -> bytes:
        dice = self._dice
        found = list(_WORD.finditer(line))
        if not found:
            return line + dice.choice(self._words).encode()
        sign = re.search(rb"[=:]", line)
        values = [one for one in found if sign and one.start() > sign.start()]
        match = dice.choice(values if values and dice.random() < 0.7 else found)
        begin, end = match.span()
        while end < len(line) and line[end : end + 1] == b"=" and (end - begin) % 4:
            end += 1  # the padding of Base 64
        word = line[begin:end]
        opened = _opened(word)
        if word.count(b"+") >= 2 and dice.random() < 0.7:
            new = self._key(word)
        elif opened is not None and dice.random() < 0.7:
            new = base64.b64encode(self._of_bytes(opened))
        elif _NUMBER.fullmatch(word) and dice.random() < 0.7:
            new = b"%d" % self._whole(int(word[:400]))
        elif dice.random() < 0.6:
            new = dice.choice(self._words).encode()
        else:
            new = self._of_bytes(word)
        if dice.random() < 0.2:
            new = word + new
        return line[:begin] + new + line[end:]

    def _key(self, word: bytes) -> bytes:
        """A verifier key with another name or key, under the id that is then its own."""
        name, _, rest = word.partition(b"+")
        opened = _opened(rest.partition(b"+")[2])
        if opened is None:
            return self._of_bytes(word)
        if self._dice.random() < 0.3:
            name = self._dice.choice(self._words).encode()
        else:
            opened = self._of_bytes(opened)
        key_id = sha256(name + b"\n" + opened).hexdigest()[:8].encode()
        return name + b"+" + key_id + b"+" + base64.b64encode(opened)

    def _whole(self, number: int) -> int:
        dice = self._dice
        near = number + dice.choice((-1, 1, -2, 2, number, -number))
        return dice.choice((near, near, dice.randrange(10), 2 ** dice.randrange(70), 10**9))

    def _some_line(self, data: bytes) -> bytes:
        """The lines of a watch: one of them is changed, told twice, or taken away."""
        dice = self._dice
        lines = data.split(b"\n")
        at = dice.randrange(len(lines))
        way = dice.random()
        if way < 0.1:
            lines.insert(dice.randint(0, len(lines)), lines[at])
        elif way < 0.2:
            del lines[at]
        else:
            lines[at] = self._text(lines[at])
        return b"\n".join(lines)

    # ---- HTTP -------------------------------------------------------------------------------

    def _http(self, data: bytes) -> bytes:
        """A message with its head or its body changed, and its length most often right."""
        dice = self._dice
        head, blank, body = data.partition(b"\r\n\r\n")
        first, *headers = head.split(b"\r\n")
        way = dice.random()
        if way < 0.35:
            first = self._target(first)
        elif way < 0.6:
            headers = self._headers(headers)
        elif body:
            body = self._text(body)
            if first.startswith(_SIGNED) and dice.random() < 0.6:
                body = witnessed.signed_again(body)
        else:
            body = b"{}"
        if dice.random() < 0.75:
            headers = [h for h in headers if h[:15].lower() != b"content-length:"]
            headers = [h for h in headers if h[:18].lower() != b"transfer-encoding:"]
            if dice.random() < (0.2 if body else 0.1):
                size = dice.choice((1, 7, len(body) or 1))
                parts = [body[at : at + size] for at in range(0, len(body), size)]
                chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
                return b"\r\n".join(
                    [first, *headers, b"Transfer-Encoding: chunked", b"", chunks + b"0\r\n\r\n"]
                )
            if body:
                headers.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join([first, *headers]) + (blank or b"\r\n\r\n") + body

    def _target(self, line: bytes) -> bytes:
        """The first line: another verb, segment, or parameter."""
        dice = self._dice
        verb, _, rest = line.partition(b" ")
        target, _, version = rest.rpartition(b" ")
        path, mark, query = target.partition(b"?")
        way = dice.random()
        if way < 0.2:
            verb = dice.choice((b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"))
        elif way < 0.6:
            parts = path.split(b"/")
            at = dice.randrange(len(parts))
            word = dice.choice(self._words).encode().split(b" ")[0]
            change = dice.random()
            if change < 0.3:
                parts.insert(at, word)
            elif change < 0.45:
                del parts[at]
            else:
                parts[at] = word
            path = b"/".join(parts)
        elif way < 0.85:
            words_ = [word for word in self._words if "=" in word] or ["a=b"]
            query = query + b"&" * bool(query) + dice.choice(words_).encode()
            mark = b"?"
        else:
            return self._line(line)
        return verb + b" " + path + mark + query + b" " + version

    def _headers(self, headers: list[bytes]) -> list[bytes]:
        dice = self._dice
        own = [word for word in self._words if ": " in word] or ["A: b"]
        at = dice.randint(0, len(headers))
        way = dice.random()
        if way < 0.5 or not headers:
            return [*headers[:at], dice.choice(own).encode("latin-1", "replace"), *headers[at:]]
        at = min(at, len(headers) - 1)
        if way < 0.65:
            return [*headers[:at], *headers[at + 1 :]]
        return [*headers[:at], self._line(headers[at]), *headers[at + 1 :]]

    # ---- journals ---------------------------------------------------------------------------

    def _payload(self, kind: Kind, data: bytes) -> bytes:
        """The payload with one thing changed, most often in its canonical form."""
        dice = self._dice
        changed = self._json(data)
        if changed is None or dice.random() < 0.1:
            return self._of_bytes(data)
        try:
            return entry.encode(entry._DECODERS[kind](changed))
        except (ValueError, RecursionError):
            # It is none of that kind; as JSON it may be told what is wrong.
            content = json.loads(changed)
            text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            return text.encode("utf-8", "replace")

    def _segment(self, data: bytes) -> bytes:
        """A segment whose entries are changed, and sealed and framed again."""
        dice = self._dice
        entries, term = _entries(data)
        if not entries or dice.random() < 0.1:
            return self._of_bytes(data)
        at = dice.randrange(len(entries))
        way = dice.random()
        leaf, salt, payload = entries[at]
        if way < 0.5:
            kind = dice.choice(KINDS) if dice.random() < 0.1 else entry.leaf_kind(leaf)
            entries[at] = entry.seal(kind, self._payload(kind, payload), salt)
        elif way < 0.65:
            entries.insert(dice.randint(0, len(entries)), entries[at])
        elif way < 0.75:
            del entries[at]
        elif way < 0.9:
            entries[at] = Sealed(self._of_bytes(leaf)[:LEAF_BYTES].ljust(LEAF_BYTES), salt, payload)
        frame = [frames.framed([one]).frames for one in entries]
        if frame and way >= 0.9:
            at = min(at, len(frame) - 1)
            frame[at] = frames.erased(frame[at])
        return _framed(frame, term, dice)


def kind_of(head: bytes) -> Kind:
    """The kind whose payload follows this byte."""
    return KINDS[(head or b"\0")[0] % len(KINDS)]


def _opened(word: bytes) -> bytes | None:
    """What canonical Base 64 says; None: it is none, or too short to be meant."""
    if len(word) < 8:
        return None
    try:
        return base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return None


def _entries(data: bytes) -> tuple[list[Sealed], int]:
    """The entries of all batches that can be read, and the term of the last."""
    data = frames.segment_header(0) + data
    found: list[Sealed] = []
    offset, term = frames.SEGMENT.size, 0
    try:
        while offset < len(data):
            batch = frames.read_batch(data, offset, len(found))
            found += [
                one for _, one in frames.entries_of(data, batch) if len(one.salt) == SALT_BYTES
            ]
            offset, term = batch.end, batch.term
    except AuditError:
        pass
    known = []
    for one in found:
        try:
            entry.leaf_kind(one.leaf)
        except AuditError:
            continue
        known.append(one)
    return known, term


def _framed(parts: list[bytes], term: int, dice: random.Random) -> bytes:
    """The frames in one batch, or two."""
    cut = dice.randint(0, len(parts)) if dice.random() < 0.3 else len(parts)
    data, first = b"", 0
    for some in (parts[:cut], parts[cut:]):
        if some:
            batch = Batch(len(some), b"".join(some))
            header = frames.batch_header(batch, first, min(max(term, 0), 2**64 - 1))
            data, first = data + header + batch.frames, first + len(some)
    return data
