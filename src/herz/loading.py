"""Other packages' rules: loaded and made at the edge, where they may raise anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from herz.config import PluginEntry, Policy
from herz.engine import ENTRY_POINT_GROUP, third_party
from herz.errors import ConfigError
from herz.plugin import Plugin, ReasonBook

Make = Callable[[Mapping[str, Any], ReasonBook], Plugin]


def made(make: Make, entry: PluginEntry, book: ReasonBook, policy: Policy) -> Plugin:
    """The rule of an entry.

    Args:
        make: its class, or what makes it.
        entry: names it and holds its arguments.
        book: where its rejections get codes.
        policy: whose entry it is.

    Raises:
        ConfigError: it does not take the arguments, or cannot be made.
    """
    try:
        return make(entry.args, book)
    except ConfigError:
        raise
    except Exception as error:
        what = f"rule {entry.name} cannot be made: {type(error).__name__}: {error}"
        where = f"policy {policy.name} plugins"
        fix = "check its arguments, or ask its makers"
        raise ConfigError(what, where=where, value=entry.args, fix=fix) from error


def load(name: str, policy: Policy, ours: Collection[str]) -> Make:
    """What makes another package's rule.

    Args:
        name: of the rule, and of its entry point.
        policy: which names it.
        ours: the rules that need no loading, for the message.

    Raises:
        ConfigError: no package offers it, or its package cannot be loaded.
    """
    point = third_party().get(name)
    if point is None:
        known = ", ".join(sorted((*ours, *third_party())))
        where = f"policy {policy.name} plugins"
        raise ConfigError("unknown rule", where=where, value=name, fix=f"use one of {known}")
    try:
        loaded: Make = point.load()
    except Exception as error:
        what = f"rule cannot be loaded: {type(error).__name__}: {error}"
        where = f"entry point {point.value} of {ENTRY_POINT_GROUP}"
        fix = "mend or remove its package"
        raise ConfigError(what, where=where, value=name, fix=fix) from error
    return loaded
