"""The page: what stands where in the HTML report.

One file without any reference to another: its content security policy forbids every load, so a
mistake here would show as a missing picture and never as a request. The same summary gives the
same bytes: nothing here reads a clock, and all text goes through `markup`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from herz.front.answer import by_resource, decisions_digest, notes
from herz.front.report import charts, tables
from herz.front.report.heatmap import heat_map
from herz.front.report.markup import Child, Markup, element, join
from herz.front.report.plot import Chart, line_chart
from herz.front.scale import duration_text, number_text
from herz.world.sim.result import Spread, Summary

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: this file and nothing else."""

TILES_OF_RESOURCES_MAX = 4


def render(summary: Summary) -> str:
    """The report of a summary as one HTML document."""
    sections = [section for section in _sections(summary) if section is not None]
    body = element(
        "body",
        _header(summary, sections),
        element("main", *(section for _, _, section in sections)),
        _footer(summary),
        element("div", id="tip", role="presentation", hidden=True),
        element("div", id="live", class_="sr", aria_live="polite"),
        # Our own file, not the run's text: the only script, and the only unescaped words.
        element("script", Markup(_asset("report.js"))),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{summary.scenario} · {summary.policy.name} · Herz"),
        element("style", Markup(_asset("report.css"))),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


Section = tuple[str, str, Markup]
"""Id, name in the navigation, and the section."""


def _sections(summary: Summary) -> list[Section | None]:
    """The sections in order; None where the run has nothing for one."""
    curve = charts.curve_charts(summary)
    return [
        _section("figures", "Figures", "Headline figures", _tiles(summary)),
        _section("gpu-curve", "GPU curve", "GPU allocation curve", *map(line_chart, curve))
        if curve
        else None,
        _section("time", "Over time", "Over time", *_over_time(summary)),
        _section(
            "waits",
            "Waiting",
            "How long pods waited",
            tables.wait_stacks(summary),
            _drawn(charts.waiting_chart(summary)),
        ),
        _section(
            "reasons",
            "Why",
            "Why pods waited, and what became of them",
            element("div", tables.reasons(summary), tables.fates(summary), class_="pair"),
        ),
        _section("map", "Nodes", "Nodes", heat_map(charts.node_map(summary))),
        _section(
            "order",
            "Order",
            "Order and input",
            element("div", tables.rungs(summary), tables.faults(summary), class_="pair"),
        ),
        _section(
            "all", "All figures", "All figures", tables.figures(summary), tables.runs(summary)
        ),
    ]


def _section(identity: str, short: str, title: str, *children: Child) -> Section:
    """A titled section and its name in the navigation."""
    key = f"{identity}-title"
    heading = element("h2", title, id=key)
    return identity, short, element("section", heading, *children, id=identity, aria_labelledby=key)


def _header(summary: Summary, sections: list[Section]) -> Markup:
    """Title, what was run, and the way to each section."""
    seeds = summary.seeds
    policy = f"{summary.policy.name} {summary.policy.version}".strip()
    facts = [
        ("policy", policy),
        ("seed" if len(seeds) == 1 else "seeds", _seeds(seeds)),
        ("virtual time", duration_text(max(run.virtual_seconds for run in summary.runs))),
        ("nodes", number_text(len(summary.runs[0].nodes))),
    ]
    return element(
        "header",
        element("p", "Herz simulation report", class_="over"),
        element("h1", summary.scenario),
        element(
            "dl",
            *(element("div", element("dt", name), element("dd", value)) for name, value in facts),
            class_="meta",
        ),
        element(
            "nav",
            *(element("a", short, href=f"#{identity}") for identity, short, _ in sections),
            aria_label="Sections",
        ),
    )


def _seeds(seeds: tuple[int, ...]) -> str:
    """One seed, or the first and the last with their number."""
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} ({len(seeds)} runs)"


def _tiles(summary: Summary) -> Markup:
    """The headline: a number, what it is, and how it varied."""
    pods, waits = summary.pods, summary.wait_seconds
    arrived = pods["arrived"].mean
    tiles = [
        ("Pods arrived", number_text(arrived, 1), _varied(summary, pods["arrived"])),
        ("Pods bound", number_text(pods["bound"].mean, 1), _share(pods["bound"].mean, arrived)),
        (
            "Never bound",
            number_text(pods["unschedulable"].mean, 1),
            _share(pods["unschedulable"].mean, arrived),
        ),
        ("Median wait", duration_text(waits["p50"].mean), "from arrival to bind"),
        ("p99 wait", duration_text(waits["p99"].mean), "from arrival to bind"),
        ("Longest wait", duration_text(waits["max"].max), "of all bound pods"),
        *(
            (f"Allocated {name}", f"{number_text(spread.mean)} %", _varied(summary, spread, " %"))
            for name, spread in by_resource(summary.allocation_percent)[:TILES_OF_RESOURCES_MAX]
        ),
        (
            "Decisions",
            number_text(summary.decisions.mean, 1),
            f"{number_text(summary.decisions_per_second.mean, 0)} a second (wall time)",
        ),
    ]
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value, element("small", note)))
            for name, value, note in tiles
        ),
        class_="tiles",
    )


def _share(part: float, whole: float) -> str:
    return f"{number_text(100 * part / whole)} % of arrived" if whole else "no pod arrived"


def _varied(summary: Summary, spread: Spread, unit: str = "") -> str:
    """The deviation over the runs; nothing for one run."""
    return f"sd {number_text(spread.sd)}{unit}" if len(summary.runs) > 1 else ""


def _over_time(summary: Summary) -> list[Child]:
    """Allocation and queue in full width, the smaller ones side by side."""
    small = [
        line_chart(chart)
        for chart in (charts.running_chart(summary), charts.nodes_chart(summary))
        if chart is not None
    ]
    return [
        _drawn(charts.allocation_chart(summary)),
        _drawn(charts.queue_chart(summary)),
        element("div", *small, class_="pair") if len(small) > 1 else join(small),
    ]


def _drawn(chart: Chart | None) -> Markup:
    """The chart, or a line that says that there is none."""
    if chart is None:
        return element("p", "The run recorded no samples for this chart.", class_="card empty")
    return line_chart(chart)


def _footer(summary: Summary) -> Markup:
    """What identifies the run: policy and decisions by their digests, and the notes."""
    return element(
        "footer",
        *(element("p", f"Note: {note}") for note in notes(summary)),
        element("p", "Policy digest ", element("code", summary.policy.digest)),
        element("p", "Decisions digest ", element("code", decisions_digest(summary))),
        element(
            "p",
            "The same scenario, policy and seed give the same decisions digest on every machine.",
        ),
    )


@cache
def _asset(name: str) -> str:
    """The text of a file beside this one."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
