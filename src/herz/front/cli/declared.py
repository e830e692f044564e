"""What a command takes, read from its function's signature: `Annotated[str, Option(help="…")]`.

A tree names commands by module and function. A command's module is imported when the command is
called, so that nobody waits for what another command needs.
"""

from __future__ import annotations

import argparse
import enum
import functools
import gc
import importlib
import importlib.util
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from herz.front.cli.failure import Exit, UsageError

HELP_COLUMN = 34
HELP_WIDTH = 98
SEEN = "run the command with --help for its options"


class Argument(NamedTuple):
    """A value known by its place.

    Args:
        metavar: how the help calls it; empty: as the parameter, in capitals.
        help: what it is.
    """

    metavar: str = ""
    help: str = ""


class Option:
    """A value known by its name."""

    def __init__(
        self,
        *names: str,
        metavar: str = "",
        help: str = "",  # noqa: A002  # As argparse and click call it.
        envvar: str = "",
        is_hidden: bool = False,
    ) -> None:
        """Describe it.

        Args:
            names: as typed; none: two dashes and the parameter's name.
            metavar: how the help calls its value; empty: as the parameter, in capitals.
            help: what it is.
            envvar: the variable that says it where no option does.
            is_hidden: the help does not tell of it.
        """
        self.names = names
        self.metavar = metavar
        self.help = help
        self.envvar = envvar
        self.is_hidden = is_hidden


class Command(NamedTuple):
    """A leaf of the tree.

    Args:
        at: MODULE:FUNCTION.
        examples: the name of a text in that module, for the end of the help; empty: none.
    """

    at: str
    examples: str = "EXAMPLE"


class Group(NamedTuple):
    """Commands below a name.

    Args:
        help: what they are for.
        commands: by name, in the order in which they are shown.
        example: the help's last line.
    """

    help: str
    commands: Mapping[str, Command | Group]
    example: str = ""


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=SEEN)


def run(tree: Group, arguments: Sequence[str], name: str) -> int:
    """Find the command, read what it takes, and call it.

    Args:
        tree: all commands.
        arguments: as typed, without the program's name.
        name: the program's.

    Returns:
        The command's own code; `Exit.DONE` where it gives none.

    Raises:
        UsageError: there is no such command, or it does not take that.
    """
    at: Command | Group = tree
    rest = list(arguments)
    while isinstance(at, Group):
        if not rest or rest[0] in ("--help", "-h"):
            told = _help_of_group(at, name)
            (sys.stdout if rest else sys.stderr).write(told)
            return Exit.DONE if rest else Exit.USAGE
        word = rest.pop(0)
        if word not in at.commands:
            kind = "option" if word.startswith("-") else "command"
            raise UsageError(f"no such {kind}: {word}", fix=_near(word, at.commands))
        at, name = at.commands[word], f"{name} {word}"
    function, examples = loaded(at)
    return called(function, rest, name, examples)


def called(function: Callable[..., Any], arguments: Sequence[str], name: str, examples: str) -> int:
    """Read what a function takes from words, and call it; see `run`."""
    parser = parser_of(function, name, examples)
    if any(word in ("--help", "-h") for word in arguments):
        parser.description = _text_of(function)
        parser.formatter_class = _formatter(None)  # As wide as the terminal is.
        sys.stdout.write(parser.format_help())
        return Exit.DONE
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [word for action in parser._actions for word in action.option_strings]
        word = unknown[0].partition("=")[0]
        kind = "option" if word.startswith("-") else "argument"
        raise UsageError(f"no such {kind}: {word}", fix=_near(word, known))
    values = _values(function, vars(given))
    if not gc.isenabled():  # See `herz.front.cli.entry.process`: from here on there may be some.
        gc.freeze()
        gc.enable()
    code = function(**values)
    return code if isinstance(code, int) else Exit.DONE


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
    for parameter in _parameters(function):
        _add(parser, parameter)
    return parser


def _formatter(width: int | None) -> Any:
    return functools.partial(
        argparse.RawDescriptionHelpFormatter, max_help_position=HELP_COLUMN, width=width
    )


class _Parameter(NamedTuple):
    name: str
    hint: Any
    default: Any = ...

    @property
    def mark(self) -> Any:
        return self.hint.__metadata__[0]


