"""A live scheduler in a process of its own, and what tests ask of the cluster that it drives."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.cluster import Client

Content = dict[str, Any]
WAIT_S = 90
PODS = "/api/v1/namespaces/default/pods"


@contextlib.contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A command of Herz that runs, and the JSON that it printed; killed if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "herz.front.cli", *arguments, "--output", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            text += line
        yield process, json.loads(text)
    finally:
        process.kill()
        process.communicate()


def pod(name: str, cpu: str = "100m", scheduler: str = "herz", **spec: Any) -> Content:
    """A pod of one container."""
    container = {"name": "c", "image": "c", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"schedulerName": scheduler, "containers": [container], **spec},
    }


def until(
    api: Client, is_so: Callable[[dict[str, Content]], bool], path: str = PODS
) -> dict[str, Content]:
    """The objects by name, once it is so; the watch's changes are waited for."""
    last = time.monotonic() + WAIT_S
    while True:  # Bound: `WAIT_S`; a server may end a watch whenever it likes.
        listed = api.get(path)
        found = {item["metadata"]["name"]: item for item in listed.content["items"]}
        if is_so(found):
            return found
        assert time.monotonic() < last, f"it did not come to be: {json.dumps(found)[:4000]}"
        with api.watch(path, resourceVersion=listed.revision) as events:
            for event in events:
                item = event["object"]
                if event["type"] == "ERROR":
                    break
                if event["type"] == "DELETED":
                    found.pop(item["metadata"]["name"], None)
                else:
                    found[item["metadata"]["name"]] = item
                if is_so(found):
                    return found


def node_of(item: Content) -> str:
    """Where the pod is; empty: nowhere."""
    return str(item["spec"].get("nodeName", ""))


def condition(item: Content, kind: str = "PodScheduled") -> Content:
    """The pod's condition; empty: it has none."""
    conditions = item["status"].get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})
