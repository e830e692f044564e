"""Step 9, adjust, in Kubernetes' words: events about the classes whose model has changed."""

from __future__ import annotations

from typing import Final

from herz.commit.bind import cut
from herz.model.effects import EmitEvent

NAMESPACE: Final = "default"
"""Where events about objects without a namespace are: the API takes them in no other one."""
_CLASS: Final = ("scheduling.herz.dev/v1alpha1", "SLAClass")


def promoted(sla_class: str, uid: str, model: str, reason: str) -> EmitEvent:
    """A candidate decides from now on.

    Args:
        sla_class: a class that the model answers for.
        uid: of its object; empty: it is a default, or the policy's.
        model: its digest.
        reason: the figures by which it was judged.
    """
    note = f"model {model} is in force: {reason}"
    return EmitEvent(
        namespace=NAMESPACE,
        name=sla_class,
        uid=uid,
        type="Normal",
        reason="ModelPromoted",
        action="Adjusting",
        note=cut(note),
        about=_CLASS,
    )


def rolled_back(sla_class: str, uid: str, model: str, reason: str) -> EmitEvent:
    """A promotion is taken back: the model before decides again; arguments as of `promoted`."""
    note = f"model {model} is in force again: {reason}"
    return EmitEvent(
        namespace=NAMESPACE,
        name=sla_class,
        uid=uid,
        type="Warning",
        reason="ModelRolledBack",
        action="Adjusting",
        note=cut(note),
        about=_CLASS,
    )
