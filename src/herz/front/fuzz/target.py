"""The comparator that is meant: found, loaded, and asked for the types of its arguments."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from herz.errors import ConfigError
from herz.intake.fuzz import Domain, Form, Words, domain_of, parsed_type, words_of
from herz.intake.fuzz.domains import FIX, PODS
from herz.intake.fuzz.pods import QueuedPods
from herz.plugin import ReasonBook

WHERE: Final = "COMPARATOR"


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed.

    Attributes:
        name: as it was given.
        function: the user's.
        form: what its answers mean.
        domain: what its arguments may be.
        words: constants of its code.
        file: its source file; empty when it has none.
    """

    name: str
    function: Callable[..., Any]
    form: Form
    domain: Domain
    words: Words
    file: str


def load_target(name: str, type_text: str | None) -> Target:
    """Load `MODULE:NAME` or `FILE.py:NAME`; runs the user's module.

    Raises:
        ConfigError: it is not there, cannot be loaded, or its argument types are not known.
    """
    thing = load_thing(name, where=WHERE)
    is_plugin = False
    if isinstance(thing, type):
        thing, is_plugin = _of_class(thing, name)
    elif not callable(thing) and callable(getattr(thing, "less", None)):
        thing, is_plugin = thing.less, True
    if not callable(thing):
        fix = "name a function of two arguments, or a class with `less`"
        raise ConfigError("nothing to call", where=WHERE, value=name, fix=fix)
    form, kind = _declared(thing, name, is_plugin=is_plugin)
    if type_text is not None:
        kind = parsed_type(type_text)
    if kind is None:
        raise ConfigError("the argument types are not known", where=WHERE, value=name, fix=FIX)
    file = getattr(inspect.unwrap(thing), "__code__", None)
    return Target(
        name,
        thing,
        form,
        domain_of(kind if kind is not _NONE else None, _pods),
        words_of(thing),
        "" if file is None else file.co_filename,
    )


def load_thing(name: str, *, where: str) -> Any:
    """What `MODULE:NAME` or `FILE.py:NAME` names.

    Raises:
        ConfigError: it is not there, or its module fails.
    """
    place, separator, attribute = name.rpartition(":")
    if not separator or not place or not attribute:
        fix = "write MODULE:NAME or FILE.py:NAME"
        raise ConfigError("no module and name", where=where, value=name, fix=fix)
    module = _module(place, where)
    thing: Any = module
    for part in attribute.split("."):
        if not hasattr(thing, part):
            fix = "name a function or class of that module"
            raise ConfigError(f"{place} has no {attribute}", where=where, value=name, fix=fix)
        thing = getattr(thing, part)
    return thing


def _module(place: str, where: str) -> Any:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            fix = "name a file that is there"
            raise ConfigError("no such file", where=where, value=place, fix=fix)
        # Imported by its name, so that pickles of its classes find it, and engines can watch it.
        sys.path.insert(0, str(path.resolve().parent))
        place = path.stem
        known = sys.modules.get(place)
        if known is not None and getattr(known, "__file__", None) != str(path.resolve()):
            del sys.modules[place]
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (error.name == place or place.startswith(f"{error.name}.")):
            fix = "install it beside Herz, or give the file: FILE.py:NAME"
            raise ConfigError("no such module", where=where, value=place, fix=fix) from error
        raise _failed(error, place, where) from error
    except (Exception, SystemExit) as error:
        # The edge: the user's module may raise anything.
        raise _failed(error, place, where) from error


def _failed(error: BaseException, place: str, where: str) -> ConfigError:
    what = f"its module cannot be loaded: {type(error).__name__}: {error}"
    return ConfigError(what, where=where, value=place, fix="mend the module")


def _of_class(kind: type, name: str) -> tuple[Callable[..., Any], bool]:
    """A QueueSort rule's `less`, or `<` between a class's objects."""
    if not callable(getattr(kind, "less", None)):
        if "__lt__" in vars(kind):

            def less(one: Any, two: Any) -> Any:
                return one < two

            less.__annotations__ = {"one": kind, "two": kind}
            less.__wrapped__ = kind.__lt__  # type: ignore[attr-defined, operator]
            return less, False
        fix = "name a function, a class with `less`, or one with `__lt__`"
        raise ConfigError("the class orders nothing", where=WHERE, value=name, fix=fix)
    try:
        try:
            made = kind({}, ReasonBook())
        except TypeError:
            made = kind()
    except Exception as error:
        what = f"it cannot be made: {type(error).__name__}: {error}"
        fix = "its constructor takes (args, reasons), as a rule's, or nothing"
        raise ConfigError(what, where=WHERE, value=name, fix=fix) from error
    return made.less, True


_NONE = object()


def _declared(function: Callable[..., Any], name: str, *, is_plugin: bool) -> tuple[Form, Any]:
    """The form, and the arguments' declared type; None where it is not declared."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Form.LESS, None
    needed = [
        one
        for one in parameters
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
    ]
    has_rest = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    if len(needed) not in (1, 2) and not has_rest:
        fix = "it takes two arguments (less, compare) or one (key)"
        raise ConfigError("not a comparator", where=WHERE, value=name, fix=fix)
    hints = _hints(function, needed)
    kinds = [hints.get(one.name, Any) for one in needed]
    form = Form.KEY if len(needed) == 1 and not has_rest else Form.LESS
    if form is Form.LESS and hints.get("return") in (int, float):
        form = Form.THREE_WAY
    if len(kinds) == 2 and kinds[0] != kinds[1] and Any not in kinds:
        fix = "a comparator's two arguments are of one type; or give --type"
        raise ConfigError("arguments of two types", where=WHERE, value=name, fix=fix)
    kind = next((one for one in kinds if one not in (Any, object)), None)
    if kind is type(None):
        return form, _NONE
    if kind is None and is_plugin:
        kind = parsed_type("pod")
    return form, kind


def _hints(function: Callable[..., Any], needed: list[inspect.Parameter]) -> dict[str, Any]:
    """Annotations as types; where names are not there at run time, as far as the text says."""
    plain = inspect.unwrap(function)
    try:
        return typing.get_type_hints(plain, include_extras=False)
    except Exception:
        found: dict[str, Any] = {}
        for one in needed:
            text = one.annotation if isinstance(one.annotation, str) else ""
            last = text.rpartition(".")[2].strip("'\" ")
            if last in PODS:
                found[one.name] = parsed_type(last)
            elif text and text not in ("Any", "typing.Any", "object"):
                found[one.name] = parsed_type(text)
        return found


def _pods(name: str) -> Domain:
    if name in {"PodInfo", "Orderable"}:
        return QueuedPods(whole=False)
    return QueuedPods()