@functools.cache
def _parameters(function: Callable[..., Any]) -> list[_Parameter]:
    """What `inspect.signature` says, which takes a tenth of a short command's time to load."""
    code, hints = function.__code__, typing.get_type_hints(function, include_extras=True)
    places = code.co_varnames[: code.co_argcount]
    found = dict(zip(reversed(places), reversed(function.__defaults__ or ()), strict=False))
    found |= function.__kwdefaults__ or {}
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return [_Parameter(name, hints[name], found.get(name, ...)) for name in names]


def _add(parser: argparse.ArgumentParser, parameter: _Parameter) -> None:
    mark = parameter.mark
    kind, is_many = _kind(parameter.hint.__origin__)
    is_needed = parameter.default is ...
    told = mark.help.replace("%", "%%")
    shown = (
        parameter.default.value if isinstance(parameter.default, enum.Enum) else parameter.default
    )
    if isinstance(shown, str) and shown and "[" not in told and not is_needed:
        told += f" [{shown.replace('%', '%%')}]"
    more: dict[str, Any] = {"help": told}
    if kind is not bool:
        more["metavar"] = mark.metavar or _choices(kind) or parameter.name.upper()
        more["type"] = _reader(kind)
    if isinstance(mark, Argument):
        count = ("+" if is_needed else "*") if is_many else (None if is_needed else "?")
        if not is_needed:
            more["default"] = argparse.SUPPRESS  # Said again: argparse would call "*" required.
        parser.add_argument(parameter.name, nargs=count, **more)
        return
    if mark.is_hidden:
        more["help"] = argparse.SUPPRESS
    if kind is bool:
        more["action"] = "store_true"
    elif is_many:
        more["action"] = "append"
    more["required"] = is_needed and not os.environ.get(mark.envvar)
    names = mark.names or (f"--{parameter.name.replace('_', '-')}",)
    parser.add_argument(*names, dest=parameter.name, **more)


def _kind(origin: Any) -> tuple[type, bool]:
    """The type of one value, and whether there may be several."""
    if isinstance(origin, types.UnionType):
        origin = next(one for one in typing.get_args(origin) if one is not type(None))
    if typing.get_origin(origin) is list:
        return typing.get_args(origin)[0], True
    return origin, False


def _choices(kind: type) -> str:
    return "|".join(one.value for one in kind) if issubclass(kind, enum.Enum) else ""


def _reader(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError as error:
            fix = f"one of {_choices(kind).replace('|', ', ')}" if _choices(kind) else kind.__name__
            raise argparse.ArgumentTypeError(f"{text!r} is not {fix}") from error

    return read


def _values(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """What was typed, and what variables say of the rest."""
    for parameter in _parameters(function):
        mark = parameter.mark
        if isinstance(mark, Option) and parameter.name not in given and os.environ.get(mark.envvar):
            given[parameter.name] = os.environ[mark.envvar]
    return given


# ---- the tree ----------------------------------------------------------------------------------


def loaded(command: Command) -> tuple[Callable[..., Any], str]:
    """The function of a command, and the examples for its help."""
    module, _, name = command.at.partition(":")
    home = importlib.import_module(module)
    return getattr(home, name), getattr(home, command.examples) if command.examples else ""


def _help_of_group(group: Group, name: str) -> str:
    width = max(map(len, group.commands))
    lines = [f"usage: {name} COMMAND …", "", group.help, "", "commands:"]
    lines += [f"  {word:<{width}}  {_summary(at)}" for word, at in group.commands.items()]
    lines += ["", f"{name} COMMAND --help shows what one takes."]
    return "\n".join([*lines, *(["", group.example] if group.example else [])]) + "\n"


def _summary(at: Command | Group) -> str:
    """The first line of what it says of itself, read from its source: nothing is imported."""
    import ast  # noqa: PLC0415  # Only a group's help waits for it.

    if isinstance(at, Group):
        return at.help
    module, _, name = at.at.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    with open(str(spec.origin), "rb") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n")[0]
    raise AssertionError(at.at)


def _text_of(function: Callable[..., Any]) -> str:
    import inspect  # noqa: PLC0415  # Only a command's help waits for it.

    return inspect.getdoc(function) or ""


def _near(word: str, known: typing.Iterable[str]) -> str:
    import difflib  # noqa: PLC0415  # Only who errs waits for it.

    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else SEEN
