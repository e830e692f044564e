"""From the profiles of a KubeSchedulerConfiguration to policies: one policy a profile.

Knows no rule: which there are, and what each of them extends, is handed in as `Rules`. What Herz
does not do as kube-scheduler does becomes a warning that names the field where that is harmless,
and a ConfigError that names it where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from herz.config.expansion import ALL, MULTI, expand, one_order, weights, with_defaults
from herz.config.intree import BINDER, DEFAULTS, EXTENDS, REMOVED, SORTER
from herz.config.policy import (
    POINTS,
    WEIGHT_MAX,
    BackoffPolicy,
    PluginEntry,
    Policy,
    QueuePolicy,
    check_policy,
)
from herz.config.wire import (
    API_VERSION,
    KUBERNETES_POINTS,
    KubeSchedulerProfile,
    Plugin,
    PluginConfig,
    Plugins,
)
from herz.errors import ConfigError

_ABSENT: Final = ("postBind", "placementGenerate", "placementScore")
"""Extension points that Herz has no step for."""
_LEADS: Final = {"preFilter": "filter", "preScore": "score"}
_ORDERED: Final = ("filter", "preEnqueue", "postFilter", "reserve", "permit", "preBind")
"""Points at which it matters who is asked first, the most telling one first."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that a profile may enable.

    Args:
        names: all that are known.
        defaults: those enabled without being named, beside kube-scheduler's defaults.
        guards: those that are always asked, first, and cannot be disabled.
        extends: at which of `POINTS` a rule is asked, given its arguments; raises ConfigError
            for arguments that it does not take.
    """

    names: Collection[str]
    defaults: Sequence[str]
    guards: Sequence[str]
    extends: Callable[[str, Mapping[str, Any]], Collection[str]]


@dataclass(frozen=True, slots=True)
class Translated:
    """A profile as Herz takes it: its policy, and itself with the defaults filled in."""

    policy: Policy
    profile: KubeSchedulerProfile
    warnings: tuple[str, ...]


def translate(profile: KubeSchedulerProfile, backoff: BackoffPolicy, rules: Rules) -> Translated:
    """The policy of a profile that has its scheduler name.

    Raises:
        ConfigError: the profile names what is not there, or asks for what Herz does not do;
            `where` is the path inside the profile.
    """
    return _Translation(profile, rules).run(backoff)


class _Translation:
    """One profile on its way; holds what has been found out so far."""

    def __init__(self, profile: KubeSchedulerProfile, rules: Rules) -> None:
        self._profile = profile
        self._given = profile.plugins
        self._rules = rules
        self._warnings: list[str] = []
        self._args: dict[str, dict[str, Any]] = {}
        self._extends: dict[str, tuple[str, ...]] = {}

    def run(self, backoff: BackoffPolicy) -> Translated:
        name = self._profile.scheduler_name
        assert name, "a profile without a name is refused before"
        self._check_sets()
        self._read_arguments()
        merged = with_defaults(self._given, self._rules.defaults)
        self._extends = {plugin.name: self._points(plugin.name) for plugin in _enabled(merged)}
        lists = expand(merged, self._extends)
        sort = self._queue_sort(lists["queueSort"])
        self._check_bind(lists["bind"])
        entries = self._entries(merged, lists)
        policy = Policy(
            name=name, plugins=tuple(entries), queue=QueuePolicy(sort=sort, backoff=backoff)
        )
        check_policy(policy, "plugins")
        self._tell_of_unused(entries)
        complete = msgspec.structs.replace(self._profile, plugins=merged)
        return Translated(policy, complete, tuple(self._warnings))

    # ---- what is given ------------------------------------------------------------------

    def _check_sets(self) -> None:
        for point in (MULTI, *KUBERNETES_POINTS):
            given = self._given.at(point)
            for index, plugin in enumerate(given.enabled):
                where = f"plugins.{point}.enabled[{index}]"
                if point in _ABSENT:
                    what, fix = f"Herz asks no plugin at {point}", "remove it"
                    raise ConfigError(what, where=where, value=plugin.name, fix=fix)
                self._check_name(plugin.name, where)
                self._check_weight(plugin, point, where)
            for index, plugin in enumerate(given.disabled):
                self._check_disabled(plugin.name, f"plugins.{point}.disabled[{index}]")

    def _check_name(self, name: str, where: str) -> None:
        if name in self._rules.names or name in DEFAULTS:
            return
        if name in REMOVED:
            fix = f"use {REMOVED[name]}"
            raise ConfigError("plugin that v1 has no more", where=where, value=name, fix=fix)
        known = ", ".join(sorted({*self._rules.names, BINDER}))
        raise ConfigError("unknown plugin", where=where, value=name, fix=f"use one of {known}")

    def _check_weight(self, plugin: Plugin, point: str, where: str) -> None:
        if plugin.weight is None:
            return
        if not 0 <= plugin.weight <= WEIGHT_MAX:
            raise ConfigError(
                "weight out of range",
                where=f"{where}.weight",
                value=plugin.weight,
                fix=f"give a weight from 1 to {WEIGHT_MAX}; 0 means 1",
            )
        if point not in ("score", MULTI) and plugin.weight:
            self._warn(f"{where}.weight", f"{plugin.weight} has no effect: only scores have one")

    def _check_disabled(self, name: str, where: str) -> None:
        if name in self._rules.guards:
            what = "rule that cannot be disabled: it refuses what Herz does not understand"
            raise ConfigError(what, where=where, value=name, fix="remove it from the list")
        is_known = name in self._rules.names or name in EXTENDS or name in REMOVED
        if name != ALL and not is_known:
            self._warn(where, f"{name} has no effect: no rule has that name")

    def _read_arguments(self) -> None:
        for index, given in enumerate(self._profile.plugin_config):
            where = f"pluginConfig[{index}]"
            if given.name in self._args:
                fix = "give its arguments once"
                raise ConfigError("arguments given twice", where=where, value=given.name, fix=fix)
            if given.name in DEFAULTS and given.name not in self._rules.names:
                what = "arguments for a plugin that this release of Herz lacks"
                if given.name == BINDER:
                    what = "arguments for a plugin that takes none"
                raise ConfigError(what, where=where, value=given.name, fix="remove them")
            self._check_name(given.name, f"{where}.name")
            args = plain_arguments(given, where)
            try:
                self._rules.extends(given.name, args)
            except ConfigError as error:
                raise _in_arguments(error, f"{where}.args") from error
            self._args[given.name] = args

    # ---- what it amounts to -------------------------------------------------------------

    def _points(self, name: str) -> tuple[str, ...]:
        """The plugin's extension points: Kubernetes' and those that Herz' rule has besides."""
        kubernetes = EXTENDS.get(name, ())
        if name not in self._rules.names:
            return kubernetes
        try:
            ours = self._rules.extends(name, self._args.get(name, {}))
        except ConfigError as error:
            where = self._enabled_at(name)
            raise ConfigError(error.what, where=where, value=error.value, fix=error.fix) from error
        return (*kubernetes, *(point for point in ours if point not in kubernetes))

    def _queue_sort(self, names: Sequence[str]) -> str | None:
        if len(names) == 1:
            return None if names[0] == SORTER else names[0]
        what = "more than one plugin orders the queue" if names else "no plugin orders the queue"
        fix = f"enable {SORTER} or another, and only one"
        value = ", ".join(names) or None
        raise ConfigError(what, where="plugins.queueSort", value=value, fix=fix)

    def _check_bind(self, names: Sequence[str]) -> None:
        if names == (BINDER,):
            return
        where = self._disabled_at("bind", BINDER) or "plugins.bind"
        fix = f"leave {BINDER} enabled"
        raise ConfigError(f"Herz binds itself, as {BINDER}", where=where, fix=fix)

    def _entries(self, plugins: Plugins, lists: Mapping[str, tuple[str, ...]]) -> list[PluginEntry]:
        """The rules of the policy, guards first, then in one order for all points."""
        rules = self._rules
        asked = {
            point: [name for name in names if name in rules.names and name not in rules.guards]
            for point, names in lists.items()
        }
        for name in dict.fromkeys(name for names in asked.values() for name in names):
            self._check_steps(name, asked)
        self._tell_of_lacking(lists)
        found = weights(plugins, self._extends)
        guards = [PluginEntry(name, args=self._args.get(name, {})) for name in rules.guards]
        return guards + [self._entry(name, asked, found) for name in self._order(plugins, asked)]

    def _order(self, plugins: Plugins, asked: Mapping[str, Sequence[str]]) -> list[str]:
        """The names of all rules that are asked, in one order for all points."""
        known = {name for point in POINTS for name in asked[point]}
        base = [plugin.name for plugin in _enabled(plugins) if plugin.name in known]
        order, against = one_order(base, [(point, asked[point]) for point in (*_ORDERED, "score")])
        for point in against:
            # Points are summed up: in which order they are asked for does not show.
            if point != "score":
                told = "its order differs from filter's; Herz asks rules in one order at all points"
                self._warn(f"plugins.{point}", told)
        return order

    def _entry(
        self, name: str, asked: Mapping[str, Sequence[str]], found: Mapping[str, int]
    ) -> PluginEntry:
        points = self._extends[name]
        off = tuple(point for point in POINTS if point in points and name not in asked[point])
        weight = found[name] if name in asked["score"] else None
        return PluginEntry(name, weight, self._args.get(name, {}), off)

    def _check_steps(self, name: str, asked: Mapping[str, Sequence[str]]) -> None:
        """Herz has no preFilter and preScore of their own: they go with filter and score."""
        for step, point in _LEADS.items():
            if step not in self._extends[name] or point not in self._extends[name]:
                continue
            has_step, has_point = name in asked[step], name in asked[point]
            if has_point and not has_step:
                where = self._disabled_at(step, name) or f"plugins.{step}"
                what = f"{name} cannot be asked at {point} without {step}"
                fix = f"disable it at {point} as well, or leave {step} enabled"
                raise ConfigError(what, where=where, value=name, fix=fix)
            if has_step and not has_point and point == "filter":
                where = self._disabled_at(point, name) or f"plugins.{point}"
                self._warn(where, f"{name} is not asked at {step} either: it goes with {point}")

    # ---- what is told -------------------------------------------------------------------

    def _tell_of_lacking(self, lists: Mapping[str, tuple[str, ...]]) -> None:
        for name in dict.fromkeys(name for names in lists.values() for name in names):
            if name in self._rules.names or name in (BINDER, SORTER):
                continue
            told = f"{name} is accepted; this release of Herz lacks it"
            self._warn(self._enabled_at(name), told)

    def _tell_of_unused(self, entries: Sequence[PluginEntry]) -> None:
        used = {entry.name for entry in entries}
        for index, given in enumerate(self._profile.plugin_config):
            if given.name not in used:
                self._warn(f"pluginConfig[{index}]", f"no effect: {given.name} is not enabled")

    def _enabled_at(self, name: str) -> str:
        """Where the profile first enables the plugin; a default is not named there."""
        for point in (MULTI, *KUBERNETES_POINTS):
            for index, plugin in enumerate(self._given.at(point).enabled):
                if plugin.name == name:
                    return f"plugins.{point}.enabled[{index}]"
        return f"plugins.{MULTI}"

    def _disabled_at(self, point: str, name: str) -> str | None:
        """Where the profile disables the plugin at the point; None where it does not."""
        for at in (point, MULTI):
            for index, plugin in enumerate(self._given.at(at).disabled):
                if plugin.name in (name, ALL):
                    return f"plugins.{at}.disabled[{index}]"
        return None

    def _warn(self, where: str, what: str) -> None:
        self._warnings.append(f"{where}: {what}")


