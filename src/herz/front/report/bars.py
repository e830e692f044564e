"""Bars: shares of a whole by row, and counts by reason. HTML boxes sized in per cent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from herz.front.report.markup import Markup, element
from herz.front.report.plot import percent
from herz.front.scale import number_text


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart; `note` stands beside the number (its unit at least)."""

    name: str
    count: int
    note: str


@dataclass(frozen=True, slots=True)
class Stack:
    """One row of a stacked chart: how many of `name` fall into each band."""

    name: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All bands together."""
        return sum(self.counts)


def bars(rows: Sequence[Bar]) -> Markup:
    """Horizontal bars with their names and numbers in text; the greatest has full width."""
    greatest = max((row.count for row in rows), default=0)
    return element("ul", *(_bar(row, greatest) for row in rows), class_="bars")


def stacks(rows: Sequence[Stack], bands: Sequence[str], unit: str) -> Markup:
    """One full-width bar a row, cut into bands by share, with a legend of the bands."""
    return element(
        "div",
        element(
            "ul",
            *(
                element("li", element("i", class_=f"q{index}"), band)
                for index, band in enumerate(bands)
            ),
            class_="legend bands",
        ),
        element("ul", *(_stack(row, bands, unit) for row in rows), class_="stacks"),
    )


def _bar(row: Bar, greatest: int) -> Markup:
    width = row.count / greatest if greatest else 0.0
    ink = [element("i", style=f"width:{percent(width)}")] if row.count else []
    return element(
        "li",
        element("span", row.name, class_="name"),
        element("span", number_text(row.count), element("small", f" {row.note}"), class_="count"),
        element("span", *ink, class_="track"),
        data_tip=f"{row.name}: {number_text(row.count)} {row.note}",
    )


def _stack(row: Stack, bands: Sequence[str], unit: str) -> Markup:
    pieces = [
        element(
            "i",
            class_=f"q{index}",
            style=f"width:{percent(count / row.total)}",
            data_tip=f"{row.name}: {bands[index]}\n{number_text(count)} {unit}, "
            f"{number_text(count / row.total * 100, 1)} %",
        )
        for index, count in enumerate(row.counts)
        if count
    ]
    return element(
        "li",
        element("span", row.name, class_="name"),
        element("span", number_text(row.total), element("small", f" {unit}"), class_="count"),
        element("span", *pieces, class_="track"),
    )
