"""Progress: plain lines come now and then, never one a call."""

from __future__ import annotations

import io

from herz.front.cli.progress import LINE_EVERY_S, Lines


def test_lines_come_at_most_every_few_seconds() -> None:
    now, stream = [0.0], io.StringIO()
    lines = Lines(stream, clock=lambda: now[0])
    for done in range(1000):
        now[0] = done * LINE_EVERY_S / 250
        lines.advance(done, 1000, "pods\x1b[2J")
    assert stream.getvalue().splitlines() == [
        f"herz: {share} % pods\\x1b[2J" for share in (25, 50, 75)
    ]


def test_lines_without_a_total_count() -> None:
    now, stream = [0.0], io.StringIO()
    lines = Lines(stream, clock=lambda: now[0])
    now[0] = LINE_EVERY_S
    lines.advance(12, 0, "pods")
    assert stream.getvalue() == "herz: 12 pods\n"
