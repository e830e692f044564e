"""Files of settings: Herz' own policies and kube-scheduler's configuration, told apart."""

from __future__ import annotations

from pathlib import Path

from herz.config.kubescheduler import (
    Configuration,
    complete_configuration,
    is_configuration,
    parse_configuration,
)
from herz.config.policies import Policies, parse_policies
from herz.config.policy import Policy, parse_policy, read_bytes, read_plain
from herz.config.profiles import Rules
from herz.config.wire import KubeSchedulerConfiguration
from herz.errors import ConfigError


def read_settings(path: Path | None, rules: Rules) -> Policy | Policies | Configuration:
    """What the file holds; without one, kube-scheduler's defaults.

    Raises:
        ConfigError: the file cannot be read, or something in it is not allowed.
    """
    if path is None:
        return complete_configuration(KubeSchedulerConfiguration(), rules)
    data = read_bytes(path)
    if is_configuration(data):
        return parse_configuration(data, rules, source=str(path))
    given = read_plain(path)
    if isinstance(given, dict) and "profiles" in given:
        return parse_policies(given, where=str(path))
    return parse_policy(given, where=str(path))


def split_profile(text: str) -> tuple[str, str]:
    """`FILE#NAME` as the file and the scheduler name, which is empty where none is given."""
    path, _, scheduler = text.rpartition("#")
    # A file may have the sign in its name.
    return (path, scheduler) if path and not Path(text).exists() else (text, "")


def pick_policy(settings: Policy | Policies | Configuration, path: str, scheduler: str) -> Policy:
    """The policy of the scheduler name; empty: the only one.

    Raises:
        ConfigError: there are several, or none of that name.
    """
    if isinstance(settings, Policy):
        if scheduler:
            fix = f"give {path} alone: it has one policy"
            raise ConfigError("policy without profiles", where=path, value=scheduler, fix=fix)
        return settings
    policies = {profile.scheduler_name: profile.policy for profile in settings.profiles}
    if not scheduler and len(policies) == 1:
        return next(iter(policies.values()))
    if scheduler not in policies:
        what = "no such profile" if scheduler else "several profiles"
        fix = "pick one: " + ", ".join(f"{path}#{name}" for name in policies)
        raise ConfigError(what, where=path, value=scheduler or None, fix=fix)
    return policies[scheduler]


def pick_policies(
    settings: Policy | Policies | Configuration, path: str, scheduler: str
) -> Policy | Policies:
    """The policy of the scheduler name; empty: all that there are.

    Raises:
        ConfigError: there is none of that name.
    """
    if scheduler or isinstance(settings, Policy) or len(settings.profiles) == 1:
        return pick_policy(settings, path, scheduler)
    return Policies.of(settings.profiles)
