"""What is done to pods and workloads through subresources: bind, evict, scale."""

from __future__ import annotations

from typing import Any

from herz.model.decode import convert
from herz.model.labels import LabelMatcher, compile_label_map, compile_selector
from herz.model.meta import LabelSelector
from herz.world.apiserver.objects.kinds import BY_STORED, Kind
from herz.world.apiserver.refusal import (
    RefusedError,
    bad_request,
    conflict,
    invalid,
)
from herz.world.apiserver.registry.deletion import Deletion, delete
from herz.world.apiserver.registry.registry import Registry, check_preconditions
from herz.world.apiserver.registry.times import now, seconds_text
from herz.world.apiserver.store import Key, Version

Content = dict[str, Any]

PODS = BY_STORED["pods"]
BUDGETS = BY_STORED["poddisruptionbudgets.policy"]
_TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
_BUSY_RETRY_S = 10


async def bind(
    registry: Registry, namespace: str, name: str, binding: Content, *, is_dry: bool = False
) -> None:
    """Give the pod its node, merge the binding's annotations, and end its nomination.

    Raises:
        RefusedError: 404; 409: another uid, deleted, gated, or it has a node; 422: no target.
    """
    target = binding.get("target", {})
    metadata = binding["metadata"]
    if metadata.get("name", name) != name or metadata.get("namespace", namespace) != namespace:
        raise bad_request("the binding's name and namespace must be those of the request")
    if target.get("kind", "Node") not in ("Node", "") or not target.get("name"):
        cause = {"reason": "FieldValueRequired", "field": "target.name"}
        cause["message"] = "Required value: name a Node"
        raise invalid("Binding", "", name, [cause])
    old = registry.latest(PODS, namespace, name)
    check_preconditions(PODS, old, metadata.get("uid"), metadata.get("resourceVersion"))
    if why := _unbindable(old):
        raise conflict("pods/binding", "", name, why)
    new = old.copy()
    new["spec"]["nodeName"] = target["name"]
    if metadata.get("annotations"):
        annotations = new["metadata"].setdefault("annotations", {})
        annotations |= metadata["annotations"]
    labels = {**metadata.get("labels", {}), **_topology(registry, target["name"])}
    if labels:
        new["metadata"]["labels"] = {**new["metadata"].get("labels", {}), **labels}
    status = new.setdefault("status", {})
    status.pop("nominatedNodeName", None)
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "observedGeneration": new["metadata"].get("generation", 0),
        "lastProbeTime": None,
        "lastTransitionTime": seconds_text(now()),
    }
    others = [item for item in status.get("conditions", ()) if item.get("type") != "PodScheduled"]
    status["conditions"] = [*others, scheduled]
    # A binding is no change of what was asked for: the generation stays.
    await registry.replace(PODS, old, new, is_dry=is_dry, is_counted=False)


def _unbindable(pod: Version) -> str:
    """Why the pod can have no node now; empty where it can."""
    name, spec = pod.key.name, pod.content["spec"]
    if "deletionTimestamp" in pod.metadata:
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if spec.get("nodeName"):
        return f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    if spec.get("schedulingGates"):
        return f"pod {name} has non-empty .spec.schedulingGates"
    return ""


def _topology(registry: Registry, node_name: str) -> dict[str, str]:
    """The node's zone and region, which become labels of the pod."""
    node = registry.store.latest(Key("nodes", "", node_name))
    labels = {} if node is None else node.metadata.get("labels", {})
    return {key: labels[key] for key in _TOPOLOGY if key in labels}


# ---- eviction -------------------------------------------------------------------------------


async def evict(registry: Registry, namespace: str, name: str, how: Deletion) -> None:
    """Delete a pod, unless that breaks its disruption budget.

    Raises:
        RefusedError: 404; 409; 429: the budget does not allow it now; 500: the pod has several.
    """
    pod = registry.latest(PODS, namespace, name)
    check_preconditions(PODS, pod, how.uid, how.revision)
    if not _is_free(pod):
        budget = _budget_of(registry, pod)
        if budget is not None:
            _check_budget(budget, pod)
            if not how.is_dry:
                await _count(registry, budget, name)
    await delete(registry, PODS, namespace, name, how)


def _is_free(pod: Version) -> bool:
    """Whether the pod's end disturbs nothing: it has ended, is ending, or never began."""
    phase = pod.content.get("status", {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod.metadata


def _budget_of(registry: Registry, pod: Version) -> Version | None:
    labels = pod.metadata.get("labels", {})
    found = [
        item
        for item in registry.store.items(BUDGETS.stored, pod.key.namespace)
        if compile_selector(_selector(item.content)).matches(labels)
    ]
    if len(found) > 1:
        message = (
            "This pod has more than one PodDisruptionBudget, "
            "which the eviction subresource does not support."
        )
        raise RefusedError(500, "InternalError", message)
    return registry.store.latest(found[0].key) if found else None


def _selector(budget: Content) -> LabelSelector | None:
    selector = budget["spec"].get("selector")
    return None if selector is None else convert(LabelSelector, selector)


def _check_budget(budget: Version, pod: Version) -> None:
    spec, status = budget.content["spec"], budget.content.get("status", {})
    name = budget.key.name
    if not _is_ready(pod.content):
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        if spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow" or 0 < wanted <= healthy:
            return
    if status.get("observedGeneration", 0) < budget.metadata.get("generation", 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.")
    if status.get("disruptionsAllowed", 0) <= 0:
        raise _too_many(
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )


def _too_many(why: str) -> RefusedError:
    return RefusedError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details={"causes": [{"reason": "DisruptionBudget", "message": why}]},
        retry_after_s=_BUSY_RETRY_S if "processed" in why else None,
    )


def _is_ready(pod: Content) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


async def _count(registry: Registry, budget: Version, name: str) -> None:
    """Take one off what the budget allows, until its controller has seen the pod go."""
    new = budget.copy()
    status = new["status"]
    if status.get("disruptionsAllowed", 0) <= 0:
        return
    status["disruptionsAllowed"] -= 1
    status.setdefault("disruptedPods", {})[name] = seconds_text(now())
    await registry.replace(BUDGETS, budget, new)


# ---- scale ----------------------------------------------------------------------------------


def scale_of(kind: Kind, content: Content) -> Content:
    """The object's Scale."""
    metadata = content["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in shown if name in metadata},
        "spec": {"replicas": content["spec"].get("replicas", 1)},
        "status": {
            "replicas": content.get("status", {}).get("replicas", 0),
            "selector": str(matcher_of(kind, content)),
        },
    }


def matcher_of(kind: Kind, content: Content) -> LabelMatcher:
    """The selector of a workload, compiled."""
    selector = content["spec"].get("selector") or {}
    if kind.name == "ReplicationController":
        return compile_label_map(selector)
    return compile_selector(convert(LabelSelector, selector))


async def rescale(
    registry: Registry, kind: Kind, old: Version, scale: Content, *, is_dry: bool = False
) -> Content:
    """Set the object's replicas as its Scale says.

    Raises:
        RefusedError: 400, 409 or 422.
    """
    replicas = scale.get("spec", {}).get("replicas", 0)
    new = old.copy()
    new["spec"]["replicas"] = replicas
    metadata = scale.get("metadata", {})
    for name in ("name", "namespace", "uid", "resourceVersion"):
        if metadata.get(name):
            new["metadata"][name] = metadata[name]
    where = old.key.namespace, old.key.name
    changed = await registry.update(kind, *where, new, is_dry=is_dry)
    return scale_of(kind, changed)
