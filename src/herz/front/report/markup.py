"""HTML by construction: text is escaped unless it already is markup.

`element("p", 'a < b', class_="note")` gives `<p class="note">a &lt; b</p>`. Nothing else in
`herz.front.report` joins tags by hand, so that a pod called `<script>` stays a name.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable

VOID = frozenset({"meta", "br", "input", "rect", "path", "line", "circle"})
"""Elements without children: closed in place, which is valid in HTML and in inline SVG."""


class Markup(str):
    """Text that is HTML already; every other string is escaped on its way in."""

    __slots__ = ()


Child = str | int | Markup
Attribute = str | int | float | bool | None


def escape(text: object) -> Markup:
    """The text with `& < > " '` replaced; Markup is given back as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(str(text), quote=True))


def join(children: Iterable[Child]) -> Markup:
    """The children one after another."""
    return Markup("".join(escape(child) for child in children))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """One element.

    Args:
        name: the tag.
        children: text (escaped) or markup.
        attributes: a trailing underscore is dropped (`class_`), others become hyphens; True
            gives a bare attribute, None and False leave it out.
    """
    head = f"<{name}{_attributes(attributes)}"
    if name in VOID:
        assert not children, f"<{name}> takes no children"
        return Markup(f"{head}/>")
    return Markup(f"{head}>{join(children)}</{name}>")


def data_block(identity: str, value: object) -> Markup:
    """JSON for the page's own script; `<` is escaped so that no text can end the block."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(f'<script type="application/json" id="{escape(identity)}">{safe}</script>')


def _attributes(attributes: dict[str, Attribute]) -> str:
    """` name="value"` for each attribute, in the order of the call."""
    parts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        parts.append(f" {name}" if value is True else f' {name}="{escape(value)}"')
    return "".join(parts)
