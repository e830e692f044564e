"""The demo of `herz up`: a small cluster's hour in seconds, through the public API alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from herz.errors import WorldError
from herz.world.kube.informer import said
from herz.world.kube.transport import Reply, Transport

SECONDS_MAX: Final = 60.0
"""Bound of each wait."""
_LOOK_SECONDS: Final = 0.1
_SPACES_MAX: Final = 1_000
Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a pod.

    Args:
        pod: its name.
        node: where it is; empty: nowhere.
        decision: the number of the record, as the API has it; empty: it is not bound.
        why: what the API says of it.
    """

    pod: str
    node: str
    decision: str
    why: str


class Demo:
    """One showing, in a namespace of its own.

    Args:
        api: the cluster.
        tell: shows a person what happens.
    """

    def __init__(self, api: Transport, tell: Callable[[str], None]) -> None:
        self._api = api
        self._tell = tell
        self.namespace = ""

    async def run(self) -> list[Row]:
        """Show it all; what became of each pod.

        Raises:
            WorldError: the cluster refuses something, or what is waited for does not happen.
        """
        await self._make_space()
        self._tell(f"namespace {self.namespace}: a Deployment of 6 pods")
        await self._make("apps/v1", "deployments", _deployment("web", 6, "500m"))
        await self._until("web: 6 of 6 run", lambda pods: len(_running(pods, "web-")) == 6)
        self._tell("a Job: 6 pods of 1 CPU that run for a second each, three at a time")
        await self._make("batch/v1", "jobs", _job("nightly", 6, 3))
        await self._until("nightly: 6 of 6 are done", lambda pods: len(_done(pods)) == 6)
        self._tell("a Deployment that fills each node: 3 pods of 5 CPU")
        await self._make("apps/v1", "deployments", _deployment("filler", 3, "5"))
        await self._until("filler: 3 of 3 run", lambda pods: len(_running(pods, "filler-")) == 3)
        self._tell("an urgent pod of 6 CPU: there is room for it only in the place of another")
        await self._make_class()
        await self._make("v1", "pods", _pod("urgent", "6", priorityClassName="demo-urgent"))
        await self._until("urgent runs; a filler made room", _is_made_room)
        self._tell("a pod of 64 CPU, which no node has")
        await self._make("v1", "pods", _pod("too-large", "64"))
        await self._until(
            "too-large waits, and says why", lambda pods: bool(_why(pods["too-large"]))
        )
        return [_row(name, pod) for name, pod in sorted((await self._pods()).items())]

    async def _make_space(self) -> None:
        for number in range(1, _SPACES_MAX):
            name = "demo" if number == 1 else f"demo-{number}"
            content = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            reply = await self._ask("POST", "/api/v1/namespaces", content)
            if reply.is_success:
                self.namespace = name
                return
            if reply.status != 409:
                raise WorldError(f"namespace {name}: {reply.status} {said(reply)}")
        raise WorldError(f"there are {_SPACES_MAX} namespaces of demos: begin with a new --data")

    async def _make_class(self) -> None:
        content = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "demo-urgent"},
            "value": 1000,
        }
        reply = await self._ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", content)
        if not reply.is_success and reply.status != 409:
            raise WorldError(f"PriorityClass demo-urgent: {reply.status} {said(reply)}")

    async def _make(self, group: str, plural: str, content: Content) -> None:
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        path = f"{root}/namespaces/{self.namespace}/{plural}"
        reply = await self._ask("POST", path, content)
        if not reply.is_success:
            raise WorldError(f"{path}: {reply.status} {said(reply)}")

    async def _until(self, what: str, is_so: Callable[[dict[str, Content]], bool]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not is_so(await self._pods()):
            if loop.time() - began > SECONDS_MAX:
                raise WorldError(f"the demo waits in vain: {what}")
            await asyncio.sleep(_LOOK_SECONDS)
        self._tell(f"  {what} ({loop.time() - began:.1f} s)")

    async def _pods(self) -> dict[str, Content]:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        reply = await self._ask("GET", path)
        if not reply.is_success:
            raise WorldError(f"{path}: {reply.status} {said(reply)}")
        items: list[Content] = json.loads(reply.body)["items"]
        return {item["metadata"]["name"]: item for item in items}

    async def _ask(self, method: str, path: str, content: Content | None = None) -> Reply:
        body = b"" if content is None else json.dumps(content).encode()
        return await self._api.request(method, path, body=body, timeout_seconds=SECONDS_MAX)


def _running(pods: dict[str, Content], prefix: str) -> list[str]:
    return [
        name
        for name, pod in pods.items()
        if name.startswith(prefix)
        and pod["status"].get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    ]


def _done(pods: dict[str, Content]) -> list[str]:
    return [name for name, pod in pods.items() if pod["status"].get("phase") == "Succeeded"]


def _is_made_room(pods: dict[str, Content]) -> bool:
    waiting = [name for name, pod in pods.items() if name.startswith("filler-") and _why(pod)]
    return bool(_running(pods, "urgent")) and len(waiting) == 1


def _why(pod: Content) -> str:
    """Why the pod has no node, in the scheduler's words; empty while it says nothing."""
    for one in pod["status"].get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return str(one.get("message", ""))
    return ""


def _row(name: str, pod: Content) -> Row:
    node = str(pod["spec"].get("nodeName", ""))
    decision = pod["metadata"].get("annotations", {}).get("herz.dev/decision", "")
    return Row(name, node, decision, _why(pod) or str(pod["status"].get("phase", "")))


def _pod(name: str, cpu: str, **spec: Any) -> Content:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [_container(cpu)], **spec},
    }


def _deployment(name: str, replicas: int, cpu: str) -> Content:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [_container(cpu)]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": spec,
    }


def _job(name: str, completions: int, at_once: int) -> Content:
    template = {
        "metadata": {"annotations": {"herz.dev/run-seconds": "1"}},
        "spec": {"containers": [_container("1")], "restartPolicy": "Never"},
    }
    spec = {"completions": completions, "parallelism": at_once, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def _container(cpu: str) -> Content:
    return {"name": "main", "image": "demo", "resources": {"requests": {"cpu": cpu}}}
