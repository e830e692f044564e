"""KubeSchedulerConfiguration v1 files, read as they are.

Bytes come in, a `Configuration` goes out: a policy for each profile, the client's and the leader
election's settings, and a warning for each field that Herz takes and does not use. A field that
Herz does not have is refused with its path and line. docs/reference/configuration.md lists all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from herz.config.policies import PROFILES_MAX, Profile
from herz.config.policy import BYTES_MAX, BackoffPolicy
from herz.config.profiles import Rules, Translated, translate
from herz.config.wire import (
    API_GROUP,
    API_VERSION,
    KIND,
    ClientConnectionConfiguration,
    KubeSchedulerConfiguration,
    KubeSchedulerProfile,
    LeaderElectionConfiguration,
)
from herz.errors import ConfigError
from herz.model.durations import duration_ns, duration_text
from herz.model.yaml_text import Document, documents

DEFAULT_SCHEDULER: Final = "default-scheduler"
PARALLELISM: Final = 16
_PAGE: Final = "see docs/reference/configuration.md for the fields"
_INT32_MAX: Final = (1 << 31) - 1
_ONE_UP: Final = f"give an integer from 1 to {_INT32_MAX}"
# Not in a comment; and apiVersion at the start of a line only, as a policy's arguments have one.
# No run of blanks can be entered at more than one place: a file of newlines is read in one pass.
_MARK: Final = re.compile(
    rb"""(^[ \t\r]*|[{,][ \t\r\n]*)["']?kind["']?[ \t]*:[ \t]*["']?KubeSchedulerConfiguration\b"""
    rb"""|^["']?apiVersion["']?[ \t]*:[ \t]*["']?kubescheduler\.config\.k8s\.io/""",
    re.MULTILINE,
)


class LeaderElection(msgspec.Struct, frozen=True):
    """How replicas agree on who schedules.

    Args:
        is_on: whether they must.
        lease_ns: how long the others wait after the last renewal they saw.
        renew_ns: how long the leader tries to renew before it stops; less than `lease_ns`.
        retry_ns: between two attempts.
        lock: kind of the object that is held.
        namespace: of that object.
        name: of that object.
    """

    is_on: bool
    lease_ns: int
    renew_ns: int
    retry_ns: int
    lock: str
    namespace: str
    name: str


class Configuration(msgspec.Struct, frozen=True):
    """A file, checked and completed.

    Args:
        profiles: one or more, in the file's order.
        client: how the API server is reached.
        leader_election: how replicas agree.
        warnings: each begins with the path of its field.
        complete: the file with all defaults filled in.
    """

    profiles: tuple[Profile, ...]
    client: ClientConnectionConfiguration
    leader_election: LeaderElection
    warnings: tuple[str, ...]
    complete: KubeSchedulerConfiguration


@dataclass(frozen=True, slots=True)
class _Place:
    """A document of a file: says of a field where it stands."""

    source: str
    document: Document

    def name(self, path: str) -> str:
        line = self.document.line(path)
        place = f"{self.source}:{line}" if line else self.source
        return f"{place} {path}".rstrip()


def is_configuration(data: bytes) -> bool:
    """Whether the bytes are meant as a KubeSchedulerConfiguration, of whatever version.

    Seen from the text alone: what is no YAML or JSON is then refused with its line.
    """
    return _MARK.search(data) is not None


def parse_configuration(data: bytes, rules: Rules, *, source: str) -> Configuration:
    """The configuration in a file's bytes.

    Raises:
        ConfigError: a field or a value that is not allowed; `where` is file, line and path.
    """
    if len(data) > BYTES_MAX:
        raise ConfigError("file too large", where=source, fix="keep it under 1 MiB")
    found = list(documents(data, source=source))
    if len(found) != 1:
        fix = "keep one document in the file"
        raise ConfigError("not one document", where=source, value=len(found), fix=fix)
    place = _Place(source, found[0])
    try:
        content = _plain(found[0].value)
    except ValueError as error:
        fix = "write a number that fits into 64 bits"
        raise ConfigError(f"a number: {error}", where=source, fix=fix) from error
    try:
        return complete_configuration(_converted(content), rules)
    except ConfigError as error:
        value = error.value if error.value is not None else _value_at(content, error.where)
        where = place.name(error.where)
        raise ConfigError(error.what, where=where, value=value, fix=error.fix) from error


def complete_configuration(given: KubeSchedulerConfiguration, rules: Rules) -> Configuration:
    """The configuration with kube-scheduler's defaults filled in, and its policies.

    Raises:
        ConfigError: a value that is not allowed; `where` is its path.
    """
    election, leader_election = _election(given.leader_election)
    client = _client(given.client_connection)
    backoff = _backoff(given)
    warnings = [*_told(given), *_extenders(given)]
    done: list[Translated] = []
    for index, profile in enumerate(_named(given.profiles)):
        where = f"profiles[{index}]"
        warnings += _percentage(profile.percentage_of_nodes_to_score, f"{where}.")
        try:
            done.append(translate(profile, backoff, rules))
        except ConfigError as error:
            inner = f"{where}.{error.where}"
            raise ConfigError(error.what, where=inner, value=error.value, fix=error.fix) from error
        warnings += [f"{where}.{warning}" for warning in done[-1].warnings]
    _check_queue_sorts(done)
    is_profiled = given.enable_profiling is not False
    complete = msgspec.structs.replace(
        given,
        parallelism=PARALLELISM if given.parallelism is None else given.parallelism,
        leader_election=election,
        client_connection=client,
        enable_profiling=is_profiled,
        enable_contention_profiling=is_profiled
        if given.enable_contention_profiling is None
        else given.enable_contention_profiling,
        percentage_of_nodes_to_score=given.percentage_of_nodes_to_score or 0,
        profiles=tuple(each.profile for each in done),
    )
    profiles = tuple(Profile(each.policy.name, each.policy) for each in done)
    return Configuration(profiles, client, leader_election, tuple(warnings), complete)


# ---- from text to fields ----------------------------------------------------------------


def _plain(value: Any) -> Any:
    """The same value without nulls, which mean an absent field; numbers as Python's own."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def _converted(content: Any) -> KubeSchedulerConfiguration:
    if not isinstance(content, dict):
        raise ConfigError("not an object", value=content, fix=f"give a {KIND}")
    for key, wanted in (("kind", KIND), ("apiVersion", API_VERSION)):
        if content.get(key) != wanted:
            fix = f"write {key}: {wanted}"
            if str(content.get(key)).startswith(f"{API_GROUP}/v1beta3"):
                fix += "; v1beta3 has the same fields"
            elif key in content and str(content[key]).startswith(API_GROUP):
                fix += ", and mend the fields that are then refused"
            what = f"{key} that Herz does not read" if key in content else f"no {key}"
            raise ConfigError(what, where=key, value=content.get(key), fix=fix)
    try:
        return msgspec.convert(content, KubeSchedulerConfiguration)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        path = at.strip("`").removeprefix("$").removeprefix(".")
        unknown = re.search(r"unknown field `(.*)`", what)
        if unknown is not None:
            what = "unknown field"
            path = f"{path}.{unknown[1]}".removeprefix(".")
        what = what[:1].lower() + what[1:]
        raise ConfigError(what, where=path, fix=_PAGE) from error


def _value_at(content: Any, path: str) -> object:
    """The value at a path; None where it is no plain value."""
    for part in re.findall(r"\[[0-9]+\]|[^.\[\]]+", path):
        if isinstance(content, list) and part[:1] == "[" and int(part[1:-1]) < len(content):
            content = content[int(part[1:-1])]
        elif isinstance(content, dict) and part in content:
            content = content[part]
        else:
            return None
    return None if isinstance(content, dict | list) else content


# ---- fields ---------------------------------------------------------------------------


def _told(given: KubeSchedulerConfiguration) -> list[str]:
    """Warnings of top-level fields that change nothing."""
    if given.parallelism is not None and not 0 < given.parallelism <= _INT32_MAX:
        raise ConfigError("out of range", where="parallelism", value=given.parallelism, fix=_ONE_UP)
    told = _percentage(given.percentage_of_nodes_to_score, "")
    ignored = {
        "parallelism": (given.parallelism, "Herz decides in one thread"),
        "enableProfiling": (given.enable_profiling, "Herz serves no profiles"),
        "enableContentionProfiling": (given.enable_contention_profiling, "Herz serves no profiles"),
        "delayCacheUntilActive": (given.delay_cache_until_active or None, "Herz always watches"),
    }
    told += [
        f"{name}: {_shown(value)} is accepted; {why}"
        for name, (value, why) in ignored.items()
        if value is not None
    ]
    return told


def _percentage(value: int | None, prefix: str) -> list[str]:
    where = f"{prefix}percentageOfNodesToScore"
    if value is None:
        return []
    if not 0 <= value <= 100:
        raise ConfigError(
            "out of range", where=where, value=value, fix="give a number from 0 to 100"
        )
    return [f"{where}: {value} is accepted; Herz looks at all nodes"]


def _backoff(given: KubeSchedulerConfiguration) -> BackoffPolicy:
    first, most = given.pod_initial_backoff_seconds, given.pod_max_backoff_seconds
    if not 0 < first <= _INT32_MAX:
        where = "podInitialBackoffSeconds"
        raise ConfigError("out of range", where=where, value=first, fix=_ONE_UP)
    if not first <= most <= _INT32_MAX:
        fix = f"give an integer from podInitialBackoffSeconds ({first}) to {_INT32_MAX}"
        raise ConfigError("out of range", where="podMaxBackoffSeconds", value=most, fix=fix)
    return BackoffPolicy(initial_seconds=first, max_seconds=most)


def _extenders(given: KubeSchedulerConfiguration) -> list[str]:
    warnings = []
    for index, extender in enumerate(given.extenders):
        where = f"extenders[{index}]"
        if not extender.ignorable:
            raise ConfigError(
                "Herz asks no extenders: their answers could not be replayed",
                where=where,
                value=extender.url_prefix,
                fix="remove it; or set ignorable: true, and Herz schedules without it",
            )
        warnings.append(f"{where}: {extender.url_prefix} is ignorable, and Herz does not ask it")
    return warnings


def _client(given: ClientConnectionConfiguration) -> ClientConnectionConfiguration:
    if not 0 <= given.burst <= _INT32_MAX:
        fix = f"give an integer from 0 to {_INT32_MAX}; 0 means the default"
        raise ConfigError(
            "out of range", where="clientConnection.burst", value=given.burst, fix=fix
        )
    default = ClientConnectionConfiguration()
    return msgspec.structs.replace(
        given,
        content_type=given.content_type or default.content_type,
        qps=given.qps or default.qps,
        burst=given.burst or default.burst,
    )


def _election(
    given: LeaderElectionConfiguration,
) -> tuple[LeaderElectionConfiguration, LeaderElection]:
    """The fields completed, and as settings."""
    default = LeaderElectionConfiguration()
    times = {}
    for name, field in _DURATIONS.items():
        where = f"leaderElection.{field}"
        try:
            times[name] = duration_ns(getattr(given, name)) or duration_ns(getattr(default, name))
        except ConfigError as error:
            raise error.at(where) from error
        if times[name] < 0 and given.leader_elect:
            fix = "give a duration above 0"
            raise ConfigError("out of range", where=where, value=getattr(given, name), fix=fix)
    lease, renew, retry = times.values()
    complete = LeaderElectionConfiguration(
        leader_elect=given.leader_elect,
        lease_duration=duration_text(lease),
        renew_deadline=duration_text(renew),
        retry_period=duration_text(retry),
        resource_lock=given.resource_lock or default.resource_lock,
        resource_name=given.resource_name or default.resource_name,
        resource_namespace=given.resource_namespace or default.resource_namespace,
    )
    if complete.leader_elect:
        _check_election(complete, lease, renew)
    lock, space, name = complete.resource_lock, complete.resource_namespace, complete.resource_name
    return complete, LeaderElection(given.leader_elect, lease, renew, retry, lock, space, name)


_DURATIONS: Final = {
    "lease_duration": "leaseDuration",
    "renew_deadline": "renewDeadline",
    "retry_period": "retryPeriod",
}


def _check_election(given: LeaderElectionConfiguration, lease: int, renew: int) -> None:
    if lease <= renew:
        raise ConfigError(
            "lease not longer than the renewal's deadline",
            where="leaderElection.leaseDuration",
            value=given.lease_duration,
            fix=f"make it longer than renewDeadline ({given.renew_deadline})",
        )
    if given.resource_lock != "leases":
        where = "leaderElection.resourceLock"
        fix = "use leases, the only lock of v1"
        raise ConfigError("unknown lock", where=where, value=given.resource_lock, fix=fix)


# ---- profiles -------------------------------------------------------------------------


def _named(profiles: tuple[KubeSchedulerProfile, ...]) -> list[KubeSchedulerProfile]:
    """The profiles, at least one; only the name of a single one has a default."""
    found = list(profiles) or [KubeSchedulerProfile()]
    if len(found) == 1 and found[0].scheduler_name is None:
        found = [msgspec.structs.replace(found[0], scheduler_name=DEFAULT_SCHEDULER)]
    if len(found) > PROFILES_MAX:
        fix = f"keep {PROFILES_MAX} at most"
        raise ConfigError("too many profiles", where="profiles", value=len(found), fix=fix)
    seen: dict[str, int] = {}
    for index, profile in enumerate(found):
        where = f"profiles[{index}].schedulerName"
        name = profile.scheduler_name
        if not name:
            raise ConfigError("no scheduler name", where=where, value=name, fix="name each profile")
        if name in seen:
            what = f"the scheduler name of profiles[{seen[name]}]"
            raise ConfigError(what, where=where, value=name, fix="give each profile its own name")
        seen[name] = index
    return found


def _check_queue_sorts(done: list[Translated]) -> None:
    """There is one queue: all profiles must order it alike."""
    for index, each in enumerate(done):
        policies = done[0].policy, each.policy
        sorts = [policy.queue.sort for policy in policies]
        args = [
            [entry.args for entry in policy.plugins if entry.name == policy.queue.sort]
            for policy in policies
        ]
        if sorts[0] != sorts[1] or args[0] != args[1]:
            raise ConfigError(
                "another order of the queue than that of profiles[0]",
                where=f"profiles[{index}].plugins.queueSort",
                value=sorts[1],
                fix="give all profiles the same queueSort plugin and arguments",
            )


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
