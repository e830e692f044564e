"""Simulated nodes: they are ready, renew their leases, and let pods start, run and end.

Nothing is run: a pod's life follows from its annotations (seconds, as whole numbers) and from the
times in its status, so that it goes on where it was after a restart:

- `herz.dev/start-seconds`: from its binding until it runs (0);
- `herz.dev/run-seconds`: how long its containers run (for ever);
- `herz.dev/exit-code`: with what they then end (0);
- `herz.dev/stop-seconds`: from its deletion until it is gone, within its grace (0).

A pod that does not fit into what is left of its node fails, as a kubelet's admission has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.node import Node
from herz.model.pod import Pod
from herz.model.quantity import parse_quantity
from herz.model.resources import Requests, node_allocatable, pod_requests
from herz.world.apiserver.controllers.plan import (
    Create,
    Delete,
    Plan,
    View,
    Write,
    condition_of,
    is_deleted,
    status_write,
)
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.registry.deletion import Deletion
from herz.world.apiserver.registry.times import age_s, micro_text, parsed, seconds_text
from herz.world.apiserver.store import Change, Key, Version

Content = dict[str, Any]

START, RUN, EXIT, STOP = (
    f"herz.dev/{name}" for name in ("start-seconds", "run-seconds", "exit-code", "stop-seconds")
)
NODES_MAX = 10_000
LEASE_S = 40
_LEASES = kind_of("leases.coordination.k8s.io")
_LEASE_NAMESPACE = "kube-node-lease"
_PODS = kind_of("pods")
_LABEL = "herz.dev/simulated"
_RENEWALS_A_SECOND = 20
_SECONDS_MAX = 10**9
_ASKED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What the nodes are like.

    Args:
        count: how many.
        cpu: of each, a quantity.
        memory: of each, a quantity.
        pods: of each.
        zones: over how many zones they are dealt out.
        prefix: their names begin with it.
    """

    count: int
    cpu: str = "8"
    memory: str = "32Gi"
    pods: int = 110
    zones: int = 3
    prefix: str = "node"

    def __post_init__(self) -> None:
        if not 0 <= self.count <= NODES_MAX:
            fix = f"use a number from 0 to {NODES_MAX}"
            raise ConfigError("out of range", where="nodes", value=self.count, fix=fix)
        for name, text in (("cpu", self.cpu), ("memory", self.memory)):
            try:
                parse_quantity(text)
            except ConfigError as error:
                raise error.at(f"nodes' {name}") from error

    @property
    def names(self) -> list[str]:
        """The nodes' names, in order."""
        width = len(str(max(self.count - 1, 0)))
        return [f"{self.prefix}-{number:0{width}d}" for number in range(self.count)]


