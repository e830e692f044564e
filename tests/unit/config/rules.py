"""Rules that stand in for Herz' own, for tests of profiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from herz.config import Configuration, Rules, parse_configuration
from herz.config.intree import DEFAULTS, EXTENDS
from herz.errors import ConfigError

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

OURS = {
    "Understood": ("filter",),
    "GpuShare": ("filter", "reserve"),
    "Mine": ("filter", "score"),
    "MySort": ("queueSort",),
}
LACKING = ("DynamicResources", "DefaultBinder")


def extends(name: str, args: Mapping[str, Any]) -> tuple[str, ...]:
    """Kubernetes' points of Kubernetes' rules; an argument `bad` is refused as rules do it."""
    if "bad" in args:
        raise ConfigError(
            "Object contains unknown field `bad` - at `$.inner`",
            where=f"pluginConfig[{name}].args",
            value=dict(args),
            fix="see the rule",
        )
    if args.get("weight") == 0:
        raise ConfigError("out of range", where=f"pluginConfig[{name}].args.weight", value=0)
    return OURS.get(name, EXTENDS.get(name, ()))


KNOWN = Rules(
    names=(*OURS, *(name for name in DEFAULTS if name not in LACKING)),
    defaults=("NodeName", "GpuShare"),
    guards=("Understood",),
    extends=extends,
)


def read(text: str) -> Configuration:
    """The configuration in a file that has these lines below its first two."""
    return parse_configuration((HEAD + text).encode(), KNOWN, source="file.yaml")
