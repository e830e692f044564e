"""What a command takes, read from its function's signature: `Annotated[str, Option(help="…")]`.

A tree names commands by module and function. A command's module is imported when the command is
called, so that nobody waits for what another command needs.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from herz.front.cli.failure import Exit, UsageError

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
            raise UsageError(f"no such {kind}: {word}", fix=near(word, at.commands))
        at, name = at.commands[word], f"{name} {word}"
    function, examples = loaded(at)
    return called(function, rest, name, examples)


def called(function: Callable[..., Any], arguments: Sequence[str], name: str, examples: str) -> int:
    """Read what a function takes from words, and call it; see `run`."""
    wants_help = "--help" in arguments or "-h" in arguments
    given = None if wants_help else read_plain(function, arguments)
    if given is None:
        from herz.front.cli import parsing  # noqa: PLC0415  # Who types plainly waits for none.

        parser = parsing.parser_of(function, name, examples)
        if wants_help:
            sys.stdout.write(parsing.help_of(parser, _text_of(function)))
            return Exit.DONE
        given = parsing.parsed(parser, arguments)
    values = _values(function, given)
    if not gc.isenabled():  # See `herz.front.cli.entry.process`: from here on there may be some.
        gc.freeze()
        gc.enable()
    code = function(**values)
    return code if isinstance(code, int) else Exit.DONE


def read_plain(function: Callable[..., Any], words: Sequence[str]) -> dict[str, Any] | None:
    """What was typed, where that is only names with their values, and places in one piece.

    Returns:
        The same as argparse would say, whose import is a tenth of a short command's time. None
        where it is anything else, or wrong: argparse must look.
    """
    options = {name: one for one in parameters(function) for name in one.names}
    given: dict[str, Any] = {}
    places: list[int] = []
    rest = iter(enumerate(words))
    try:
        for at, word in rest:
            if not word.startswith("-"):
                places.append(at)
                continue
            option = options[word]
            value = option.kind is bool or _plain(option.kind, next(rest)[1])
            given[option.name] = [*given.get(option.name, ()), value] if option.is_many else value
        if places and places[-1] - places[0] >= len(places):
            return None
        for one in parameters(function):
            if isinstance(one.mark, Argument) and places:
                given[one.name] = _plain(one.kind, words[places.pop(0)])
            if one.is_needed and one.name not in given:
                return None
            if one.is_many and isinstance(one.mark, Argument):
                return None
    except (KeyError, ValueError, StopIteration):
        return None
    return None if places else given


def _plain(kind: type, word: str) -> Any:
    if word.startswith("-"):
        raise ValueError(word)
    return kind(word)


class Parameter(NamedTuple):
    """What a function takes.

    Args:
        name: its name there.
        mark: what it is to who types it.
        kind: the type of one value.
        is_many: whether there may be several.
        default: `...` where there is none.
    """

    name: str
    mark: Argument | Option
    kind: type
    is_many: bool
    default: Any = ...

    @property
    def names(self) -> Sequence[str]:
        """As an option is typed; empty for what is known by its place."""
        if isinstance(self.mark, Argument):
            return ()
        return self.mark.names or (f"--{self.name.replace('_', '-')}",)

    @property
    def is_needed(self) -> bool:
        """Whether it must be typed, for neither the function nor a variable says it."""
        said = isinstance(self.mark, Option) and os.environ.get(self.mark.envvar)
        return self.default is ... and not said


@functools.cache
def parameters(function: Callable[..., Any]) -> list[Parameter]:
    """What `inspect.signature` says, which takes a tenth of a short command's time to load."""
    code, hints = function.__code__, typing.get_type_hints(function, include_extras=True)
    places = code.co_varnames[: code.co_argcount]
    found = dict(zip(reversed(places), reversed(function.__defaults__ or ()), strict=False))
    found |= function.__kwdefaults__ or {}
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return [
        Parameter(name, hint.__metadata__[0], *_kind(hint.__origin__), found.get(name, ...))
        for name, hint in ((name, hints[name]) for name in names)
    ]


def _kind(origin: Any) -> tuple[type, bool]:
    """The type of one value, and whether there may be several."""
    if isinstance(origin, types.UnionType):
        origin = next(one for one in typing.get_args(origin) if one is not type(None))
    if typing.get_origin(origin) is list:
        return typing.get_args(origin)[0], True
    return origin, False


def _values(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """What was typed, and what variables say of the rest."""
    for parameter in parameters(function):
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
    import ast  # noqa: PLC0415  # Only a group's help waits for these.
    import importlib.util  # noqa: PLC0415

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


def near(word: str, known: typing.Iterable[str]) -> str:
    """How to mend a name that is not known: the nearest one that is."""
    import difflib  # noqa: PLC0415  # Only who errs waits for it.

    found = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {found[0]}?" if found else SEEN
