"""Answers on stdout: a table for people, JSON or YAML for programs."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import msgspec

from herz.front.cli.failure import printable
from herz.front.cli.options import Output

WIDTH_PLAIN = 100
"""Columns where stdout is no terminal."""
CELL_MIN = 8
"""No column is made narrower than that."""


def print_answer(
    value: object,
    output: Output,
    *,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    after: Sequence[str] = (),
) -> None:
    """Print one answer whole.

    Args:
        value: what JSON and YAML give.
        output: the form.
        title: heads the table.
        columns: of the table; a column of empty cells is left out.
        rows: of the table.
        after: lines below the table.
    """
    if output is Output.JSON:
        import json  # noqa: PLC0415  # Who reads a table does not wait for it.

        # ASCII only: the bytes do not depend on the locale of the pipe.
        text = json.dumps(value, indent=2, ensure_ascii=True) + "\n"
    elif output is Output.YAML:
        text = msgspec.yaml.encode(value).decode()
    else:
        _print_table(title, columns, rows, after)
        return
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], after: Sequence[str]
) -> None:
    """Plain text, bold on a terminal. By hand: rich takes longer to load than an answer to make."""
    is_terminal = sys.stdout.isatty()
    known = os.get_terminal_size(sys.stdout.fileno()).columns if is_terminal else 0
    width = known or WIDTH_PLAIN
    bold, plain = ("\x1b[1m", "\x1b[0m") if is_terminal else ("", "")
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    cells = [[printable(row[index]) for index in kept] for row in rows]
    heads = [columns[index] for index in kept]
    widths = _fitted([max(map(len, column)) for column in zip(heads, *cells, strict=True)], width)
    rights = [head == "value" for head in heads]
    lines = [f"{bold}{printable(title)}{plain}"]
    if kept:
        lines += [f"{bold}{line}{plain}" for line in _folded(heads, widths, rights)]
        lines.append("─" * (sum(widths) + 2 * len(widths)))
        lines += [line for row in cells for line in _folded(row, widths, rights)]
    lines += ["", *map(printable, after)]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _fitted(widths: list[int], whole: int) -> list[int]:
    """Widths of columns that fit: the widest give way."""
    while sum(widths) + 2 * len(widths) > whole and max(widths) > CELL_MIN:
        widest = widths.index(max(widths))
        widths[widest] -= 1
    return widths


def _folded(row: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> Iterator[str]:
    """A row as lines; long cells go on below themselves."""
    parts = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    for cells in zip_longest(*parts, fillvalue=""):
        yield _line(cells, widths, rights)


def _line(cells: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> str:
    placed = (
        cell.rjust(width) if is_right else cell.ljust(width)
        for cell, width, is_right in zip(cells, widths, rights, strict=True)
    )
    return f" {'  '.join(placed)}".rstrip()
