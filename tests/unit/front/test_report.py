"""The HTML report: whole, alone in one file, escaped, and the same bytes for the same result."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from herz.front.report import render
from herz.world.sim.result import PodCounts, PolicyName, RunResult, combine
from tests.unit.front.samples import summary

HOSTILE = "</script><script>alert(1)</script>\"'&"

VOID = frozenset({"meta", "input", "br", "path"})


class Page(HTMLParser):
    """What a reader of the page finds: ids, references, headings; tags must be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on"), "no inline handlers"
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}:
                self.references.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"h2", "h3"}:
            self.headings.append(data)


def test_report_shows_each_section() -> None:
    page = Page(render(summary(has_curve=True)))
    for heading in (
        "Headline figures",
        "GPU allocation as load arrives",
        "Allocation over time",
        "Queue length over time",
        "Running pods over time",
        "Nodes over time",
        "Waits in bands",
        "Waiting time by class",
        "Why pods waited",
        "What became of the pods",
        "Use of each node",
        "Order rungs",
        "Injected faults",
        "All figures",
    ):
        assert heading in page.headings, heading


def test_report_without_a_curve_has_no_curve_section() -> None:
    page = Page(render(summary()))
    assert "gpu-curve" not in page.ids
    assert "#gpu-curve" not in page.references


def test_report_refers_to_nothing_outside_itself() -> None:
    text = render(summary(has_curve=True))
    page = Page(text)
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("// ", ""))
    assert "default-src 'none'" in text.replace("&#x27;", "'")


def test_report_ids_are_unique() -> None:
    ids = Page(render(summary(has_curve=True))).ids
    assert len(ids) == len(set(ids))


def test_report_escapes_every_text_of_the_result() -> None:
    plain = Page(render(summary(has_curve=True)))
    text = render(summary(has_curve=True, hostile=HOSTILE))
    hostile = Page(text)
    assert hostile.scripts == plain.scripts
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_report_of_the_same_result_is_the_same_bytes() -> None:
    seeds = range(3)
    assert render(summary(seeds, has_curve=True)) == render(summary(seeds, has_curve=True))


def test_report_of_several_runs_names_the_spread() -> None:
    text = render(summary(range(10)))
    assert "0 to 9 (10 runs)" in text
    assert "Mean of 10 runs" in text
    assert 'class="band s0"' in text


@pytest.mark.slow
def test_report_draws_five_thousand_nodes_in_few_elements() -> None:
    text = render(summary(nodes=5_000, samples=1_024))
    assert "node-4999" in text
    assert text.count("<path") < 800
    assert len(text) < 1_500_000


def test_report_of_an_empty_run_says_so() -> None:
    run = RunResult(
        scenario="nothing",
        policy=PolicyName(name="default", digest="sha256:00"),
        seed=0,
        pods=PodCounts(),
        order_rungs={"1": 0, "2": 0, "3": 0},
    )
    page = render(combine([run]))
    Page(page)
    assert "The run had no nodes." in page
    assert "No pod was ever refused." in page
    assert "no pod arrived" in page


def test_charts_have_axis_titles_with_units_and_tables() -> None:
    text = render(summary())
    for title in (
        "allocated, % of allocatable",
        "virtual time since the start, hours",
        "waiting time from arrival to bind (logarithmic)",
        "pods, %",
    ):
        assert f">{title}<" in text, title
    assert text.count("Show as a table") >= 6
