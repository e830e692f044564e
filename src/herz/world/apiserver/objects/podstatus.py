"""How a pod is doing, in one word, as `kubectl get pods` says it."""

from __future__ import annotations

from typing import Any

Content = dict[str, Any]


def ready_of(pod: Content) -> str:
    """Ready containers of all, such as `1/2`."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    ready = sum(bool(item.get("ready")) for item in statuses)
    return f"{ready}/{len(pod.get('spec', {}).get('containers', ()))}"


def restarts_of(pod: Content) -> str:
    """How often its containers were started again."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return str(sum(int(item.get("restartCount", 0)) for item in statuses))


def status_of(pod: Content) -> str:
    """The phase, or what says more: why it waits, how it ended, that it is going."""
    status = pod.get("status", {})
    shown = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions", ()):
        is_gated = condition.get("reason") == "SchedulingGated"
        if condition.get("type") == "PodScheduled" and is_gated:
            shown = "SchedulingGated"
    shown = _starting(pod) or _of_containers(status, shown)
    is_over = status.get("phase") in ("Succeeded", "Failed")
    if "deletionTimestamp" in pod["metadata"] and not is_over:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return shown


def _starting(pod: Content) -> str:
    """Which init container is not done; empty where all are."""
    statuses = pod.get("status", {}).get("initContainerStatuses", ())
    specs = pod.get("spec", {}).get("initContainers", ())
    sidecars = {item.get("name") for item in specs if item.get("restartPolicy") == "Always"}
    for index, item in enumerate(statuses):
        state = item.get("state", {})
        ended = state.get("terminated")
        if (ended is not None and ended.get("exitCode") == 0) or (
            item.get("name") in sidecars and item.get("started")
        ):
            continue
        if ended is not None:
            return f"Init:{ended.get('reason') or 'Error'}"
        waiting = state.get("waiting", {}).get("reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{len(specs)}"
    return ""


def _of_containers(status: Content, shown: str) -> str:
    """What the last container that says something says."""
    has_running = False
    for item in reversed(status.get("containerStatuses", ())):
        state = item.get("state", {})
        waiting, ended = state.get("waiting", {}), state.get("terminated")
        if waiting.get("reason"):
            shown = waiting["reason"]
        elif ended is not None:
            shown = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
        elif item.get("ready") and "running" in state:
            has_running = True
    if shown == "Completed" and has_running:
        return "Running"
    return shown
