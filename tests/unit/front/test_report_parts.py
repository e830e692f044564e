"""Escaping, scales and down-sampling: what every chart of the report stands on."""

from __future__ import annotations

import json

import pytest

from herz.front.report.heatmap import columns_for, level
from herz.front.report.markup import Markup, data_block, element
from herz.front.report.series import POINTS_MAX, downsample
from herz.front.scale import (
    clock_text,
    duration_text,
    number_text,
    time_axis,
    value_axis,
)


def test_element_escapes_text_and_attributes() -> None:
    made = element("p", "<b>&", title="\"'><", class_="note")
    assert made == ('<p title="&quot;&#x27;&gt;&lt;" class="note">&lt;b&gt;&amp;</p>')


def test_element_keeps_markup_and_drops_absent_attributes() -> None:
    made = element("div", Markup("<br/>"), hidden=True, id=None, open=False)
    assert made == "<div hidden><br/></div>"


def test_data_block_cannot_be_ended_by_its_text() -> None:
    text = "</script><!-- & -->"
    block = data_block("x", [text])
    body = block.removeprefix('<script type="application/json" id="x">').removesuffix("</script>")
    assert "<" not in body
    assert json.loads(body) == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.001, "0"), (1234567.0, "1,234,567"), (0.5, "0.5"), (1.005e3, "1,005")],
)
def test_number_text_is_short(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0012, "1.2 ms"),
        (0.25, "250 ms"),
        (90, "90 s"),
        (180, "3 min"),
        (7200, "2 h"),
        (172800, "2 d"),
    ],
)
def test_duration_text_takes_the_unit_people_use(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_clock_text_counts_days_apart() -> None:
    assert clock_text(3_661) == "01:01:01"
    assert clock_text(90_000) == "1 d 01:00:00"


def test_value_axis_ends_on_round_ticks_around_the_values() -> None:
    axis = value_axis("pods", 0, 183, count=4)
    assert (axis.low, axis.high) == (0, 200)
    assert [tick.label for tick in axis.ticks] == ["0", "50", "100", "150", "200"]
    assert [tick.at for tick in axis.ticks] == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("high", [1e-6, 0.03, 1, 7, 99.999, 100, 1e9])
def test_value_axis_holds_the_greatest_value(high: float) -> None:
    axis = value_axis("x", 0, high)
    assert axis.high >= high * (1 - 1e-9)
    assert 2 <= len(axis.ticks) <= 8


def test_tight_axis_ends_at_the_values() -> None:
    axis = value_axis("x", 80, 130, count=8, is_tight=True)
    assert (axis.low, axis.high) == (80, 130)
    assert [tick.label for tick in axis.ticks] == ["80", "90", "100", "110", "120", "130"]


def test_empty_axes_still_have_a_length() -> None:
    assert value_axis("x", 5, 5).at(5) == 0
    assert time_axis("t", 0, 0).at(0) == 0


def test_time_axis_names_the_unit_of_its_ticks() -> None:
    axis = time_axis("time", 0, 86_400)
    assert axis.title == "time, hours"
    assert [tick.label for tick in axis.ticks][:3] == ["0", "3", "6"]


def test_downsample_keeps_short_series_as_they_are() -> None:
    line = downsample("x", [0, 1, 2], [5, 6, 7])
    assert [(p.x, p.low, p.mean, p.high) for p in line.points] == [
        (0, 5, 5, 5), (1, 6, 6, 6), (2, 7, 7, 7),
    ]  # fmt: skip


def test_downsample_bounds_the_points_and_keeps_a_lone_peak() -> None:
    count = 50_000
    values = [0.0] * count
    values[31_337] = 900.0
    line = downsample("x", list(range(count)), values)
    assert len(line.points) <= POINTS_MAX
    assert line.high == 900.0
    assert min(point.low for point in line.points) == 0.0
    total = sum(values) / count
    assert sum(p.mean for p in line.points) / len(line.points) == pytest.approx(total, rel=0.02)


def test_downsample_takes_samples_of_one_instant() -> None:
    line = downsample("x", [3.0] * 700, list(range(700)))
    assert [(p.x, p.low, p.high) for p in line.points] == [(3.0, 0, 699)]


def test_level_has_a_step_for_each_tenth() -> None:
    assert [level(use) for use in (None, 0, 0.1, 10, 10.1, 95, 100, 250)] == [
        -1, 0, 1, 1, 2, 10, 10, 10,
    ]  # fmt: skip


def test_columns_for_is_wide_and_bounded() -> None:
    assert columns_for(1) == 1
    assert columns_for(8) == 8
    assert columns_for(5_000) == 123
    assert columns_for(50_000) == 125
