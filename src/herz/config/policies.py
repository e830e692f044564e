"""Several policies for one machine: a pod's `spec.schedulerName` chooses the one that decides it.

Order does not count: the profiles are kept by scheduler name, and the digest is over all of them,
so that a file whose profiles are written in another order decides the same under the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from herz.config.policy import Policy, parse_policy
from herz.errors import ConfigError

PROFILES_MAX: Final = 100
"""Bound: each profile has sheets of its own."""


class Profile(msgspec.Struct, frozen=True):
    """A profile: pods choose it by `spec.schedulerName`, the policy decides them."""

    scheduler_name: str
    policy: Policy


class Policies(msgspec.Struct, frozen=True):
    """What decides besides the cluster, where several profiles do; `Policies.of` makes it.

    Args:
        profiles: two or more, sorted by scheduler name.
    """

    profiles: tuple[Profile, ...]

    @classmethod
    def of(cls, profiles: Sequence[Profile]) -> Policies:
        """The profiles, which were checked, in whatever order."""
        queue = profiles[0].policy.queue
        assert all(profile.policy.queue == queue for profile in profiles), "there is one queue"
        return cls(tuple(sorted(profiles, key=lambda profile: profile.scheduler_name)))

    @property
    def name(self) -> str:
        """The scheduler names, for people."""
        return "+".join(profile.scheduler_name for profile in self.profiles)

    @property
    def version(self) -> str:
        """The policies' version where they have one in common; else empty."""
        versions = {profile.policy.version for profile in self.profiles}
        return versions.pop() if len(versions) == 1 else ""

    @property
    def plain(self) -> dict[str, Any]:
        """As a file of Herz' own holds them, all defaults filled in."""
        policies = [msgspec.to_builtins(profile.policy) for profile in self.profiles]
        queues = [policy.pop("queue") for policy in policies]
        return {"profiles": policies, "queue": queues[0]}

    @property
    def digest(self) -> str:
        """`@sha256:` and the hash of the canonical JSON of all profiles."""
        return f"@sha256:{hashlib.sha256(canonical_policy(self)).hexdigest()}"


def canonical_policy(policy: Policy | Policies) -> bytes:
    """The bytes over which the digest is."""
    return msgspec.json.encode(policy, order="sorted")


def policy_of(canonical: bytes, digest: str) -> Policy | Policies:
    """The policy that these bytes are, if they have this digest.

    Raises:
        ConfigError: they have another, or are no policy of this release.
    """
    found = f"@sha256:{hashlib.sha256(canonical).hexdigest()}"
    if found != digest:
        raise ConfigError("another policy", where="policy", value=found, fix=f"give {digest}")
    kind: type[Policy] | type[Policies] = Policy
    if canonical.startswith(b'{"profiles":'):
        kind = Policies
    try:
        return msgspec.json.decode(canonical, type=kind)
    except (ValueError, RecursionError) as error:
        fix = "use the release that wrote it"
        raise ConfigError(f"no policy: {error}", where=digest, fix=fix) from error


def parse_policies(given: Mapping[str, Any], *, where: str) -> Policy | Policies:
    """The profiles in plain data that has the key `profiles`; a single one is a policy.

    Raises:
        ConfigError: a key or value is not allowed; names its place.
    """
    for key in given:
        if key not in ("profiles", "queue"):
            fix = "keep profiles and queue; all else belongs to one of the profiles"
            raise ConfigError("key beside profiles", where=f"{where} {key}", fix=fix)
    listed = given["profiles"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= PROFILES_MAX:
        fix = f"give a list of 1 to {PROFILES_MAX} policies"
        raise ConfigError("no or too many profiles", where=f"{where} profiles", fix=fix)
    queue = {"queue": given["queue"]} if "queue" in given else {}
    found: dict[str, Policy] = {}
    for index, profile in enumerate(listed):
        place = f"{where} profiles[{index}]"
        if isinstance(profile, Mapping) and "queue" in profile:
            fix = "give it once, beside profiles: there is one queue"
            raise ConfigError("queue of one profile", where=f"{place} queue", fix=fix)
        # What is no mapping is refused by the policy's own check.
        whole = {**profile, **queue} if isinstance(profile, Mapping) else profile
        policy = parse_policy(whole, where=place)
        if policy.name in found:
            fix = "give each profile its own name: pods choose it by spec.schedulerName"
            what = "the name of another profile"
            raise ConfigError(what, where=f"{place} name", value=policy.name, fix=fix)
        found[policy.name] = policy
    if len(found) == 1:
        return next(iter(found.values()))
    return Policies.of([Profile(name, policy) for name, policy in found.items()])
