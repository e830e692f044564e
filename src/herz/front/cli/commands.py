"""The command tree, of which a process loads no more than the command that it was asked for.

Each command's module is loaded with what it needs: a scheduler that was killed starts again
without the reports of a simulation and the training of models.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import Final, Protocol, cast

import typer

_MODULES: Final = MappingProxyType(
    {
        "simulate": "simulate",
        "explain": "explain",
        "up": "up",
        "run": "run",
        "version": "settings",
        "audit": "audit_commands",
        "fuzz": "fuzz",
        "config": "configuration",
        "debug": "debugging",
        "sla": "sla_commands",
        "runtime": "runtime",
    }
)
"""By command, the module that adds it."""


class _Module(Protocol):
    """What a module of a command has."""

    def add_to(self, herz: typer.Typer) -> None:
        """Put the module's commands into the tree."""


def tree(first: str = "") -> typer.Typer:
    """The commands.

    Args:
        first: the first word of the command line. If it names a command, the others are left out
            and not loaded.
    """
    herz = typer.Typer(
        name="herz",
        help="A deterministic, provable, service-level-aware Kubernetes scheduler.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
        epilog="Example: herz simulate shop --report shop.html",
    )
    # Without it a tree of one command would be that command, without its name.
    herz.callback()(lambda: None)
    for name in [_MODULES[first]] if first in _MODULES else _MODULES.values():
        module = cast("_Module", import_module(f"herz.front.cli.{name}"))
        module.add_to(herz)
    return herz
