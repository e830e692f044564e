"""A command's words read by argparse, and its help: for more than plain names and values."""

from __future__ import annotations

import argparse
import enum
import functools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from herz.front.cli.declared import SEEN, Argument, Parameter, near, parameters
from herz.front.cli.failure import UsageError

HELP_COLUMN = 34
HELP_WIDTH = 98


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=SEEN)


def parser_of(
    function: Callable[..., Any], name: str, examples: str = ""
) -> argparse.ArgumentParser:
    """The parser of a command; what was not typed is missing from its answer."""
    parser = _Parser(
        prog=name,
        epilog=examples,
        formatter_class=_formatter(HELP_WIDTH),  # It is asked at each parameter.
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for parameter in parameters(function):
        _add(parser, parameter)
    return parser


def help_of(parser: argparse.ArgumentParser, text: str) -> str:
    """What `--help` prints of a command that says this of itself, as wide as the terminal is."""
    parser.description = text
    parser.formatter_class = _formatter(None)
    return parser.format_help()


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    """What was typed, by the function's names.

    Raises:
        UsageError: the command does not take that.
    """
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [word for action in parser._actions for word in action.option_strings]
        word = unknown[0].partition("=")[0]
        kind = "option" if word.startswith("-") else "argument"
        raise UsageError(f"no such {kind}: {word}", fix=near(word, known))
    return vars(given)


def _formatter(width: int | None) -> Any:
    return functools.partial(
        argparse.RawDescriptionHelpFormatter, max_help_position=HELP_COLUMN, width=width
    )


def _add(parser: argparse.ArgumentParser, parameter: Parameter) -> None:
    mark, kind = parameter.mark, parameter.kind
    has_default = parameter.default is not ...
    told = mark.help.replace("%", "%%")
    shown = (
        parameter.default.value if isinstance(parameter.default, enum.Enum) else parameter.default
    )
    if isinstance(shown, str) and shown and "[" not in told:
        told += f" [{shown.replace('%', '%%')}]"
    more: dict[str, Any] = {"help": told}
    if kind is not bool:
        more["metavar"] = mark.metavar or _choices(kind) or parameter.name.upper()
        more["type"] = _reader(kind)
    if isinstance(mark, Argument):
        more["nargs"] = ("*" if has_default else "+") if parameter.is_many else None
        if has_default:
            more["nargs"] = more["nargs"] or "?"
            more["default"] = argparse.SUPPRESS  # Said again: argparse would call "*" required.
        parser.add_argument(parameter.name, **more)
        return
    if mark.is_hidden:
        more["help"] = argparse.SUPPRESS
    if kind is bool:
        more["action"] = "store_true"
    elif parameter.is_many:
        more["action"] = "append"
    more["required"] = parameter.is_needed
    parser.add_argument(*parameter.names, dest=parameter.name, **more)


def _choices(kind: type) -> str:
    return "|".join(one.value for one in kind) if issubclass(kind, enum.Enum) else ""


def _reader(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text is argparse.SUPPRESS:
            return text  # argparse reads even this default of a place that nobody filled.
        try:
            return kind(text)
        except ValueError as error:
            fix = f"one of {_choices(kind).replace('|', ', ')}" if _choices(kind) else kind.__name__
            raise argparse.ArgumentTypeError(f"{text!r} is not {fix}") from error

    return read
