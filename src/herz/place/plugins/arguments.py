"""Reading a rule's arguments: unknown keys and wrong types are refused with their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from herz.errors import ConfigError

ArgumentsT = TypeVar("ArgumentsT", bound=msgspec.Struct)

_KUBERNETES_KEYS = ("apiVersion", "kind")


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The base of a rule's arguments, under Kubernetes' names."""


class NoArguments(Arguments, frozen=True):
    """The arguments of a rule that takes none."""


def read_arguments(rule: str, args: Mapping[str, Any], kind: type[ArgumentsT]) -> ArgumentsT:
    """The arguments as a struct.

    Raises:
        ConfigError: an unknown key, a missing one or a wrong type.
    """
    given = {key: value for key, value in args.items() if key not in _KUBERNETES_KEYS}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(
            str(error),
            where=f"pluginConfig[{rule}].args",
            value=given,
            fix=f"see docs/reference/policy.md for the arguments of {rule}",
        ) from error
