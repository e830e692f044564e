"""The loop: changes come in, the objects that they concern are reconciled, actions are carried out.

All controllers share one task. Between a look at the store and the plans that follow from it there
is no wait, so every plan rests on one state; its own actions are on the disk, and seen, before the
object is looked at again.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Iterable

import msgspec

from herz.world.apiserver.controllers.plan import (
    Action,
    Controller,
    Create,
    Delete,
    Plan,
    View,
    Write,
)
from herz.world.apiserver.refusal import RefusedError
from herz.world.apiserver.registry import Registry
from herz.world.apiserver.registry.deletion import delete
from herz.world.apiserver.registry.times import now
from herz.world.apiserver.store import Change, Feed, Key

LOG = logging.getLogger("herz.controllers")
ROUND_MAX = 256
"""Bound: objects that are reconciled before changes are read again."""
RETRY_S = (0.05, 10.0)
"""The first and the longest wait after a refused action."""
_IDLE_S = 3600.0
_Work = tuple[int, Key]


class Loop:
    """Runs controllers over a registry.

    Args:
        registry: where they read and act.
        controllers: what is asked of each change, in this order.
    """

    def __init__(self, registry: Registry, controllers: Iterable[Controller]) -> None:
        self._registry = registry
        self._controllers = tuple(controllers)
        self._view = View(registry.store)
        # Bound: each object stands in it once a controller.
        self._ready: dict[_Work, None] = {}
        self._timers: list[tuple[float, int, _Work]] = []
        self._due: dict[_Work, float] = {}
        self._count = 0
        self._failures: dict[_Work, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at everything that is there, then follow."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_tell_of_a_crash)

    async def stop(self) -> None:
        """End after the actions that are under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self, controller: Controller, key: Key) -> None:
        """Have an object looked at that no change speaks of."""
        self._ready[(self._controllers.index(controller), key)] = None

    async def _run(self) -> None:
        store = self._registry.store
        feed = store.watch("", store.revision)
        self._look_at_all()
        # Bound: the loop's life; a reader that was cut off begins anew.
        while True:
            changes = await feed.take(self._wait_s())
            if changes is None:
                if not feed.is_overrun:
                    return
                feed = self._anew(feed)
                continue
            for change in changes:
                self._see(change)
            self._take_due()
            await self._round()

    def _anew(self, feed: Feed) -> Feed:
        store = self._registry.store
        store.forget(feed)
        self._view = View(store)
        fresh = store.watch("", store.revision)
        self._look_at_all()
        return fresh

    def _look_at_all(self) -> None:
        found = [
            Change(version, None, is_deletion=False)
            for resource in self._registry.store.resources()
            for version in self._registry.store.items(resource)
        ]
        for change in found:
            self._view.follow(change)
        for change in found:
            self._ask(change)

    def _see(self, change: Change) -> None:
        self._view.follow(change)
        self._ask(change)

    def _ask(self, change: Change) -> None:
        for index, controller in enumerate(self._controllers):
            try:
                keys = list(controller.concerned(change, self._view))
            except Exception:
                LOG.exception("seeing %s", change.version.key)
                continue
            for key in keys:
                self._ready[(index, key)] = None

    # ---- time -------------------------------------------------------------------------------

    def _wait_s(self) -> float:
        if self._ready:
            return 0.0
        if not self._timers:
            return _IDLE_S
        return max(0.0, self._timers[0][0] - asyncio.get_running_loop().time())

    def _take_due(self) -> None:
        time = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0] <= time:
            due, _, work = heapq.heappop(self._timers)
            if self._due.get(work) == due:
                del self._due[work]
                self._ready[work] = None

    def _set_timer(self, work: _Work, seconds: float) -> None:
        """Look at it then; an earlier time that is set already stands."""
        due = asyncio.get_running_loop().time() + seconds
        if self._due.get(work, due + 1) <= due:
            return
        self._due[work] = due
        self._count += 1
        heapq.heappush(self._timers, (due, self._count, work))

    # ---- work -------------------------------------------------------------------------------

    async def _round(self) -> None:
        """Reconcile what is ready, all from one state, and carry the plans out together."""
        works = list(self._ready)[:ROUND_MAX]
        at = now()
        plans: list[tuple[_Work, Plan]] = []
        for work in works:
            del self._ready[work]
            try:
                plan = self._controllers[work[0]].reconcile(work[1], self._view, at)
            except Exception:
                # One object that a controller cannot digest must not stop the cluster.
                LOG.exception("reconciling %s", work[1])
                self._set_timer(work, RETRY_S[1])
                continue
            plans.append((work, plan))
        jobs = [self._carry_out(action) for _, plan in plans for action in plan.actions]
        results = iter(await asyncio.gather(*jobs, return_exceptions=True))
        for work, plan in plans:
            outcomes = [next(results) for _ in plan.actions]
            self._account(work, plan, outcomes)

    def _account(self, work: _Work, plan: Plan, outcomes: list[BaseException | None]) -> None:
        failures = [error for error in outcomes if error is not None]
        if not failures:
            self._failures.pop(work, None)
            if plan.again_s is not None:
                self._set_timer(work, plan.again_s)
            return
        for error in failures:
            if not isinstance(error, RefusedError):
                LOG.error("acting on %s", work[1], exc_info=error)
            elif error.reason not in ("Conflict", "Forbidden"):
                LOG.warning("acting on %s: %s", work[1], error)
        count = self._failures.get(work, 0)
        self._failures[work] = count + 1
        self._set_timer(work, min(RETRY_S[0] * 2 ** min(count, 16), RETRY_S[1]))

    async def _carry_out(self, action: Action) -> None:
        """One action.

        Raises:
            RefusedError: it was not done.
        """
        registry = self._registry
        try:
            if isinstance(action, Create):
                await registry.create(action.kind, action.namespace, action.content)
            elif isinstance(action, Write):
                key = action.old.key
                # A copy: parts of what a controller wants are parts of what it has read.
                content = msgspec.json.decode(msgspec.json.encode(action.content))
                content["metadata"]["resourceVersion"] = action.old.metadata["resourceVersion"]
                where = (action.kind, key.namespace, key.name)
                await registry.update(*where, content, subresource=action.part)
            elif isinstance(action, Delete):
                await delete(registry, action.kind, action.namespace, action.name, action.how)
        except RefusedError as error:
            wanted = "AlreadyExists" if isinstance(action, Create) else "NotFound"
            if error.reason != wanted:
                raise


def _tell_of_a_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        LOG.critical("the controllers have stopped", exc_info=task.exception())
