"""The policies of the table: Kubernetes' filters in all of them, and other scores."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from herz import builtin
from herz.config import PluginEntry, Policy

SCORES: Final = ("NodeResourcesBalancedAllocation", "ImageLocality")
_ALSO_FILTERS: Final = (
    *("TaintToleration", "NodeAffinity", "NodeResourcesFit", "PodTopologySpread"),
    "InterPodAffinity",
)
DEFAULT: Final = "default"
DEFAULTS: Final = builtin.BUILT_IN["default"].plugins
OFF: Final = "herz-off"
HERZ: Final = "herz"
ORACLE: Final = "oracle"


def policies(model: Path | None) -> Mapping[str, Policy]:
    """By name, in the order of the table.

    Args:
        model: of the learned policy; None: without it.
    """
    off = (*DEFAULTS, PluginEntry("SLAClasses"))
    found = {
        DEFAULT: Policy(DEFAULT, DEFAULTS),
        "least-allocated": _with(PluginEntry("NodeResourcesFit")),
        "load-aware": Policy("load-aware", (*DEFAULTS, PluginEntry("LoadAware"))),
        OFF: Policy(OFF, off),
    }
    if model is not None:
        args = {"model": model.name, "modelData": base64.b64encode(model.read_bytes()).decode()}
        fit = PluginEntry("SLAFit", args={**args, "fine": True})
        found[HERZ] = _with(PluginEntry("SLAClasses"), PluginEntry("SLARefuse", args=args), fit)
    found[ORACLE] = _with(PluginEntry("Oracle"))
    return {name: Policy(name, policy.plugins) for name, policy in found.items()}


def _with(*scores: PluginEntry) -> Policy:
    """Kubernetes' filters, and these rules alone for the scores."""
    named = {entry.name for entry in scores}
    kept = [name for name in builtin.DEFAULT_RULES if name not in SCORES and name not in named]
    entries = [PluginEntry(name, weight=0 if name in _ALSO_FILTERS else None) for name in kept]
    return Policy("scores", (*entries, *scores))
