"""`--journal DIR|URL`: where a journal is, as it is typed; no password of it is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from herz.errors import ConfigError
from herz.front.cli.declared import Option
from herz.front.cli.options import checked_name
from herz.world.store.where import Where, where_of

FORM: Final = "DIR|URL"
ENVIRONMENT: Final = "HERZ_JOURNAL"
"""Says where the journal is, where no option does: what is typed is seen by who lists processes."""

JournalOption = Annotated[
    str,
    Option(
        "--journal",
        metavar=FORM,
        envvar=ENVIRONMENT,
        help="The journal: a folder, or postgresql://…",
    ),
]


def journal_at(text: str) -> Where:
    """The folder or database that is named.

    Raises:
        ConfigError: it is blank, or no URL.
    """
    return where_of(checked_name(text, option="--journal"))


def new_journal(text: str, runs: int) -> Where:
    """Where a journal is to be written.

    Raises:
        ConfigError: the folder above it is not there, or there are several runs: a journal is
            one machine's.
    """
    where = journal_at(text)
    if runs != 1:
        fix = "leave --runs out, or --journal"
        raise ConfigError("a journal of several runs", where="--runs", value=runs, fix=fix)
    if isinstance(where, Path) and not where.absolute().parent.is_dir():
        fix = f"make it first: mkdir -p {where.parent}"
        raise ConfigError("the folder above does not exist", where="--journal", value=text, fix=fix)
    return where
