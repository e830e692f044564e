"""A user's comparator at arm's length: answers are checked, exceptions are faults."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from herz.intake.fuzz.finding import Finding, Flaw


class Form(StrEnum):
    """What kind of function orders."""

    LESS = "less"
    """`less(a, b)`: whether a is before b."""
    THREE_WAY = "three-way"
    """`compare(a, b)`: below 0, 0 or above 0."""
    KEY = "key"
    """`key(a)`: what to compare."""


class Refuted(Exception):  # noqa: N818  # it carries a finding, it is no error of ours
    """A fault was seen."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(finding.flaw.value)


class StopAsking(BaseException):
    """Raised into a comparator that has used up its time; `except Exception` does not catch it."""


class OutOfTime(Exception):  # noqa: N818  # nothing is wrong: a part of the search is over
    """The part of the search that asks has no time left."""


class Asked:
    """A comparator behind checks.

    Args:
        function: the user's.
        form: what its answers mean.
    """

    def __init__(self, function: Callable[..., Any], form: Form = Form.LESS) -> None:
        self.function = function
        """The user's own."""
        self.form = form
        self.count = 0
        self.last: tuple[Any, Any] = (None, None)
        """The arguments of the call under way, or of the last one."""
        self.before_call: Callable[[Any, Any], None] | None = None
        """Told of each call before it is made."""
        self.is_inside = False
        """Whether the user's code is running."""
        self.is_late = False
        """Set from outside when who asks has no time left."""

    def __call__(self, one: Any, two: Any) -> bool:
        """Whether the first is before the second.

        Raises:
            Refuted: it raised, or its answer is of the wrong type.
            OutOfTime: `is_late`; it was not asked.
        """
        if self.is_late:
            raise OutOfTime
        self.count += 1
        self.last = (one, two)
        if self.before_call is not None:
            self.before_call(one, two)
        self.is_inside = True
        try:
            answer = self._answer(one, two)
        except StopAsking:
            raise Refuted(Finding(Flaw.HANG, (one, two), ("no answer in time",))) from None
        except MemoryError:
            said = "asks for more memory than it may have"
            raise Refuted(Finding(Flaw.RAISED, (one, two), (f"less(a, b) {said}",))) from None
        except BaseException as error:
            # Whatever user code raises is a fault, SystemExit and KeyboardInterrupt included.
            raise self._raised(error, one, two) from None
        finally:
            self.is_inside = False
        if answer is True or answer is False:
            return answer
        what = f"less(a, b) is {_shown(answer)}, of type {type(answer).__name__}"
        raise Refuted(Finding(Flaw.ANSWER, (one, two), (what,)))

    def sign(self, one: Any, two: Any) -> int:
        """What a three-way comparator says: -1, 0 or 1. Others: -1 for before, else 0."""
        if self.form is not Form.THREE_WAY:
            return -self(one, two)
        before = self(one, two)
        return -1 if before else int(bool(self.function(one, two) > 0))

    def _answer(self, one: Any, two: Any) -> Any:
        if self.form is Form.LESS:
            return self.function(one, two)
        if self.form is Form.KEY:
            return self.function(one) < self.function(two)
        answer = self.function(one, two)
        if isinstance(answer, int | float) and not math.isnan(answer):
            return bool(answer < 0)
        return _NotThreeWay(answer)

    def _raised(self, error: BaseException, one: Any, two: Any) -> Refuted:
        said = f"less(a, b) raises {_told(error)}"
        try:
            self._answer(two, one)
        except BaseException as other:
            if one is two or type(other) is type(error):
                return Refuted(Finding(Flaw.RAISED, (one, two), (said,)))
            return Refuted(
                Finding(Flaw.RAISED, (one, two), (said, f"less(b, a) raises {_told(other)}"))
            )
        if one is two:
            return Refuted(Finding(Flaw.RAISED, (one, two), (said,)))
        return Refuted(Finding(Flaw.ONE_SIDED, (one, two), (said, "less(b, a) does not")))


class _NotThreeWay:
    """An answer of a three-way comparator that is no number."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def __repr__(self) -> str:
        return _shown(self._answer)


def _told(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "?"
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def _shown(value: object) -> str:
    try:
        return repr(value)[:120]
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
