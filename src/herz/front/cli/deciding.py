"""What a live scheduler decides by: a policy, and whose pods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from herz import app, builtin
from herz.checking import check_start
from herz.commit.audit.entry import Check
from herz.config import Configuration, Policies, Policy
from herz.errors import ConfigError
from herz.world.kube.limits import Limits

SCHEDULER_NAME: Final = "herz"
"""Whose pods are decided where nobody says: to be beside kube-scheduler is the safe beginning."""
_EVENTS_IN_FLIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Deciding:
    """What decides, and about whose pods.

    Args:
        policy: one, or one by scheduler name.
        names: the scheduler names.
        check: what was tried of the policy before the start.
        rate: of writes a second, of binds and of events each; 0: as many as the server takes.
        burst: how many may come at once.
        configuration: kube-scheduler's, where that was given.
    """

    policy: Policy | Policies
    names: tuple[str, ...]
    check: Check
    rate: float = 0
    burst: int = 1
    configuration: Configuration | None = None

    @property
    def limits(self) -> Limits:
        """Of binds, patches and deletions."""
        return Limits(self.rate, self.burst)

    @property
    def event_limits(self) -> Limits:
        """Of events."""
        return Limits(self.rate, self.burst, _EVENTS_IN_FLIGHT)


def deciding(config: str | None, names: tuple[str, ...]) -> Deciding:
    """What a file says, for the scheduler names that were given, or for its own.

    Args:
        config: a built-in policy, a policy file or kube-scheduler's configuration.
        names: given on the command line; none: the file's, or `SCHEDULER_NAME`.

    Raises:
        ConfigError: something in the file is not allowed, or has no profile of a name; a
            comparator or a rule breaks its contract.
    """
    loaded = app.load_policies(config or "default")
    settings = configuration(config)
    own = () if settings is None else tuple(one.scheduler_name for one in settings.profiles)
    unknown = [name for name in names if own and name not in own]
    if isinstance(loaded, Policies) and unknown:
        fix = f"name one of {', '.join(own)}, or give it a profile"
        where = "--scheduler-name"
        raise ConfigError("no profile of that name", where=where, value=unknown[0], fix=fix)
    chosen = names or own or (SCHEDULER_NAME,)
    check = check_start(loaded)
    if settings is None:
        return Deciding(loaded, chosen, check)
    return Deciding(loaded, chosen, check, settings.client.qps, settings.client.burst, settings)


def configuration(config: str | None) -> Configuration | None:
    """kube-scheduler's configuration, where the file is one.

    Raises:
        ConfigError: something in the file is not allowed.
    """
    if config is None or config in builtin.BUILT_IN:
        return None
    settings = app.load_settings(Path(config.partition("#")[0]))
    return settings if isinstance(settings, Configuration) else None
