"""The heat map of nodes: one square a node, one drawing for each resource and moment.

Squares of one level are a single path, so that 5,000 nodes are a dozen elements a drawing and
not 5,000; the pointer's node is computed from its position. Resource and moment are chosen by
radio buttons that CSS alone obeys, so the map works without JavaScript.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from herz.front.report.markup import Child, Markup, data_block, element
from herz.front.report.plot import caption, disclosure, table
from herz.front.scale import number_text

CELL = 10
"""Side of a square with its gap, in drawing units."""

LEVELS = 11
"""0 is an empty node, 1..10 are tenths of its capacity."""

RESOURCES_MAX = 6
MOMENTS = ("highest in the run", "at the end")
"""Bounds: drawings; the style sheet has a rule for each resource and moment."""

COLUMNS_MIN, COLUMNS_MAX = 12, 125
SIDE_PIXELS_MAX = 34
"""A handful of nodes are squares of a finger's width, not posters."""

GROUPS_MAX = 12
"""Bound: zones drawn apart; more are drawn as one field."""

NODES_LISTED_MAX = 24
"""Bound: nodes that the table lists by name; more are counted by level."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One node.

    Args:
        name: its name.
        group: its zone, or empty.
        use: for each moment, its use by resource in per cent (None: it has none of it).
        note: more for the tooltip.
    """

    name: str
    group: str
    use: tuple[tuple[float | None, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Nodes to draw, ordered by group; `resources` are the columns of each cell's use."""

    identity: str
    title: str
    note: str
    resources: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def groups(self) -> list[tuple[str, int, int]]:
        """(name, first, beyond) of each field: the zones, or all nodes as one."""
        starts = [
            index
            for index, cell in enumerate(self.cells)
            if index == 0 or cell.group != self.cells[index - 1].group
        ]
        if len(starts) > GROUPS_MAX or len(starts) < 2:
            return [("", 0, len(self.cells))]
        ends = [*starts[1:], len(self.cells)]
        return [
            (self.cells[start].group or "no zone", start, end)
            for start, end in zip(starts, ends, strict=True)
        ]


def heat_map(heat: HeatMap) -> Markup:
    """The figure: switches, scale, one drawing for each choice, table and tooltip data."""
    if not heat.cells or not heat.resources:
        empty = element("p", "The run had no nodes.", class_="empty")
        return element("figure", caption(heat.title, heat.note), empty, class_="chart heat")
    largest = max(end - start for _, start, end in heat.groups)
    columns = columns_for(largest)
    drawings = [
        _drawing(heat, resource, moment, columns)
        for resource in range(len(heat.resources))
        for moment in range(len(MOMENTS))
    ]
    return element(
        "figure",
        caption(heat.title, heat.note),
        *_switches(heat.identity, "r", "Resource", heat.resources),
        *_switches(heat.identity, "m", "Moment", MOMENTS),
        _scale(),
        *drawings,
        disclosure("Show as a table", _table(heat)),
        data_block(f"{heat.identity}-data", _tooltip_data(heat, columns)),
        class_="chart heat",
        id=heat.identity,
    )


def columns_for(count: int) -> int:
    """Columns of a field about three times as wide as high, within bounds."""
    columns = 1
    while columns * columns < count * 3:
        columns += 1
    return min(count, max(COLUMNS_MIN, min(COLUMNS_MAX, columns)))


def level(percent: float | None) -> int:
    """Colour step of a use: -1 none of it, 0 empty, else the tenth that it reaches into."""
    if percent is None:
        return -1
    if percent <= 0:
        return 0
    return min(10, int(percent / 10) + (percent % 10 > 0))


def _switches(identity: str, group: str, title: str, choices: Sequence[str]) -> list[Markup]:
    """Radio buttons and labels; the style sheet shows the drawing of the checked ones."""
    parts = [element("span", title, class_="pick-title")]
    for index, choice in enumerate(choices):
        key = f"{identity}-{group}{index}"
        parts.append(
            element(
                "input",
                type="radio",
                name=f"{identity}-{group}",
                id=key,
                checked=index == 0,
                class_=f"pick {group}{index}",
            )
        )
        parts.append(element("label", choice, for_=key))
    return parts


def _scale() -> Markup:
    """The colours from empty to full."""
    swatches = (element("i", class_=f"h{number}") for number in range(LEVELS))
    return element(
        "div",
        element("span", "empty"),
        element("span", *swatches, class_="swatches"),
        element("span", "100 % in use"),
        class_="scale",
        aria_hidden="true",
    )


def _drawing(heat: HeatMap, resource: int, moment: int, columns: int) -> Markup:
    """All nodes for one resource at one moment."""
    fields: list[Child] = []
    for name, start, end in heat.groups:
        if name:
            fields.append(element("h4", name, element("small", f" {number_text(end - start)}")))
        uses = [cell.use[moment][resource] for cell in heat.cells[start:end]]
        fields.append(_field(uses, columns, start))
    return element(
        "div",
        *fields,
        class_=f"field f{resource}{moment}",
        tabindex=0,
        role="img",
        aria_label=_described(heat, resource, moment),
    )


def _field(uses: Sequence[float | None], columns: int, start: int) -> Markup:
    """One block of squares, row by row. A square is a thick stroke: the shortest way to say it."""
    paths: dict[int, list[str]] = {}
    previous: dict[int, int] = {}
    for number, use in enumerate(uses):
        key = level(use)
        row, column = divmod(number, columns)
        follows = previous.get(key) == number - 1 and column > 0
        move = "m1 0" if follows else f"M{column * CELL} {row * CELL + CELL // 2}"
        paths.setdefault(key, []).append(f"{move}h9")
        previous[key] = number
    rows = -(-len(uses) // columns)
    return element(
        "svg",
        *(
            element("path", d="".join(paths[key]), class_=f"h{key}" if key >= 0 else "none")
            for key in sorted(paths)
        ),
        element("path", d="", class_="cell-cursor"),
        viewBox=f"0 0 {columns * CELL} {rows * CELL}",
        style=f"width:min(100%,{columns * SIDE_PIXELS_MAX}px)",
        aria_hidden="true",
        data_start=start,
        data_count=len(uses),
    )


def _described(heat: HeatMap, resource: int, moment: int) -> str:
    """What a screen reader says: how many nodes are empty, and how many nearly full."""
    uses = [cell.use[moment][resource] for cell in heat.cells]
    known = [use for use in uses if use is not None]
    empty = sum(1 for use in known if use <= 0)
    full = sum(1 for use in known if use > 90)
    mean = number_text(sum(known) / len(known), 1) if known else "0"
    return (
        f"{heat.resources[resource]}, {MOMENTS[moment]}: {len(known)} nodes, {mean} % in use on "
        f"average, {empty} empty, {full} above 90 %. Arrow keys move from node to node."
    )


def _table(heat: HeatMap) -> Markup:
    """How many nodes of each level; where there are few nodes, the nodes themselves."""
    columns = [
        (moment, resource)
        for resource in range(len(heat.resources))
        for moment in range(len(MOMENTS))
    ]
    head = [f"{heat.resources[resource]}, {MOMENTS[moment]}" for moment, resource in columns]
    if len(heat.cells) <= NODES_LISTED_MAX:
        rows = [
            (cell.name, *(_text(cell.use[moment][resource]) for moment, resource in columns))
            for cell in heat.cells
        ]
        return table(("node", *head), rows, "Use of each node, per cent of its allocatable")
    names = ("has none", "empty", *(f"{step * 10 - 10} to {step * 10} %" for step in range(1, 11)))
    counts = [[0] * len(columns) for _ in names]
    for cell in heat.cells:
        for place, (moment, resource) in enumerate(columns):
            counts[level(cell.use[moment][resource]) + 1][place] += 1
    rows = [
        (name, *(str(number) for number in row)) for name, row in zip(names, counts, strict=True)
    ]
    return table(("in use", *head), rows, "Number of nodes by how much of them is in use")


def _text(value: float | None) -> str:
    return "none" if value is None else f"{number_text(value, 1)} %"


def _tooltip_data(heat: HeatMap, columns: int) -> dict[str, object]:
    """Names and per cents in the order of the cells."""
    return {
        "columns": columns,
        "resources": list(heat.resources),
        "moments": ["at most", MOMENTS[1]],
        "names": [cell.name for cell in heat.cells],
        "notes": [cell.note for cell in heat.cells],
        "use": [
            [[None if use is None else round(use, 1) for use in moment] for moment in cell.use]
            for cell in heat.cells
        ],
    }
