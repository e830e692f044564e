"""The policy, as a value with a digest, and how it is read from Herz' own kind of file.

A policy is everything that decides besides the cluster: the rules with their weights and
arguments, and the bounds of the queue and of the order. Its digest names it in every record.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml

from herz.errors import ConfigError
from herz.model.toml_text import parse_toml
from herz.model.yaml_text import refuse_depth, refuse_surrogates

WEIGHT_MAX: Final = 10_000
"""Bound: the sum of all weighted points then fits in 31 bits."""
PLUGINS_MAX: Final = 200
BYTES_MAX: Final = 1 << 20
"""Bound: a larger policy file is refused unread."""

POINTS: Final = (
    "preEnqueue",
    "queueSort",
    "filter",
    "postFilter",
    "score",
    "reserve",
    "permit",
    "preBind",
)
"""Kubernetes' extension points at which Herz asks rules."""


class PluginEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of a policy.

    Args:
        name: the rule's name.
        weight: of its points, 1 to 10,000; None for the rule's default; 0 switches its score off.
        args: its arguments, under Kubernetes' names.
        off: the extension points at which it is not asked, of `POINTS`.
        mode: what its refusals mean, where Kubernetes lacks the rule; None for its default.
        fall_back_after_seconds: when it prefers although it is to refuse; 0: never.
    """

    name: str
    weight: int | None = None
    args: dict[str, Any] = {}
    off: tuple[str, ...] = ()
    mode: Literal["Prefer", "Refuse"] | None = None
    fall_back_after_seconds: int | None = None


class BackoffPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a pod waits after a rejection or an error (Kubernetes' values by default)."""

    initial_seconds: int = 1
    max_seconds: int = 10
    retries_max: int | None = None
    total_seconds_max: int | None = None


class OrderPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of the order's ladder, as counts (docs/reference/order.md)."""

    rung1_steps_max: int = 40_000
    both_steps_max: int = 80_000
    graph_nodes_max: int = 10_000
    weak_thousandths_max: int = 850
    dropped_percent_max: int = 15


class StarvationPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Room kept for pods that were refused for capacity (docs/reference/starvation.md).

    Args:
        after_seconds: for how long a pod is refused before; 0: no room is ever kept.
        ends_after_seconds: how long room is kept.
        nodes_percent: of how many of the nodes at most, but for at least one.
        mode: whether others are kept from that room, or only go elsewhere where they can.
        fall_back_after_seconds: when it is for a pod as if the mode were Prefer; 0: never.
    """

    after_seconds: int = 600
    ends_after_seconds: int = 1800
    nodes_percent: int = 5
    mode: Literal["Prefer", "Refuse"] = "Refuse"
    fall_back_after_seconds: int = 0


class QueuePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The scheduling queue.

    Args:
        batch_max: ready pods that are ordered together, 1 to 65,536.
        flush_seconds: how long a pod stays unschedulable without any event.
        sort: name of a QueueSort rule; None for the built-in priority buckets.
        backoff: durations and limits.
        order: bounds of the ladder.
        starvation: room kept for pods that wait for long.
    """

    batch_max: int = 1024
    flush_seconds: int = 300
    sort: str | None = None
    backoff: BackoffPolicy = BackoffPolicy()
    order: OrderPolicy = OrderPolicy()
    starvation: StarvationPolicy = StarvationPolicy()


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decides besides the cluster.

    Args:
        name: for people.
        plugins: the rules, in order; filters are asked, and points listed, in this order.
        version: for people; the digest is what counts.
        ties: how equal nodes are told apart: `hash` of pod and node (spreads), or node `name`.
        queue: the queue and the order.
    """

    name: str
    plugins: tuple[PluginEntry, ...]
    version: str = "1"
    ties: Literal["hash", "name"] = "hash"
    queue: QueuePolicy = QueuePolicy()

    @property
    def digest(self) -> str:
        """`@sha256:` and the hash of the policy's canonical JSON."""
        canonical = msgspec.json.encode(self, order="sorted")
        return f"@sha256:{hashlib.sha256(canonical).hexdigest()}"


def read_policy(path: Path) -> Policy:
    """The policy in a TOML, YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read or parsed, or a key or value is not allowed.
    """
    return parse_policy(read_plain(path), where=str(path))


