"""What a profile's plugin sets amount to: defaults merged in, `multiPoint` spread over the points.

Pure: sets in, lists of names out, by kube-scheduler's own steps, so that a file means here what
it means there. Source: Kubernetes 1.36 pkg/scheduler/apis/config/v1/default_plugins.go
(mergePluginSet) and pkg/scheduler/framework/runtime/framework.go (expandMultiPointPlugins).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from herz.config.intree import DEFAULTS
from herz.config.wire import KUBERNETES_POINTS, Plugin, Plugins, PluginSet
from herz.errors import ConfigError

ALL: Final = "*"
MULTI: Final = "multiPoint"


def with_defaults(given: Plugins, own: Sequence[str]) -> Plugins:
    """The sets with the default plugins in `multiPoint`.

    Args:
        given: the profile's own sets.
        own: names of the defaults that kube-scheduler does not have, which go last.
    """
    defaults = [Plugin(name=name, weight=weight) for name, weight in DEFAULTS.items()]
    defaults += [Plugin(name=name) for name in own if name not in DEFAULTS]
    sets = {field: merge((), getattr(given, field)) for field in Plugins.__struct_fields__}
    sets["multi_point"] = merge(defaults, given.multi_point)
    return Plugins(**sets)


def merge(defaults: Sequence[Plugin], given: PluginSet) -> PluginSet:
    """The defaults that are not disabled, each replaced in its place; then the other enabled."""
    disabled = {plugin.name for plugin in given.disabled}
    # Of a name that stands twice the last replaces the default; the other stays, and is refused.
    replacing = {plugin.name: index for index, plugin in enumerate(given.enabled)}
    used = set()
    enabled = []
    for plugin in () if ALL in disabled else defaults:
        if plugin.name in disabled:
            continue
        index = replacing.get(plugin.name)
        if index is not None:
            used.add(index)
        enabled.append(plugin if index is None else given.enabled[index])
    enabled += [plugin for index, plugin in enumerate(given.enabled) if index not in used]
    return PluginSet(enabled=tuple(enabled), disabled=given.disabled)


def expand(plugins: Plugins, extends: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """By extension point, the names of the plugins that are asked there, in order.

    Args:
        plugins: the sets, with the defaults.
        extends: by name, the extension points of each enabled plugin.

    Raises:
        ConfigError: a plugin is enabled twice, or where it has nothing to do.
    """
    return {point: _expanded(plugins, point, extends) for point in KUBERNETES_POINTS}


def weights(plugins: Plugins, extends: Mapping[str, Collection[str]]) -> dict[str, int]:
    """By name, the weight of each plugin that scores: that at `score` before `multiPoint`'s.

    0 and no weight both mean 1, as for kube-scheduler.
    """
    found: dict[str, int] = {}
    for plugin in (*plugins.score.enabled, *plugins.multi_point.enabled):
        if "score" in extends[plugin.name]:
            found.setdefault(plugin.name, plugin.weight or 1)
    return found


def one_order(
    base: Iterable[str], lists: Iterable[tuple[str, Sequence[str]]]
) -> tuple[list[str], list[str]]:
    """One order that agrees with the lists, the first of which count most.

    Args:
        base: all names; says who comes first where the lists do not.
        lists: extension points with their names in order.

    Returns:
        The order, and the points whose list it does not agree with.
    """
    names = list(dict.fromkeys(base))
    before: dict[str, set[str]] = {name: set() for name in names}
    order, against = names, []
    for point, listed in lists:
        tried = {name: set(needs) for name, needs in before.items()}
        for first, second in pairwise(listed):
            tried[second].add(first)
        found = _sorted(names, tried)
        if found is None:
            against.append(point)
        else:
            before, order = tried, found
    return order, against


def _sorted(names: Sequence[str], before: Mapping[str, set[str]]) -> list[str] | None:
    """The names, each after those before it; None when they go in a circle."""
    waiting, done = list(names), dict[str, None]()
    # Bound: each round takes one name.
    while waiting:
        name = next((name for name in waiting if before[name] <= done.keys()), None)
        if name is None:
            return None
        waiting.remove(name)
        done[name] = None
    return list(done)


def _expanded(
    plugins: Plugins, point: str, extends: Mapping[str, Collection[str]]
) -> tuple[str, ...]:
    explicit = _explicit(plugins.at(point), point, extends)
    disabled = {plugin.name for plugin in plugins.at(point).disabled}
    if ALL in disabled:
        return tuple(explicit)
    overridden: list[str] = []
    spread: list[str] = []
    for plugin in plugins.multi_point.enabled:
        name = plugin.name
        if point not in extends[name] or name in disabled:
            continue
        if name in explicit:
            overridden.append(name)
        elif name in spread:
            where = f"plugins.{MULTI}.enabled"
            raise ConfigError("plugin enabled twice", where=where, value=name, fix="enable it once")
        else:
            spread.append(name)
    first = [name for name in explicit if name in overridden]
    last = [name for name in explicit if name not in overridden]
    return (*first, *spread, *last)


def _explicit(given: PluginSet, point: str, extends: Mapping[str, Collection[str]]) -> list[str]:
    """The names enabled at the point itself."""
    names: list[str] = []
    for index, plugin in enumerate(given.enabled):
        where = f"plugins.{point}.enabled[{index}]"
        if plugin.name in names:
            raise ConfigError(
                "plugin enabled twice", where=where, value=plugin.name, fix="enable it once"
            )
        if point not in extends[plugin.name]:
            known = ", ".join(extends[plugin.name])
            fix = f"enable it at {known}" if known else "remove it"
            what = f"plugin has nothing to do at {point}"
            raise ConfigError(what, where=where, value=plugin.name, fix=fix)
        names.append(plugin.name)
    return names