class Kubelets:
    """All simulated nodes and their pods, as one controller.

    Args:
        shape: the nodes.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._numbers = {name: number for number, name in enumerate(shape.names)}
        # Many nodes renew less often, so that the store is not busy with leases alone.
        self._renew_s = max(10.0, shape.count / _RENEWALS_A_SECOND)
        # Bound: _ASKED_MAX; what pods ask, by uid and generation, because every start adds it up.
        self._asked: dict[tuple[str, int], Requests] = {}

    def first_keys(self) -> list[Key]:
        """The leases, which the loop has to look at once; it then comes back by itself."""
        return [Key(_LEASES.stored, _LEASE_NAMESPACE, name) for name in self._numbers]

    def nodes(self, at: datetime) -> list[Content]:
        """The nodes as they register."""
        return [self._node(name, number, at) for name, number in self._numbers.items()]

    def concerned(self, change: Change, view: View) -> Iterable[Key]:  # noqa: ARG002
        """A pod on one of the nodes; a node that comes, for its lease."""
        key = change.version.key
        if key.resource == "pods":
            node = change.version.content["spec"].get("nodeName", "")
            return [key] if node in self._numbers and not change.is_deletion else []
        if key.resource == "nodes" and key.name in self._numbers and change.previous is None:
            return [Key(_LEASES.stored, _LEASE_NAMESPACE, key.name)]
        return []

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """Lead a pod one step further, or renew a lease."""
        if key.resource == _LEASES.stored:
            return self._renew(key, view, at)
        pod = view.get(key)
        node = view.get(Key("nodes", "", pod.content["spec"].get("nodeName", ""))) if pod else None
        if pod is None or node is None:
            return Plan()
        if is_deleted(pod):
            return _stop(pod, at)
        phase = pod.content.get("status", {}).get("phase")
        if phase in ("Succeeded", "Failed"):
            return Plan()
        if phase == "Running":
            return _run(pod, at)
        return self._start(pod, node, view, at)

    # ---- nodes ------------------------------------------------------------------------------

    def _node(self, name: str, number: int, at: datetime) -> Content:
        shape = self._shape
        capacity = {"cpu": shape.cpu, "memory": shape.memory, "pods": str(shape.pods)}
        labels = {
            "beta.kubernetes.io/arch": "amd64",
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/region": "local",
            "topology.kubernetes.io/zone": f"zone-{number % max(1, shape.zones)}",
            _LABEL: "true",
        }
        addresses = [
            {"type": "InternalIP", "address": _address(172, 16 + number // 65536 % 16, number)},
            {"type": "Hostname", "address": name},
        ]
        info = {
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
            "kernelVersion": "none",
            "osImage": "simulated",
            "containerRuntimeVersion": "herz://simulated",
            "kubeletVersion": "v1.36.0+herz",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        }
        status = {"capacity": capacity, "allocatable": dict(capacity), "addresses": addresses}
        status |= {"nodeInfo": info, "conditions": _node_conditions(at)}
        return {"metadata": {"name": name, "labels": labels}, "status": status}

    def _renew(self, key: Key, view: View, at: datetime) -> Plan:
        """Say that the node is alive."""
        node = view.get(Key("nodes", "", key.name))
        if node is None:
            return Plan()
        lease = view.get(key)
        spec = {
            "holderIdentity": key.name,
            "leaseDurationSeconds": max(LEASE_S, int(4 * self._renew_s)),
            "renewTime": micro_text(at),
        }
        if lease is None:
            owner = {"apiVersion": "v1", "kind": "Node", "name": key.name, "uid": node.uid}
            metadata = {"name": key.name, "ownerReferences": [owner]}
            made = Create(_LEASES, _LEASE_NAMESPACE, {"metadata": metadata, "spec": spec})
            return Plan([made], self._renew_s)
        left_s = self._renew_s - age_s(lease.content.get("spec", {}).get("renewTime"), at)
        if left_s > 0:
            return Plan(again_s=left_s)
        return Plan([Write(_LEASES, lease, {**lease.content, "spec": spec})], self._renew_s)

    # ---- pods -------------------------------------------------------------------------------

    def _start(self, pod: Version, node: Version, view: View, at: datetime) -> Plan:
        status = pod.content.get("status", {})
        begun = status.get("startTime")
        if begun is None:
            if reason := self._too_much(pod, node, view):
                return Plan(status_write(_PODS, pod, _refused(pod, reason, at)))
            wait_s = _seconds(pod, START, 0)
            if wait_s:
                return Plan(status_write(_PODS, pod, _creating(pod, node, at)), float(wait_s))
        else:
            left_s = (_seconds(pod, START, 0) or 0) - age_s(begun, at)
            if left_s > 0:
                return Plan(again_s=left_s)
        return Plan(status_write(_PODS, pod, _running(pod, node, at)))

    def _too_much(self, pod: Version, node: Version, view: View) -> str:
        """Of what there is too little on the node for the pod; empty where it fits."""
        try:
            room = node_allocatable(convert(Node, node.content))
            others = [item for item in view.on_node(node.key.name) if _is_before(item, pod)]
            given = [self._requests(item) for item in (*others, pod)]
        except ConfigError as error:
            return f"Unreadable: {error}"
        for name in sorted({name for one in given for name in one}):
            if sum(one.get(name, 0) for one in given) > room.get(name, 0):
                return name
        return "pods" if len(given) > room.get("pods", 0) else ""

    def _requests(self, pod: Version) -> Requests:
        key = (pod.uid, int(pod.metadata.get("generation", 0)))
        found = self._asked.get(key)
        if found is None:
            if len(self._asked) >= _ASKED_MAX:
                self._asked.clear()
            found = self._asked[key] = pod_requests(convert(Pod, pod.content))
        return found


def _run(pod: Version, at: datetime) -> Plan:
    """End or restart the containers when their time is over."""
    run_s = _seconds(pod, RUN, None)
    if run_s is None:
        return Plan()
    statuses = pod.content["status"].get("containerStatuses", ())
    begun = [item.get("state", {}).get("running", {}).get("startedAt") for item in statuses]
    left_s = max(1, run_s) - age_s(max((text for text in begun if text), default=None), at)
    if left_s > 0:
        return Plan(again_s=left_s)
    code = min(_seconds(pod, EXIT, 0) or 0, 255)
    policy = pod.content["spec"].get("restartPolicy", "Always")
    if policy == "Always" or (policy == "OnFailure" and code):
        restarted = _restarted(pod, code, at)
        return Plan(status_write(_PODS, pod, restarted), float(max(1, run_s)))
    return Plan(status_write(_PODS, pod, _ended(pod, code, at)))


def _stop(pod: Version, at: datetime) -> Plan:
    """Let a deleted pod go when it has stopped; at the latest when its grace is over."""
    grace_s = int(pod.metadata.get("deletionGracePeriodSeconds", 0))
    due = parsed(pod.metadata["deletionTimestamp"]) or at
    begun = due - timedelta(seconds=grace_s)
    stop_s = min(_seconds(pod, STOP, 0) or 0, grace_s)
    left_s = stop_s - (at - begun).total_seconds()
    if stop_s and left_s > 0:
        return Plan(again_s=left_s)
    how = Deletion(grace_s=0, uid=pod.uid)
    return Plan([Delete(_PODS, pod.key.namespace, pod.key.name, how)])


def _is_before(other: Version, pod: Version) -> bool:
    """Whether the other holds its share: it has begun, or comes first of those that have not."""
    status = other.content.get("status", {})
    if other.key == pod.key or status.get("phase") in ("Succeeded", "Failed"):
        return False
    # Tie: of pods that begin at once the first name is admitted first.
    return "startTime" in status or other.key < pod.key


def _seconds(pod: Version, annotation: str, default: int | None) -> int | None:
    text = pod.metadata.get("annotations", {}).get(annotation, "")
    if not (text.isascii() and text.isdigit() and len(text) < 11):
        return default
    return min(int(text), _SECONDS_MAX)


# ---- statuses -------------------------------------------------------------------------------


def _node_conditions(at: datetime) -> list[Content]:
    time = seconds_text(at)
    shown = []
    for name, is_true, reason, text in (
        ("MemoryPressure", False, "KubeletHasSufficientMemory", "memory is simulated"),
        ("DiskPressure", False, "KubeletHasNoDiskPressure", "disks are simulated"),
        ("PIDPressure", False, "KubeletHasSufficientPID", "processes are simulated"),
        ("Ready", True, "KubeletReady", "the simulated kubelet is ready"),
    ):
        times = {"lastHeartbeatTime": time, "lastTransitionTime": time}
        status = "True" if is_true else "False"
        shown.append({"type": name, "status": status, **times, "reason": reason, "message": text})
    return shown


def _address(first: int, second: int, number: int) -> str:
    return f"{first}.{second}.{number // 256 % 256}.{number % 256}"


def _creating(pod: Version, node: Version, at: datetime) -> Content:
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    return _status(pod, node, "Pending", waiting, at, is_ready=False)


def _running(pod: Version, node: Version, at: datetime) -> Content:
    state = {"running": {"startedAt": seconds_text(at)}}
    status = _status(pod, node, "Running", state, at, is_ready=True)
    address = _address(10, 128 + int(pod.uid[:2], 16) % 128, int(pod.uid[2:6], 16))
    return {**status, "podIP": address, "podIPs": [{"ip": address}]}


def _restarted(pod: Version, code: int, at: datetime) -> Content:
    status = pod.copy()["status"]
    for item in status["containerStatuses"]:
        item["lastState"] = {"terminated": _termination(item, code, at)}
        item["state"] = {"running": {"startedAt": seconds_text(at)}}
        item["restartCount"] = int(item.get("restartCount", 0)) + 1
    return dict(status)


def _ended(pod: Version, code: int, at: datetime) -> Content:
    status = pod.copy()["status"]
    for item in status["containerStatuses"]:
        item["state"] = {"terminated": _termination(item, code, at)}
        item |= {"ready": False, "started": False}
    reason = "PodFailed" if code else "PodCompleted"
    kept = [item for item in status["conditions"] if item.get("type") == "PodScheduled"]
    shown = [
        _condition(pod, "Initialized", at, is_true=True, reason=reason),
        _condition(pod, "Ready", at, is_true=False, reason=reason),
        _condition(pod, "ContainersReady", at, is_true=False, reason=reason),
    ]
    return {**status, "phase": "Failed" if code else "Succeeded", "conditions": [*shown, *kept]}


def _refused(pod: Version, what: str, at: datetime) -> Content:
    """The status of a pod that its kubelet does not take."""
    message = f"Pod was rejected: Node didn't have enough resource: {what}"
    status = {"phase": "Failed", "reason": f"OutOf{what}", "message": message}
    kept = {**pod.content.get("status", {}), **status}
    return {**kept, "startTime": seconds_text(at)}


def _termination(container: Content, code: int, at: datetime) -> Content:
    begun = container.get("state", {}).get("running", {}).get("startedAt", seconds_text(at))
    ended = {"exitCode": code, "reason": "Error" if code else "Completed"}
    return {**ended, "startedAt": begun, "finishedAt": seconds_text(at)}


def _status(
    pod: Version, node: Version, phase: str, state: Content, at: datetime, *, is_ready: bool
) -> Content:
    old = pod.content.get("status", {})
    spec = pod.content["spec"]
    kept = [item for item in old.get("conditions", ()) if item.get("type") == "PodScheduled"]
    shown = [
        _condition(pod, "PodReadyToStartContainers", at, is_true=is_ready),
        _condition(pod, "Initialized", at, is_true=True),
        _condition(pod, "Ready", at, is_true=is_ready),
        _condition(pod, "ContainersReady", at, is_true=is_ready),
    ]
    addresses = node.content.get("status", {}).get("addresses", ())
    host = next((item["address"] for item in addresses if item.get("type") == "InternalIP"), "")
    status = {
        **old,
        "observedGeneration": pod.metadata.get("generation", 0),
        "phase": phase,
        "conditions": [*shown, *kept],
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": old.get("startTime") or seconds_text(at),
        "containerStatuses": [
            _container(item, state, is_ready=is_ready) for item in spec["containers"]
        ],
    }
    if spec.get("initContainers"):
        status["initContainerStatuses"] = [
            _initial(item, state, at) for item in spec["initContainers"]
        ]
    return status


def _container(container: Content, state: Content, *, is_ready: bool) -> Content:
    return {
        "name": container["name"],
        "state": state,
        "lastState": {},
        "ready": is_ready,
        "restartCount": 0,
        "image": container.get("image", ""),
        "imageID": "",
        "started": is_ready,
    }


def _initial(container: Content, state: Content, at: datetime) -> Content:
    """An init container has ended when the others run; a sidecar runs beside them."""
    is_running = "running" in state
    if container.get("restartPolicy") == "Always" or not is_running:
        return _container(container, state, is_ready=is_running)
    ended = {"terminated": _termination({}, 0, at)}
    return {**_container(container, ended, is_ready=True), "started": False}


def _condition(
    pod: Version, name: str, at: datetime, *, is_true: bool, reason: str = ""
) -> Content:
    status = "True" if is_true else "False"
    before = condition_of(pod.content, name)
    moved = before.get("lastTransitionTime") if before.get("status") == status else None
    shown: Content = {"type": name, "status": status}
    shown["observedGeneration"] = pod.metadata.get("generation", 0)
    shown["lastTransitionTime"] = moved or seconds_text(at)
    return {**shown, "reason": reason} if reason else shown