def parse_policy(given: object, *, where: str) -> Policy:
    """The policy in plain data.

    Raises:
        ConfigError: a key or value is not allowed; names its place.
    """
    try:
        policy = msgspec.convert(given, Policy)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        place = at.strip("`").replace("$", "").lstrip(".")
        raise ConfigError(
            what, where=f"{where} {place}".rstrip(), fix="see docs/reference/policy.md"
        ) from error
    check_policy(policy, where)
    return policy


def read_bytes(path: Path) -> bytes:
    """The bytes of a settings file.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > BYTES_MAX:
            raise ConfigError("file too large", where=str(path), fix="keep it under 1 MiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        fix = "give a readable TOML, YAML or JSON file, or the name of a built-in policy"
        raise ConfigError(f"cannot read: {error}", where=str(path), fix=fix) from error


def read_plain(path: Path) -> object:
    """What a TOML, YAML or JSON file holds.

    Raises:
        ConfigError: the file cannot be read or parsed.
    """
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot read: {error}", where=str(path), fix="save it as UTF-8"
        ) from error
    try:
        match path.suffix:
            case ".toml":
                return parse_toml(text)
            case ".yaml" | ".yml":
                refuse_depth(text, str(path))
                refuse_surrogates(text, str(path))
                return _yaml(text)
            case ".json":
                return msgspec.json.decode(text)
    except (ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        shown = " ".join(str(error).split())
        raise ConfigError(f"cannot parse: {shown}", where=str(path)) from error
    fix = "name the file .toml, .yaml or .json"
    raise ConfigError("unknown kind of file", where=str(path), value=path.suffix, fix=fix)


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (LookupError, ArithmeticError, AttributeError) as error:
        # PyYAML stumbles over values that are not what their tags say, and over "\U99999999".
        raise ValueError(f"a value or an escape is malformed: {error}") from error


def check_policy(policy: Policy, where: str) -> None:
    """Refuse what the types alone allow.

    Raises:
        ConfigError: a value is out of range, or a rule named twice; names its place.
    """
    if not policy.name:
        raise ConfigError("no name", where=f"{where} name", fix="give the policy a name")
    if not 1 <= len(policy.plugins) <= PLUGINS_MAX:
        fix = f"give 1 to {PLUGINS_MAX} rules"
        raise ConfigError("no or too many rules", where=f"{where} plugins", fix=fix)
    seen = set()
    for index, entry in enumerate(policy.plugins):
        place = f"{where} plugins[{index}]"
        if entry.name in seen:
            raise ConfigError("rule named twice", where=place, value=entry.name, fix="name it once")
        seen.add(entry.name)
        if entry.weight is not None and not 0 <= entry.weight <= WEIGHT_MAX:
            fix = f"give a weight from 0 to {WEIGHT_MAX}"
            raise ConfigError("weight out of range", where=place, value=entry.weight, fix=fix)
        for point in entry.off:
            if point not in POINTS:
                fix = f"use one of {', '.join(POINTS)}"
                raise ConfigError(
                    "unknown extension point", where=f"{place}.off", value=point, fix=fix
                )
        _check_limit(entry.mode, entry.fall_back_after_seconds, place)
    starvation = policy.queue.starvation
    if starvation.after_seconds < 0 or starvation.ends_after_seconds < 1:
        fix = "use seconds; 0 in after_seconds keeps no room at all"
        place = f"{where} queue.starvation"
        raise ConfigError("duration out of range", where=place, fix=fix)
    place = f"{where} queue.starvation"
    _check_limit(starvation.mode, starvation.fall_back_after_seconds or None, place)
    if not 0 <= starvation.nodes_percent <= 100:
        place = f"{where} queue.starvation.nodes_percent"
        value, fix = starvation.nodes_percent, "give a percentage from 0 to 100"
        raise ConfigError("percentage out of range", where=place, value=value, fix=fix)
    if policy.queue.flush_seconds < 1 or policy.queue.backoff.initial_seconds < 1:
        fix = "use at least 1 second"
        raise ConfigError("duration out of range", where=f"{where} queue", fix=fix)


def _check_limit(mode: str | None, seconds: int | None, place: str) -> None:
    """Refuse a limit below 0, and one of a rule that gives way at once."""
    if seconds is None:
        return
    place = f"{place}.fall_back_after_seconds"
    if seconds < 0:
        fix = "give seconds from 0 on; 0: the rule never gives way"
        raise ConfigError("limit out of range", where=place, value=seconds, fix=fix)
    if mode == "Prefer":
        fix = "leave it out, or set mode to Refuse"
        raise ConfigError("limit of a rule that prefers", where=place, value=seconds, fix=fix)
