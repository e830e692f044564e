"""Random values of any msgspec struct, made from its type: no field is forgotten."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


def values(kind: type) -> st.SearchStrategy[Any]:
    """Values of the type, all their fields and all members of their unions among them."""
    return _of(inspect.type_info(kind))


def _of(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType():
            return _struct(info)
        case inspect.UnionType(types=types):
            return st.one_of([_of(one) for one in types])
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return st.lists(_of(item), max_size=2).map(tuple)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(_of, items))
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_of(key), _of(value), max_size=2)
        case inspect.LiteralType(values=literals):
            return st.sampled_from(literals)
        case inspect.EnumType(cls=enum):
            return st.sampled_from(list(enum))
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low):
            return NUMBERS if low is None else st.integers(low, 2**63 - 1)
        case inspect.NoneType():
            return st.none()
        case inspect.StrType():
            return TEXTS
        case inspect.AnyType():
            # A quantity, as a decoder that keeps numbers exact gives it.
            return st.one_of(TEXTS, NUMBERS)
    raise AssertionError(f"no values of {info}")


def _struct(info: inspect.StructType) -> st.SearchStrategy[Any]:
    fields = {field.name: _of(field.type) for field in info.fields}
    return st.fixed_dictionaries(fields).map(lambda given: info.cls(**given))
