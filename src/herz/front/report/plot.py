"""Charts: SVG for the ink, HTML for the words.

The SVG is stretched to the width at hand (`preserveAspectRatio="none"`, strokes that do not
scale), and labels are HTML placed in per cent, so that text keeps its size on a phone and on a
wall. Every chart carries its data twice more: as JSON for the pointer's tooltip, and as a table
for readers without one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from herz.front.report.markup import Markup, data_block, element
from herz.front.report.series import Line
from herz.front.scale import Axis, clock_text, number_text

WIDTH, HEIGHT = 1000, 400
"""Units of the stretched drawing; precise enough for any screen."""

TABLE_ROWS_MAX = 24
"""Bound: rows of a chart's table; the full series is in the JSON of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A line chart.

    Args:
        identity: id of the figure, and the prefix of the ids in it.
        title: what it shows.
        note: one sentence on how to read it.
        x: the axis of the points' `x`.
        y: the axis of their values.
        lines: at most eight, drawn in this order.
        unit: what follows a value in tooltip and table ("%", " pods").
        x_name: what the table's first column and the tooltip call x.
        x_text: writes one place of x in words.
        is_filled: the area below the (single) line is tinted.
    """

    identity: str
    title: str
    note: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    unit: str
    x_name: str = "time"
    x_text: Callable[[float], str] = clock_text
    is_filled: bool = False


def line_chart(chart: Chart) -> Markup:
    """The chart as a figure: legend, axes, drawing, tooltip data and table."""
    return element(
        "figure",
        caption(chart.title, chart.note),
        _legend(chart.lines) if len(chart.lines) > 1 else "",
        _frame(chart),
        _table(chart),
        data_block(f"{chart.identity}-data", _tooltip_data(chart)),
        class_="chart",
        id=chart.identity,
    )


def caption(title: str, note: str) -> Markup:
    """A figure's title, and how to read it."""
    return element("figcaption", element("h3", title), element("p", note))


def disclosure(summary: str, table: Markup) -> Markup:
    """A table that opens on demand; wide ones scroll inside it, not the page."""
    return element(
        "details",
        element("summary", summary),
        element("div", table, class_="scroll", tabindex=0, role="region", aria_label=summary),
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Markup:
    """A data table whose first column names the row."""
    return element(
        "table",
        element("caption", title),
        element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))),
        element(
            "tbody",
            *(
                element(
                    "tr",
                    element("th", row[0], scope="row"),
                    *(element("td", cell) for cell in row[1:]),
                )
                for row in rows
            ),
        ),
    )


def _legend(lines: Sequence[Line]) -> Markup:
    """Colour and dash of each line beside its name; the dash tells them apart without colour."""
    return element(
        "ul",
        *(
            element(
                "li",
                element(
                    "svg",
                    element("path", d="M0 5H28", class_=f"line s{index}"),
                    viewBox="0 0 28 10",
                    aria_hidden="true",
                ),
                line.name,
            )
            for index, line in enumerate(lines)
        ),
        class_="legend",
    )


def _frame(chart: Chart) -> Markup:
    """Axes around the drawing."""
    return element(
        "div",
        element("div", chart.y.title, class_="y-title"),
        element(
            "div",
            *(
                element("span", tick.label, style=f"bottom:{percent(tick.at)}")
                for tick in chart.y.ticks
            ),
            class_="y-axis",
            aria_hidden="true",
        ),
        element(
            "div",
            drawing(chart),
            class_="canvas",
            tabindex=0,
            role="img",
            aria_label=_described(chart),
        ),
        x_ticks(chart.x),
        element("div", chart.x.title, class_="x-title"),
        class_="plot",
    )


def x_ticks(axis: Axis) -> Markup:
    """The labels below the drawing; every second one gives way on a narrow screen."""
    return element(
        "div",
        *(
            element(
                "span",
                tick.label,
                style=f"left:{percent(tick.at)}",
                class_="minor" if index % 2 else None,
            )
            for index, tick in enumerate(axis.ticks)
        ),
        class_="x-axis",
        aria_hidden="true",
    )


