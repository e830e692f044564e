"""Puts another model in force in a machine, between two steps, and again in its replay.

A promotion is an entry of the journal that names the model's blob. From then on the rules about
promises ask that model, the one before is on trial, and records name the policy that this makes:
the very policy that a file with these models would have.
"""

from __future__ import annotations

import msgspec

from herz import app
from herz.config import Policies, Policy
from herz.config.models import NAMING, candidate_of, files_of, promoted
from herz.cycle import Cycle
from herz.errors import ConfigError
from herz.knowledge.sla.model import load
from herz.place.plugins.sla_fit import SLAFit, SLARefuse
from herz.ports import Machine
from herz.profiles import profiles_of, references
from herz.state import settle


class InForce:
    """One machine's policy, as promotions change it.

    Args:
        policy: with which the machine was made.
    """

    def __init__(self, policy: Policy | Policies) -> None:
        self.policy = policy

    @property
    def digest(self) -> str:
        """Of the policy, as records name it."""
        return self.policy.digest

    @property
    def candidate(self) -> bytes:
        """The file of the model on trial, of the first profile that has one; empty: none has."""
        for profile in profiles_of(self.policy):
            for entry in profile.policy.plugins:
                if entry.name == SLAFit.name and entry.args.get("candidateData"):
                    return candidate_of(entry.args)
        return b""

    @property
    def models(self) -> tuple[bytes, ...]:
        """The files of the models that decide, of the first profile that has any."""
        for profile in profiles_of(self.policy):
            for entry in profile.policy.plugins:
                if entry.name == SLAFit.name and entry.args.get("modelData"):
                    return files_of(entry.args)
        return ()

    def adopt(self, machine: Machine, data: bytes) -> None:
        """Put a model in force; the one of its kind that was is on trial now.

        Args:
            machine: between two steps.
            data: the model's file.

        Raises:
            ConfigError: it is no model; nothing is changed then.
        """
        assert isinstance(machine, Cycle), "it was made here"
        load(data)
        policy = _changed(self.policy, data)
        if policy.digest == self.policy.digest:
            return
        for framework, profile in zip(machine._frameworks, profiles_of(policy), strict=True):
            args = {entry.name: entry.args for entry in profile.policy.plugins}
            for rule, _ in framework._plugins:
                if isinstance(rule, SLAFit | SLARefuse):
                    rule.renew(args[rule.name])
        retired = references(app.without_comparator(policy))
        machine._chain.adopt(references(policy), retired)
        settle(machine)
        self.policy = policy


def kind_of(data: bytes) -> str:
    """The kind of promise of a model's file; empty: it is none."""
    try:
        return load(data).kind
    except ConfigError:
        return ""


def _changed(policy: Policy | Policies, data: bytes) -> Policy | Policies:
    if isinstance(policy, Policy):
        return _one(policy, data)
    profiles = [
        msgspec.structs.replace(one, policy=_one(one.policy, data)) for one in policy.profiles
    ]
    return Policies.of(profiles)


def _one(policy: Policy, data: bytes) -> Policy:
    if not any(entry.name in NAMING for entry in policy.plugins):
        return policy
    return promoted(policy, data, kind_of)
