"""What was found: the flaw, the arguments that show it, and what was said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Flaw(StrEnum):
    """How a comparator fails."""

    RAISED = "raises"
    ONE_SIDED = "raises for one order of its arguments"
    ANSWER = "answers with something else than True or False"
    IRREFLEXIVE = "puts a value before itself"
    ASYMMETRIC = "puts each of two values before the other"
    TRANSITIVE = "is not transitive"
    INCOMPARABLE = "has equals that are not transitive"
    STATE = "depends on what was asked before"
    TIME = "depends on the time"
    CHANCE = "depends on chance"
    IDENTITY = "depends on the identity of its arguments"
    SEED = "depends on the process or its hash seed"
    ENVIRONMENT = "depends on the environment"
    THREADS = "is disturbed by another thread"
    MUTATION = "changes its arguments"
    SORT = "changes its answers during a sort"
    HANG = "does not answer in time"
    MEMORY = "keeps memory at every call"
    DIED = "ends its process"


LAWS = (Flaw.IRREFLEXIVE, Flaw.ASYMMETRIC, Flaw.TRANSITIVE, Flaw.INCOMPARABLE)
"""The laws of a strict weak order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault with its counter-example.

    Attributes:
        flaw: how it fails.
        arguments: the fewest and simplest values that were found to show it.
        says: what was asked and answered, in words.
        setting: what was different when it answered otherwise (a clock, a seed), by name.
        is_inside: whether the values are inside the declared domain.
    """

    flaw: Flaw
    arguments: tuple[Any, ...] = ()
    says: tuple[str, ...] = ()
    setting: dict[str, Any] = field(default_factory=dict)
    is_inside: bool = True
