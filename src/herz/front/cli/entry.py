"""The door: starts one command, and is the one place where an error becomes an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace

from herz.errors import ConfigError
from herz.front.cli.failure import Exit, failure_of, show, wants_json


def process() -> int:
    """`main` of a process of its own, which starts and ends sooner.

    To show a decision takes less than 0.1 s, nearly all of it Python's start. A tenth each is saved
    where no garbage is looked for while modules load, for there is none, and as Python ends; and
    where msgspec is loaded sparingly.
    """
    gc.disable()
    _load_msgspec()
    code = main()
    gc.freeze()
    return code


def _load_msgspec() -> None:
    """Import it without typing_extensions, which loads `inspect`: `typing` has all it wants.

    And without `platform`, of which its `uuid` wants the system's name alone.
    """
    system = SimpleNamespace(system=lambda: os.uname().sysname)
    sparing = {"typing_extensions": None, "platform": system}
    missing = [name for name in sparing if name not in sys.modules]
    sys.modules.update({name: sparing[name] for name in missing})  # type: ignore[misc]
    import msgspec  # noqa: F401, PLC0415

    for name in missing:
        del sys.modules[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None takes the process's own.

    Returns:
        The exit code of docs/reference/cli.md; the caller ends the process with it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A name that the locale cannot spell is escaped, not a crash at the last line.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _command(given)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader went away (`herz … | head`): nothing to say, and nobody to say it to. Rich
        # turns that one error into an exit of its own, with the code of a "no".
        _abandon_stdout()
        return Exit.OUTSIDE
    except (Exception, KeyboardInterrupt) as error:  # The edge of the process.
        return _failed(error, given)
    return code


def _command(given: Sequence[str]) -> int:
    """Parse and run; gives the command's own code.

    Raises:
        ConfigError: Python runs without asserts.
        KeyboardInterrupt: the user stopped it.
    """
    if sys.flags.optimize:
        raise ConfigError(
            "asserts are off",
            where="python -O or PYTHONOPTIMIZE",
            value=sys.flags.optimize,
            fix="start Python without -O and unset PYTHONOPTIMIZE: they guard every decision",
        )
    # Imported here: the scheduler must not load before the check above, nor outside `main`'s
    # translation of errors.
    from herz.front.cli.commands import HERZ  # noqa: PLC0415
    from herz.front.cli.declared import run  # noqa: PLC0415

    return run(HERZ, given, "herz")


def _failed(error: BaseException, given: Sequence[str]) -> int:
    """Show the error and give its exit code; a bug of ours keeps its trace."""
    if isinstance(error, OSError):
        # What could not be written now would be tried again, and fail again, as Python ends.
        _abandon_stdout()
    failure = failure_of(error)
    is_json = wants_json(given)
    if failure.exit_code is Exit.BUG and not is_json:
        import traceback  # noqa: PLC0415  # Only who errs waits for it.

        traceback.print_exception(error)
    show(failure, is_json=is_json)
    return failure.exit_code


def _abandon_stdout() -> None:
    """Let the rest of the output go nowhere, if stdout no longer takes it."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
