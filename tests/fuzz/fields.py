"""Fields that a place of an input may have, with values that fit.

Of a thousand names one is known at a place, and wants one kind of value: a blind change hits
neither. The place is told by its `kind`, or by the names that it has already.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import inspect

from tests.fuzz.shapes import shape_of

DEPTH_MAX: Final = 4
"""Below which only what must be there is made."""
_OPTIONAL: Final = 0.15
_EMPTY: Final = 0.7
_SEEN: Final = 0.5
"""Shares: of the fields that need not be there; of texts that would be empty without, which is
refused for most; and of those that another input has had."""
_SEEN_AT_ONCE: Final = 4
_SEEN_BYTES_MAX: Final = 512
"""What is kept for others: so many places of an input at each change, which are not larger."""
_TOGETHER: Final = (1, 1, 1, 2, 4, 8, 16)
"""How many at once: what one field means may hang on what others say."""
_WHOLE: Final = (0, 1, 2, 3, 80, 100, 1000, 65_535, -1, 2**31 - 1, 2**63 - 1)
_TEXTS: Final = ("a", "b", "", "1", "7", "100m", "1Gi", "a/b", "example.com/a", "50%", "10m", "n")
_PARTS: Final = ("types", "item_types", "item_type", "key_type", "value_type")


class Fields:
    """The fields of these types and of those below them.

    Args:
        kinds: types of msgspec.
        words: texts to choose from, beside some that are known everywhere.
    """

    def __init__(self, kinds: Sequence[type], words: Sequence[str]) -> None:
        self._words = words
        self._seen: dict[str, dict[str, str]] = {}
        self._structs = {each.cls.__name__: each for each in structs(kinds)}
        self._names = {
            name: frozenset(field.encode_name for field in each.fields)
            for name, each in self._structs.items()
            if each.fields
        }
        self._known = frozenset().union(*self._names.values())

    def see(self, places: Sequence[tuple[Any, Any]], dice: random.Random) -> None:
        """Fields of an input that was read: others may have them, too.

        The last of each kind of value is kept: three items here may meet a flag there.
        """
        for node, name in dice.sample(places, min(_SEEN_AT_ONCE, len(places))):
            if name in self._known and len(text := json.dumps(node[name])) <= _SEEN_BYTES_MAX:
                self._seen.setdefault(name, {})[shape_of(node[name])] = text

    def put(self, node: dict[str, Any], dice: random.Random) -> None:
        """Give this object fields that it may have; those that it has get another value."""
        fields = self._structs[self._like(node, dice)].fields
        seen = [field.encode_name for field in fields if field.encode_name in self._seen]
        for _ in range(dice.choice(_TOGETHER)):
            if seen and dice.random() < _SEEN:
                name = dice.choice(seen)
                node[name] = json.loads(dice.choice([*self._seen[name].values()]))
            else:
                field = dice.choice(fields)
                node[field.encode_name] = self.value(field.type, dice)

    def _like(self, node: Mapping[str, Any], dice: random.Random) -> str:
        """The name of the type that this object is most like; of equals any."""
        kind = node.get("kind")
        if isinstance(kind, str) and kind in self._names:
            return kind
        shared = {name: len(own & node.keys()) for name, own in self._names.items()}
        most = max(shared.values())
        return dice.choice([name for name, count in shared.items() if count == most])

    def value(self, wanted: inspect.Type, dice: random.Random, depth: int = 0) -> Any:
        """Some value of this type, as JSON has it."""
        match wanted:
            case inspect.BoolType():
                return dice.random() < 0.5
            case inspect.IntType() | inspect.FloatType():
                return dice.choice(_WHOLE)
            case inspect.EnumType():
                return dice.choice([one.value for one in wanted.cls])
            case inspect.LiteralType():
                return dice.choice(wanted.values)
            case inspect.UnionType():
                return self.value(dice.choice(wanted.types), dice, depth)
            case inspect.TupleType():
                return [self.value(item, dice, depth + 1) for item in wanted.item_types]
            case inspect.VarTupleType() | inspect.ListType():
                count = dice.choice((1, 1, 2, 3)) if depth < DEPTH_MAX else 0
                return [self.value(wanted.item_type, dice, depth + 1) for _ in range(count)]
            case inspect.DictType():
                return {self._text(dice): self.value(wanted.value_type, dice, depth + 1)}
            case inspect.StructType():
                return self._struct(wanted, dice, depth)
            case inspect.NoneType():
                return None
        return self._text(dice)

    def _struct(self, wanted: inspect.StructType, dice: random.Random, depth: int) -> Any:
        share = _OPTIONAL if depth < DEPTH_MAX else 0.0
        made = {}
        for field in self._structs[wanted.cls.__name__].fields:
            is_asked = field.default == "" and dice.random() < _EMPTY
            if field.required or is_asked or dice.random() < share:
                made[field.encode_name] = self.value(field.type, dice, depth + 1)
        return made

    def _text(self, dice: random.Random) -> str:
        return dice.choice(self._words if dice.random() < 0.4 else _TEXTS)


def structs(kinds: Sequence[Any]) -> list[inspect.StructType]:
    """These types' structs and those below them, each once."""
    waiting, seen = list(inspect.multi_type_info(kinds)), dict[type, inspect.StructType]()
    while waiting:
        found = waiting.pop()
        if isinstance(found, inspect.StructType):
            if found.cls not in seen:
                seen[found.cls] = found
                waiting += [field.type for field in found.fields]
            continue
        for name in _PARTS:
            inner = getattr(found, name, ())
            waiting += inner if isinstance(inner, tuple) else [inner]
    return list(seen.values())