def plain_arguments(given: PluginConfig, where: str) -> dict[str, Any]:
    """The arguments without `apiVersion` and `kind`, which are checked for Kubernetes' plugins.

    Raises:
        ConfigError: they are of another kind or version.
    """
    if given.name not in EXTENDS:
        return given.args
    wanted = {"apiVersion": API_VERSION, "kind": f"{given.name}Args"}
    for key, value in wanted.items():
        if given.args.get(key, value) != value:
            raise ConfigError(
                f"arguments of another {key}",
                where=f"{where}.args.{key}",
                value=given.args[key],
                fix=f"write {key}: {value}, or leave it out",
            )
    return {key: value for key, value in given.args.items() if key not in wanted}


def _in_arguments(error: ConfigError, where: str) -> ConfigError:
    """A rule's error, with the place of the arguments in the file before its own."""
    what, _, at = error.what.partition(" - at ")
    inner = at.strip("`").removeprefix("$")
    if not at and ".args" in error.where:
        inner = error.where.partition(".args")[2]
    # All arguments are no value to show: the reader of the file finds the one at the place.
    value = None if isinstance(error.value, Mapping) else error.value
    return ConfigError(what, where=f"{where}{inner}", value=value, fix=error.fix)


def _enabled(plugins: Plugins) -> list[Plugin]:
    """All enabled plugins, `multiPoint`'s first; a name may stand several times."""
    return [plugin for point in (MULTI, *KUBERNETES_POINTS) for plugin in plugins.at(point).enabled]
