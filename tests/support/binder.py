"""A thread that gives every pending pod a node, so that clusters without a scheduler go on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.cluster import Client


@contextmanager
def binding(api: Client) -> Iterator[None]:
    """Bind until the end of the block; nodes that are cordoned get nothing."""
    end = threading.Event()
    thread = threading.Thread(target=_bind, args=(api, end), name="binder")
    thread.start()
    try:
        yield
    finally:
        end.set()
        # A change that the watch shows, so that the thread wakes up and sees the end.
        end_mark = {
            "metadata": {"generateName": "end-"},
            "spec": {"containers": [{"name": "c", "image": "c"}]},
        }
        api.post("/api/v1/namespaces/default/pods", end_mark)
        thread.join()


def _bind(api: Client, end: threading.Event) -> None:
    numbers = itertools.count()
    # Bound: a watch lasts some seconds; every round resumes with what is still unbound.
    while not end.is_set():
        with api.watch(
            "/api/v1/pods", fieldSelector="spec.nodeName=", resourceVersion="0"
        ) as events:
            for event in events:
                if end.is_set():
                    return
                if event["type"] == "ADDED":
                    _bind_one(api, event["object"]["metadata"], next(numbers))


def _bind_one(api: Client, metadata: dict[str, str], number: int) -> None:
    nodes = [
        item["metadata"]["name"]
        for item in api.get("/api/v1/nodes", fieldSelector="spec.unschedulable=false").content[
            "items"
        ]
    ]
    target = {"kind": "Node", "name": nodes[number % len(nodes)]}
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
    done = api.post(path, {"metadata": {"uid": metadata["uid"]}, "target": target})
    assert done.code in (201, 404, 409), done.content
