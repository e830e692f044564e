"""Checks that several kinds share: names, label maps, quantities, selectors, one of a set.

Each raises ConfigError with the field's path, the value and the remedy, and returns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from herz.errors import ConfigError
from herz.model.labels import (
    DOES_NOT_EXIST,
    EXISTS,
    GREATER,
    IN,
    LESS,
    NODE_NAME_FIELD,
    NODE_OPERATORS,
    NOT_IN,
    Labels,
    compile_selector,
    label_key_problem,
    label_value_problem,
)
from herz.model.meta import (
    LabelSelector,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    RawQuantity,
    ResourceMap,
)
from herz.model.quantity import INT64_MAX, parse_quantity

INT32_MAX = 2**31 - 1

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_NAME_FIX = "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
_KEY_FIX = 'write "name" or "prefix.example.com/name"'
_VALUE_FIX = "use at most 63 letters, digits, '-', '_', '.', with a letter or digit at both ends"


def check_metadata(metadata: ObjectMeta) -> None:
    """A name is there, and name, namespace and labels are in form."""
    if not metadata.name:
        fix = "write a name (generateName would be a random one)"
        raise ConfigError("missing name", where="metadata.name", fix=fix)
    _check_name(metadata.name, metadata.name, "metadata.name")
    base = metadata.generate_name
    if base:
        # A letter for the '-' at its end, which a suffix follows, as Kubernetes has it.
        _check_name(re.sub("-$", "a", base), base, "metadata.generateName")
    if metadata.namespace:
        check_namespace(metadata.namespace, "metadata.namespace")
    check_labels(metadata.labels, "metadata.labels")


def _check_name(name: str, value: str, where: str) -> None:
    if not _SUBDOMAIN.fullmatch(name) or len(name) > 253:
        raise ConfigError("not a name", where=where, value=value, fix=_NAME_FIX)


def check_namespace(name: str, where: str) -> None:
    """The name of a namespace: a DNS label."""
    if not _LABEL.fullmatch(name) or len(name) > 63:
        raise ConfigError("not a namespace's name", where=where, value=name, fix=_NAME_FIX)


def check_labels(labels: Labels, where: str) -> None:
    """Keys and values of a label map."""
    for key, value in labels.items():
        check_label_key(key, where)
        check_label_value(value, f"{where}.{key}")


def check_label_key(key: str, where: str) -> None:
    """A label key (also a taint's, and a topology key)."""
    if problem := label_key_problem(key):
        raise ConfigError(problem, where=where, value=key, fix=_KEY_FIX)


def check_label_value(value: str, where: str) -> None:
    """A label value."""
    if problem := label_value_problem(value):
        raise ConfigError(problem, where=where, value=value, fix=_VALUE_FIX)


def check_one_of(value: str | None, allowed: Collection[str], where: str) -> None:
    """One of the allowed texts; absent is allowed."""
    if value and value not in allowed:
        fix = f"use one of {', '.join(sorted(allowed))}"
        raise ConfigError("unknown value", where=where, value=value, fix=fix)


def check_required(value: object, where: str) -> None:
    """Something that isn't empty."""
    if not value and value != 0:
        raise ConfigError("missing", where=where, fix="write a value")


def check_range(value: int | None, least: int, most: int, where: str) -> None:
    """A whole number between two bounds, both allowed; absent is allowed."""
    if value is not None and not least <= value <= most:
        fix = f"use a number from {least} to {most}"
        raise ConfigError("out of range", where=where, value=value, fix=fix)


def check_unique(values: Iterable[object], what: str, where: str) -> None:
    """No value twice."""
    seen: set[object] = set()
    for index, value in enumerate(values):
        if value in seen:
            place = f"{where}[{index}]"
            raise ConfigError(f"{what} stands twice", where=place, value=value, fix="remove one")
        seen.add(value)


def check_resources(given: ResourceMap, where: str) -> None:
    """Every quantity reads, isn't negative, and counts devices and the like in whole numbers."""
    for name, raw in given.items():
        path = f"{where}.{name}"
        nano = check_quantity(raw, path)
        is_whole_only = name == "pods" or ("/" in name and "kubernetes.io/" not in name)
        if is_whole_only and nano % 10**9:
            fix = "use a whole number"
            raise ConfigError("the resource is counted in whole", where=path, value=raw, fix=fix)


def check_quantity(raw: RawQuantity, where: str) -> int:
    """The billionths of a quantity that reads, isn't negative and fits into an int64.

    Kubernetes lets larger ones wrap around to something small; here they are refused.
    """
    try:
        nano = parse_quantity(raw).nano
    except ConfigError as error:
        raise error.at(where) from error
    if nano < 0:
        raise ConfigError("negative quantity", where=where, value=raw, fix="use 0 or more")
    if nano > INT64_MAX * (10**6 if where.endswith(".cpu") else 10**9):
        raise ConfigError("the quantity is too large", where=where, value=raw, fix="use less")
    return nano


def check_selector(selector: LabelSelector | None, where: str) -> None:
    """A label selector that compiles; absent is allowed."""
    try:
        compile_selector(selector)
    except ConfigError as error:
        raise ConfigError(
            error.what,
            where=f"{where}.{error.where}" if error.where else where,
            value=error.value,
            fix=error.fix,
        ) from error


def check_node_selector(selector: NodeSelector, where: str) -> None:
    """Terms with known operators and the right number of values."""
    path = f"{where}.nodeSelectorTerms"
    check_required(selector.node_selector_terms, path)
    for index, term in enumerate(selector.node_selector_terms):
        check_node_term(term, f"{path}[{index}]", are_values_labels=True)


def check_node_term(term: NodeSelectorTerm, where: str, *, are_values_labels: bool) -> None:
    """One term, by the API server's rules.

    They are looser than the selector's own: Gt and Lt take any text there, and a term with one
    that is no number never matches (required) or fails the pod's scoring (preferred).
    """
    for index, item in enumerate(term.match_expressions):
        path = f"{where}.matchExpressions[{index}]"
        _check_operator(item, NODE_OPERATORS, path)
        check_label_key(item.key, f"{path}.key")
        for value in item.values if are_values_labels else ():
            check_label_value(value, f"{path}.values")
    for index, item in enumerate(term.match_fields):
        path = f"{where}.matchFields[{index}]"
        _check_operator(item, (IN, NOT_IN), path)
        if item.key != NODE_NAME_FIELD or len(item.values) != 1:
            fix = f"compare {NODE_NAME_FIELD} with one name"
            raise ConfigError("not a field condition", where=path, value=item.key, fix=fix)


def _check_operator(item: NodeSelectorRequirement, allowed: Collection[str], where: str) -> None:
    check_required(item.operator, f"{where}.operator")
    check_one_of(item.operator, allowed, f"{where}.operator")
    count = len(item.values)
    wanted = {IN: count > 0, NOT_IN: count > 0, EXISTS: count == 0, DOES_NOT_EXIST: count == 0}
    wanted |= {GREATER: count == 1, LESS: count == 1}
    if not wanted[item.operator]:
        fix = "In and NotIn take one or more, Gt and Lt one, Exists and DoesNotExist none"
        path = f"{where}.values"
        raise ConfigError("wrong number of values", where=path, value=list(item.values), fix=fix)
