"""Which objects a list or watch is about: label and field selectors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from herz.errors import ConfigError
from herz.model.labels import EVERYTHING, LabelMatcher
from herz.model.selector_text import parse_selector
from herz.world.apiserver.objects.kinds import Kind
from herz.world.apiserver.refusal import bad_request

_EVERYWHERE = ("metadata.name", "metadata.namespace")
_TERM = re.compile(r"((?:[^\\=!,]|\\.)*)(==|!=|=)((?:[^\\,=]|\\.)*)")
_ESCAPE = re.compile(r"\\(.)")
_FALSE_WHEN_ABSENT = {"spec.unschedulable", "spec.hostNetwork"}
_ZERO_WHEN_ABSENT = {"status.replicas", "status.succeeded"}
_ELSEWHERE = {
    "status.successful": "status.succeeded",
    "reportingController": "reportingComponent",
}
"""Fields that selectors call by another name than the stored object."""


class Term(NamedTuple):
    """A condition on one field."""

    field: str
    value: str
    is_equal: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that all must hold; without any, everything is selected."""

    labels: LabelMatcher = EVERYTHING
    fields: tuple[Term, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether it selects all objects."""
        return not self.fields and self.labels.is_everything

    def matches(self, content: dict[str, Any]) -> bool:
        """Whether the object is selected."""
        if not self.labels.matches(content["metadata"].get("labels") or {}):
            return False
        return all(
            (_value(content, term.field) == term.value) is term.is_equal for term in self.fields
        )

    @property
    def name(self) -> str:
        """The one name that can be selected; empty where there may be more."""
        names = [
            term.value for term in self.fields if term.field == "metadata.name" and term.is_equal
        ]
        return names[0] if names else ""


def parse_selection(kind: Kind, labels: str, fields: str) -> Selection:
    """The selection of the two texts of a request.

    Raises:
        RefusedError: 400: a text is no selector, or names a field that cannot be selected by.
    """
    try:
        matcher = parse_selector(labels)
    except ConfigError as error:
        raise bad_request(f"unable to parse requirement: {error.message}") from error
    return Selection(matcher, tuple(_terms(kind, fields)))


def _terms(kind: Kind, text: str) -> list[Term]:
    terms = []
    for part in re.split(r"(?<!\\),", text):
        if not part:
            continue
        match = _TERM.fullmatch(part)
        if match is None:
            raise bad_request(f'invalid field selector {part!r}; write "field=value"')
        name = match[1].strip()
        if name not in (*_EVERYWHERE, *kind.selectable):
            raise bad_request(f"field label not supported: {name}")
        terms.append(Term(name, _ESCAPE.sub(r"\1", match[3]), match[2] != "!="))
    return terms


def _value(content: dict[str, Any], field: str) -> str:
    """The field as selectors see it: a text."""
    if field == "source":
        named = content.get("source", {}).get("component", "")
        return str(named or content.get("reportingComponent", ""))
    name = _ELSEWHERE.get(field, field).replace("regarding.", "involvedObject.")
    found: Any = content
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        if name in _FALSE_WHEN_ABSENT:
            return "false"
        return "0" if name in _ZERO_WHEN_ABSENT else ""
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found)
