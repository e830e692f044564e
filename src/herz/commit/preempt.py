"""Step 7 for preemption: the effects that make room, in Kubernetes' words.

Nothing here acts: a driver carries the effects out and feeds what comes of them back.
"""

from __future__ import annotations

from herz.commit.bind import cut
from herz.model.effects import DeletePod, EmitEvent, Evict, Nominate
from herz.model.podinfo import PodInfo


def nominate(pod: PodInfo, node: str) -> Nominate:
    """The effect that nominates the pod to the node; an empty name ends its nomination."""
    return Nominate(namespace=pod.namespace, name=pod.name, uid=pod.uid, node=node)


def remove(
    victim: PodInfo, preemptor: PodInfo, node: str, *, is_evicted: bool
) -> tuple[DeletePod | Evict, EmitEvent]:
    """The effect that ends the victim, and the event that tells why.

    Args:
        victim: who must go.
        preemptor: for whom.
        node: where.
        is_evicted: through the eviction API, which holds to disruption budgets.
    """
    effect: DeletePod | Evict
    if is_evicted:
        effect = Evict(namespace=victim.namespace, name=victim.name, uid=victim.uid)
    else:
        scheduler = preemptor.pod.spec.scheduler_name
        effect = DeletePod(
            namespace=victim.namespace,
            name=victim.name,
            uid=victim.uid,
            message=f"{scheduler}: preempting to accommodate a higher priority pod",
        )
    event = EmitEvent(
        namespace=victim.namespace,
        name=victim.name,
        uid=victim.uid,
        type="Normal",
        reason="Preempted",
        action="Preempting",
        note=cut(f"Preempted by pod {preemptor.uid} on node {node}"),
    )
    return effect, event
