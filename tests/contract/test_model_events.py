"""Events of promotions and rollbacks, written by the live driver to an API server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from herz.commit.adopt import promoted, rolled_back
from herz.model.effects import EmitEvent
from herz.world.kube.driver import Driver, Settings
from herz.world.kube.kinds import WATCHED
from herz.world.kube.kubeconfig import Access
from herz.world.kube.transport import Transport
from tests.contract.conftest import Space
from tests.support.cluster import Client

ROOT = "/apis/events.k8s.io/v1/namespaces/default/events"
MODEL = "sha256:" + 64 * "a"


def written(api: Client, events: Sequence[EmitEvent]) -> tuple[int, int]:
    """How many the server took, and how many were lost."""

    async def write() -> tuple[int, int]:
        transport = Transport(Access(api.kubeconfig))
        machine: Any = None  # Nothing is decided.
        driver = Driver(machine, transport, WATCHED, Settings(None))
        try:
            for event in events:
                driver.tell(event)
            await driver.posting.idle.wait()
            return driver.posting.posted, driver.posting.dropped
        finally:
            await transport.closed()

    return asyncio.run(write())


@pytest.mark.parametrize("uid", ["", "8a2f0c5e-0000-4000-8000-000000000001"])
def test_promotion_and_rollback_are_events_about_the_class(space: Space, uid: str) -> None:
    name = f"{space.name}-class{len(uid)}"
    reason = "trial 1: Brier improvement 0.01"
    events = [promoted(name, uid, MODEL, reason), rolled_back(name, uid, MODEL, "rolled back: x")]
    assert written(space.api, events) == (2, 0)
    listed = space.api.get(ROOT, fieldSelector=f"regarding.name={name}").content["items"]
    found = {one["reason"]: one for one in listed}
    assert set(found) == {"ModelPromoted", "ModelRolledBack"}
    good, bad = found["ModelPromoted"], found["ModelRolledBack"]
    assert (good["type"], bad["type"]) == ("Normal", "Warning")
    assert good["note"] == f"model {MODEL} is in force: {reason}"
    assert bad["note"] == f"model {MODEL} is in force again: rolled back: x"
    about = {"apiVersion": "scheduling.herz.dev/v1alpha1", "kind": "SLAClass", "name": name}
    assert good["regarding"] == ({**about, "uid": uid} if uid else about)
