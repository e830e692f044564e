"""Writes the pages and tables of docs/reference that follow from the code.

python docs/generate.py            writes them
python docs/generate.py --check    says which are out of date; exit code 1 if any is
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from herz import builtin
from herz.model.fields import NODE_SPEC, NODE_STATUS, POD_SPEC
from herz.place.plugins.arguments import Arguments
from herz.plugin import (
    Filter,
    Hints,
    Normalize,
    PostFilter,
    PreBind,
    PreEnqueue,
    QueueSort,
    ReasonBook,
    Reserve,
    Score,
)

REFERENCE = Path(__file__).parent / "reference"
MADE_BY = "<!-- Made by docs/generate.py from {source}. -->"
END = "<!-- End of what docs/generate.py makes. -->"

ROLES = {
    "orders the queue": QueueSort,
    "gates": PreEnqueue,
    "filters": Filter,
    "scores": Score,
    "normalises": Normalize,
    "makes room": PostFilter,
    "chooses devices": Reserve,
    "plans before the bind": PreBind,
    "hints": Hints,
}
"""What a rule does, by the Protocol that it names."""


def fields_page() -> str:
    """Every field of a pod's spec and a node's spec and status, and what becomes of it."""
    lines = [
        MADE_BY.format(source="herz.model.fields"),
        "# Fields of Kubernetes 1.36",
        "",
        "*read*: Herz reads it. *irrelevant*: it cannot change where a pod goes. *refused*: it",
        "may, and is not implemented; a pod that uses it is not placed. What is read may still ask",
        "for what this release cannot judge: the rule `Understood` rejects the pod and says why.",
        "A pod with a field that is in no table (of a newer Kubernetes) is placed with a warning",
        "event, a metric and a mark in its record, or rejected where `Understood` is `strict`.",
    ]
    for title, table in (
        ("Pod `spec`", POD_SPEC),
        ("Node `spec`", NODE_SPEC),
        ("Node `status`", NODE_STATUS),
    ):
        lines += ["", f"## {title}", "", "| field | use | what for, or why not |", "|---|---|---|"]
        lines += [f"| `{name}` | {use} | {why} |" for name, (use, why) in table.items()]
    return "\n".join(lines) + "\n"


def rules_section() -> str:
    """The rules that come with Herz, with their arguments."""
    lines = [MADE_BY.format(source="the rules"), ""]
    lines += ["| rule | does | weight | what it asks |", "|---|---|---|---|"]
    arguments = []
    for name, make in builtin.PLUGINS.items():
        rule, kind = _made(make)
        roles = ", ".join(role for role, protocol in ROLES.items() if isinstance(rule, protocol))
        weight = str(builtin.WEIGHTS.get(name, 1)) if isinstance(rule, Score) else ""
        lines.append(f"| `{name}` | {roles} | {weight} | {_first_line(type(rule))} |")
        if kind is not None and msgspec.structs.fields(kind):
            arguments += ["", f"### {name}", "", *_table(kind)]
    return "\n".join([*lines, *arguments, "", END])


def _made(make: Any) -> tuple[Any, type[Arguments] | None]:
    """A rule with its default arguments, and the struct that it read them as."""
    seen: list[type[Arguments]] = []
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("herz.place.plugins.") and hasattr(module, "read_arguments")
    ]
    real = {module: module.read_arguments for module in modules}

    def noting(_rule: str, args: Mapping[str, Any], kind: type[Arguments]) -> Arguments:
        seen.append(kind)
        return msgspec.convert(dict(args), kind)

    try:
        for module in modules:
            vars(module)["read_arguments"] = noting
        rule = make({}, ReasonBook())
    finally:
        for module, function in real.items():
            vars(module)["read_arguments"] = function
    return rule, seen[0] if seen else None


def _table(kind: type[msgspec.Struct]) -> Iterator[str]:
    """A struct's docstring and keys; then those of our own structs inside it."""
    yield " ".join((kind.__doc__ or "").split())
    yield ""
    yield "| argument | type | default |"
    yield "|---|---|---|"
    inner: list[type[Arguments]] = []
    for field in msgspec.structs.fields(kind):
        yield f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |"
        inner += [each for each in _structs(field.type) if each not in inner]
    for each in inner:
        yield ""
        yield f"`{each.__name__}`: " + " ".join((each.__doc__ or "").split())
        yield ""
        yield from list(_table(each))[2:]


def _structs(kind: Any) -> Iterator[type[Arguments]]:
    if isinstance(kind, type) and issubclass(kind, Arguments):
        yield kind
    for part in get_args(kind):
        yield from _structs(part)


def _type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (UnionType, Union):
        return " or ".join(_type(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        return f"list of {_type(get_args(kind)[0])}"
    name = getattr(kind, "__name__", str(kind))
    return {"str": "text", "int": "integer", "bool": "boolean"}.get(name, f"`{name}`")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT:
        return "empty"
    value = msgspec.to_builtins(field.default)
    return "" if value is None else f"`{msgspec.json.encode(value).decode()}`"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")


def pages() -> dict[Path, str]:
    """What each page should hold."""
    policy = REFERENCE / "policy.md"
    old = policy.read_text(encoding="utf-8")
    start = re.escape(MADE_BY.format(source="the rules"))
    section = rules_section()
    new, count = re.subn(rf"{start}.*?{END}", lambda _: section, old, count=1, flags=re.DOTALL)
    assert count == 1, "docs/reference/policy.md has no place for the rules"
    return {REFERENCE / "fields.md": fields_page(), policy: new}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are out of date."""
    stale = 0
    for path, text in pages().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if arguments == ["--check"]:
            sys.stderr.write(f"{path.name} is out of date: run make docs\n")
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
