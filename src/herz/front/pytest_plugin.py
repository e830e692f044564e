"""Checks of comparators and rules for plugin authors' own tests, in one line each.

    def test_order(check_comparator): check_comparator("my_rules:by_age")
    def test_rule(check_rule): check_rule("my_rules:NoSpotForBatch")

Loaded by pytest itself, through the entry point group `pytest11`; costs nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

SECONDS = 5
SEED = 0


@pytest.fixture
def check_comparator() -> Callable[..., None]:
    """`check_comparator("module:name", type="int", seconds=5, seed=0)`: fails where it is faulty.

    The same as `herz fuzz comparator`.
    """
    # Loaded where it is asked for: every other test session starts as fast as before.
    from herz.front.fuzz.run import Wish, fuzz_comparator  # noqa: PLC0415

    def check(
        target: str,
        *,
        type: str | None = None,  # noqa: A002  # as the option --type
        seconds: float = SECONDS,
        seed: int = SEED,
    ) -> None:
        wish = Wish(target, type, seconds, seed, is_hostile=False)
        fault = fuzz_comparator(wish, _nobody).fault
        if fault is not None:
            values = [
                f"  {name} = {shown}" for name, shown in zip("abc", fault.shown, strict=False)
            ]
            lines = [f"{target} {fault.flaw.value}:", *values, *(f"  {one}" for one in fault.says)]
            pytest.fail("\n".join([*lines, f"  seed {seed}"]), pytrace=False)

    return check


@pytest.fixture
def check_rule() -> Callable[..., None]:
    """`check_rule("module:Class", args={}, seconds=5, seed=0)`: fails where a clause is broken.

    The same as `herz fuzz plugin`.
    """
    from herz.front.fuzz.rules import RuleWish, fuzz_rule  # noqa: PLC0415

    def check(
        target: str,
        *,
        args: Mapping[str, Any] | None = None,
        seconds: float = SECONDS,
        seed: int = SEED,
    ) -> None:
        report = fuzz_rule(RuleWish(target, args or {}, seconds, seed), _nobody)
        if not report.is_sound:
            lines = [f"{target} {report.clause}:", *(f"  {one}" for one in report.says)]
            lines.append(f"  repeat: herz fuzz plugin {target} --seed {seed} --case {report.case}")
            pytest.fail("\n".join(lines), pytrace=False)

    return check


def _nobody(text: str) -> None:
    """Takes the progress."""