def drawing(chart: Chart) -> Markup:
    """Grid, bands and lines."""
    grid = "".join(f"M0 {_y(tick.at)}H{WIDTH}" for tick in chart.y.ticks)
    ink = []
    for index, line in enumerate(chart.lines):
        if not line.points:
            continue
        if chart.is_filled:
            ink.append(element("path", d=_area(chart, line), class_=f"area s{index}"))
        elif any(point.low != point.high for point in line.points):
            ink.append(element("path", d=_band(chart, line), class_=f"band s{index}"))
        ink.append(element("path", d=_stroke(chart, line), class_=f"line s{index}"))
    return element(
        "svg",
        element("path", d=grid, class_="grid"),
        *ink,
        element("path", d="", class_="cursor"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def percent(share: float) -> str:
    """A share of 1 as CSS per cent."""
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"


def _stroke(chart: Chart, line: Line) -> str:
    """The path through the means."""
    parts = []
    for number, point in enumerate(line.points):
        x, y = _x(chart.x.at(point.x)), _y(chart.y.at(point.mean))
        if number == 0:
            parts.append(f"M{x} {y}")
        else:
            parts.append(f"L{x} {y}")
    if len(line.points) == 1:
        # A lone sample would have no ink at all.
        parts.append("h2")
    return "".join(parts)


def _area(chart: Chart, line: Line) -> str:
    """From the axis up to the greatest values and back down."""
    first, last = line.points[0], line.points[-1]
    top = "".join(
        (f"L{_x(chart.x.at(point.x))} {_y(chart.y.at(point.high))}") for point in line.points
    )
    return f"M{_x(chart.x.at(first.x))} {HEIGHT}{top}L{_x(chart.x.at(last.x))} {HEIGHT}Z"


def _band(chart: Chart, line: Line) -> str:
    """Between the least and the greatest value of each column."""
    up = [f"{_x(chart.x.at(point.x))} {_y(chart.y.at(point.high))}" for point in line.points]
    down = [
        f"{_x(chart.x.at(point.x))} {_y(chart.y.at(point.low))}" for point in reversed(line.points)
    ]
    return f"M{'L'.join(up + down)}Z"


def _x(share: float) -> str:
    return f"{share * WIDTH:.1f}".removesuffix(".0")


def _y(share: float) -> str:
    return f"{(1 - share) * HEIGHT:.1f}".removesuffix(".0")


def _described(chart: Chart) -> str:
    """What a screen reader says of the chart: its lines with their first, last and peak."""
    lines = [
        f"{line.name} starts at {number_text(line.points[0].mean, 1)}{chart.unit}, "
        f"ends at {number_text(line.points[-1].mean, 1)}{chart.unit}, "
        f"peak {number_text(line.high, 1)}{chart.unit}"
        for line in chart.lines
        if line.points
    ]
    return f"{chart.title}. {'; '.join(lines)}. Arrow keys move through the values."


def _table(chart: Chart) -> Markup:
    """Up to `TABLE_ROWS_MAX` rows, evenly spread, the last point always among them."""
    longest = max((line.points for line in chart.lines), key=len, default=())
    if not longest:
        return element("p", "No samples.", class_="empty")
    step = max(1, -(-len(longest) // TABLE_ROWS_MAX))
    chosen = sorted({*range(0, len(longest), step), len(longest) - 1})
    rows = [
        (
            chart.x_text(longest[index].x),
            *(_value_near(line, index, chart.unit) for line in chart.lines),
        )
        for index in chosen
    ]
    head = (chart.x_name, *(line.name for line in chart.lines))
    return disclosure("Show as a table", table(head, rows, chart.title))


def _value_near(line: Line, index: int, unit: str) -> str:
    """The line's mean at a position; lines of one chart share their samples."""
    if index >= len(line.points):
        return ""
    return f"{number_text(line.points[index].mean, 1)}{unit}"


def _tooltip_data(chart: Chart) -> dict[str, object]:
    """What the page's script needs to answer a pointer: places in 1/10,000 and texts."""
    longest = max((line.points for line in chart.lines), key=len, default=())
    return {
        "at": [round(chart.x.at(point.x) * 10_000) for point in longest],
        "label": [chart.x_text(point.x) for point in longest],
        "name": chart.x_name,
        "unit": chart.unit,
        "lines": [
            {
                "name": line.name,
                "mean": [_json_number(point.mean) for point in line.points],
                "high": [_json_number(point.high) for point in line.points]
                if any(point.high != point.mean for point in line.points)
                else [],
            }
            for line in chart.lines
        ],
    }


def _json_number(value: float) -> float | int:
    """The value with two decimals, an integer where it is one."""
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded
