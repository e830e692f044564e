"""Classes of promises: what a pod's label, its namespace's default and the objects make of it.

A class comes from an `SLAClass` object of the cluster, else from the policy, else from the three
defaults here. A name that none of them has is a problem told to the user, never a class that is
passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from herz.errors import ConfigError
from herz.model.meta import ObjectMeta
from herz.model.service_levels import Indicator, Objective, SLAClass, SLAClassSpec
from herz.model.validate_service_levels import validate_class

CLASS_LABEL: Final = "herz.dev/sla-class"
"""On a pod: its class. On a namespace: the class of its pods that name none."""
CLASSES_MAX: Final = 100
"""Bound: classes of a policy."""

DEFAULTS: Final[Mapping[str, SLAClassSpec]] = {
    "online": SLAClassSpec(
        objective=Objective(kind="latency", quantile_basis_points=9_900, target_milliseconds=100),
        indicator=Indicator(
            query="histogram_quantile(0.99, sum by (le) (rate(request_seconds_bucket[1m])))"
        ),
        weight=10,
    ),
    "streaming": SLAClassSpec(
        objective=Objective(kind="delay", quantile_basis_points=9_900, target_milliseconds=2_000),
        indicator=Indicator(query="max(stream_end_to_end_delay_seconds)"),
        weight=5,
    ),
    "batch": SLAClassSpec(
        objective=Objective(kind="completion", share_basis_points=9_950),
        window_seconds=3_600,
        indicator=Indicator(
            query="sum(kube_job_status_succeeded) / sum(kube_job_spec_completions)"
        ),
        exploration_basis_points=100,
    ),
}
"""The classes that are there without anybody saying so."""


def read_classes(given: object, where: str) -> dict[str, SLAClassSpec]:
    """The classes of a policy: by name, what an SLAClass object has under `spec`.

    Raises:
        ConfigError: a field is not allowed; names its place.
    """
    if not isinstance(given, Mapping) or len(given) > CLASSES_MAX:
        fix = f"give a table of at most {CLASSES_MAX} classes by name"
        raise ConfigError("no classes", where=where, fix=fix)
    return {str(name): _read(given[name], f"{where}.{name}") for name in sorted(given)}


def class_name(labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> str:
    """The name of a pod's class; empty: it promises nothing."""
    return labels.get(CLASS_LABEL, "") or namespace_labels.get(CLASS_LABEL, "")


def resolve(
    name: str, thing: SLAClass | None, known: Mapping[str, SLAClassSpec]
) -> SLAClassSpec | str:
    """The class of this name, or in words why there is none.

    Args:
        name: the name.
        thing: the object of this name, if the cluster has one.
        known: the classes of the policy.
    """
    if thing is not None:
        problem = problem_of(thing)
        return f"SLAClass {name} is wrong: {problem}" if problem else thing.spec
    found = known.get(name) or DEFAULTS.get(name)
    if found is None:
        return f"SLA class {name} is not known"
    return found


def problem_of(thing: SLAClass) -> str:
    """What is wrong with a class; empty: nothing."""
    try:
        validate_class(thing)
    except ConfigError as error:
        return f"{error.where}: {error.what}"
    return ""


def _read(given: Any, where: str) -> SLAClassSpec:
    try:
        spec = msgspec.convert(given, _Strict).spec()
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        place = at.strip("`").removeprefix("$")
        fix = "see docs/reference/sla.md"
        raise ConfigError(what, where=f"{where}{place}", fix=fix) from error
    try:
        validate_class(SLAClass(metadata=ObjectMeta(name="class"), spec=spec))
    except ConfigError as error:
        raise error.at(where) from error
    return spec


class _Objective(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    kind: str
    quantile_basis_points: int = 9_900
    target_milliseconds: int | None = None
    share_basis_points: int | None = None


class _Indicator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: str = ""


class _Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """As `SLAClassSpec`, but a key that nobody knows is an error: people write policies."""

    objective: _Objective
    window_seconds: int = 60
    indicator: _Indicator = _Indicator()
    weight: int = 1
    minimum_probability_basis_points: int = 9_000
    below: str = "prefer"
    exploration_basis_points: int = 0

    def spec(self) -> SLAClassSpec:
        """The same as an object has it."""
        return msgspec.convert(msgspec.to_builtins(self), SLAClassSpec)
