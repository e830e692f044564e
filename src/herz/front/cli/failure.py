"""Errors as people and programs read them, and the exit code of each.

Human form: what, where, the value and the remedy, a line each, on stderr. With `--output json`
the same as one JSON object. Text from the user's files goes through `printable`: a manifest must
not be able to move the cursor of the terminal that shows its error.
"""

# Annotations are not put off here: as text, those of `Failure` are compiled at each start, 1.2 ms.

import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from herz.errors import AuditError, ConfigError, HerzError, WorldError

VALUE_LENGTH_MAX = 200
"""Bound: characters of the offending value that are shown."""


class Exit(IntEnum):
    """What the process's end says; see docs/reference/cli.md."""

    DONE = 0
    NO = 1
    USAGE = 2
    OUTSIDE = 3
    BUG = 70
    INTERRUPTED = 130


class UsageError(HerzError):
    """What was typed is no command of ours."""

    def __init__(self, what: str, fix: str) -> None:
        """Say what is wrong, and how to mend it."""
        super().__init__(what)
        self.fix = fix


class Failure(NamedTuple):
    """One error, ready to print."""

    kind: str
    exit_code: Exit
    what: str
    where: str = ""
    value: object = None
    fix: str = ""
    is_retryable: bool = False


def failure_of(error: BaseException) -> Failure:
    """The error as one of the kinds that the exit codes tell apart."""
    kind = type(error).__name__
    if isinstance(error, ConfigError):
        return Failure(kind, Exit.USAGE, error.what, error.where, error.value, error.fix)
    if isinstance(error, WorldError):
        return Failure(kind, Exit.OUTSIDE, str(error), is_retryable=error.is_retryable)
    if isinstance(error, AuditError):
        return Failure(kind, Exit.NO, str(error))
    if isinstance(error, UsageError):
        return Failure(kind, Exit.USAGE, str(error), fix=error.fix)
    if isinstance(error, KeyboardInterrupt):
        return Failure("Interrupted", Exit.INTERRUPTED, "stopped by the keyboard")
    if isinstance(error, OSError):
        return Failure("WorldError", Exit.OUTSIDE, error.strerror or str(error))
    # Our bug: none of the codes above may claim it (1 would say that the answer is no).
    known = isinstance(error, HerzError | AssertionError)
    what = str(error) if known and str(error) else f"{kind}: {error}"
    fix = "this is a bug in Herz: report it with the command, the seed and the trace above"
    return Failure(kind, Exit.BUG, what, fix=fix)


def show(failure: Failure, *, is_json: bool) -> None:
    """Print the error on stderr."""
    text = _as_json(failure) if is_json else _as_text(failure)
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--output json` is among the raw arguments.

    Read by hand, because a usage error leaves no parsed options behind.
    """
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        argument == "--output=json" or (argument == "--output" and following == "json")
        for argument, following in pairs
    )


def printable(text: str) -> str:
    """The text with control characters written as escapes; line ends become spaces."""
    flat = " ".join(text.split("\n"))
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in flat
    )


def _as_text(failure: Failure) -> str:
    lines = [f"herz: error: {printable(failure.what)}"]
    if failure.where:
        lines.append(f"  where  {printable(failure.where)}")
    if failure.value is not None:
        lines.append(f"  value  {printable(_value_text(failure.value))}")
    if failure.fix:
        lines.append(f"  fix    {printable(failure.fix)}")
    return "\n".join(lines)


def _as_json(failure: Failure) -> str:
    import json  # noqa: PLC0415  # Only who errs waits for it.

    value = failure.value
    plain = value if isinstance(value, str | int | bool | None) else _value_text(value)
    return json.dumps(
        {
            "error": {
                "kind": failure.kind,
                "exit_code": int(failure.exit_code),
                "what": failure.what,
                "where": failure.where,
                "value": plain[:VALUE_LENGTH_MAX] if isinstance(plain, str) else plain,
                "fix": failure.fix,
                "is_retryable": failure.is_retryable,
            }
        }
    )


def _value_text(value: object) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[: VALUE_LENGTH_MAX - 1]}…"
