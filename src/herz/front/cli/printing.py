"""Answers on stdout: a table for people, JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from herz.front.cli.failure import printable
from herz.front.cli.options import Output

WIDTH_PLAIN = 100
"""Columns where stdout is no terminal."""


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
    """A rich table; cells are plain text, so that brackets in names stay brackets."""
    console = Console(
        file=sys.stdout,
        highlight=False,
        markup=False,
        width=None if sys.stdout.isatty() else WIDTH_PLAIN,
    )
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    table = Table(box=box.SIMPLE_HEAD)
    for index in kept:
        style = "bold" if index == 0 else ""
        table.add_column(
            columns[index],
            justify="right" if columns[index] == "value" else "left",
            style=style,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(printable(row[index])) for index in kept))
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    console.print(table)
    for line in after:
        console.print(Text(printable(line)), soft_wrap=True)
    sys.stdout.flush()
