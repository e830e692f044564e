"""Writes: what was decided, carried out at the API, and what the API answered.

Effects about one object go in their order, others at once, within limits. What came of a bind is
told as a `BindFinished`, and is never guessed: an answer that did not come is *unknown*, and the
pod is read again until the API tells.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from herz.errors import WorldError
from herz.model.decode import decode
from herz.model.effects import (
    Bind,
    DeletePod,
    Effect,
    EmitEvent,
    Evict,
    Nominate,
    PatchClaim,
    PatchPodStatus,
    PatchVolume,
)
from herz.model.events import WorldEvent
from herz.model.objects import PersistentVolume, PersistentVolumeClaim, Pod
from herz.model.outcomes import BindFinished, BindOutcome, PatchRefused, RemovalRefused
from herz.world.kube.informer import said
from herz.world.kube.limits import Calls
from herz.world.kube.posting import Posting
from herz.world.kube.transport import NoAnswerError, Reply

BIND_SECONDS: Final = 5.0
"""The client's time for one bind: what a lease lasts beyond its renew deadline (15 s - 10 s)."""
WRITE_SECONDS: Final = 10.0
TRIES_MAX: Final = 5
RETRY_SECONDS: Final = (0.1, 2.0)
"""Between tries of what was not answered: doubled."""
STRATEGIC: Final = "application/strategic-merge-patch+json"
MERGE: Final = "application/merge-patch+json"

_log = logging.getLogger("herz.kube")
_ENCODER: Final = msgspec.json.Encoder()

Write = Bind | PatchPodStatus | Nominate | DeletePod | Evict | PatchClaim | PatchVolume


@dataclass(slots=True)
class Flight:
    """A bind that is under way.

    Args:
        effect: what was decided.
        is_settled: whether its outcome was told.
        is_unknown: whether it was told that no answer came.
    """

    effect: Bind
    is_settled: bool = False
    is_unknown: bool = False


@dataclass(slots=True)
class Counts:
    """What was written, and what came of it."""

    bound: int = 0
    refused: int = 0
    unknown: int = 0
    patches: int = 0
    removals: int = 0
    failed: int = 0


class Writer:
    """Carries out effects.

    Args:
        calls: requests within limits.
        posting: carries out events.
        deliver: takes the answers.
        pod_of: a pod as the watch last showed it, by namespace and name.
        now_ns: the driver's time.
    """

    def __init__(
        self,
        calls: Calls,
        posting: Posting,
        deliver: Callable[[WorldEvent], None],
        pod_of: Callable[[str], Pod | None],
        now_ns: Callable[[], int],
    ) -> None:
        self._calls = calls
        self._posting = posting
        self._deliver = deliver
        self._pod_of = pod_of
        self._now_ns = now_ns
        # By object, what is still to be done about it; the first is being done.
        # Bound: the driver decides nothing while `pending` is at its bound.
        self._chains: dict[str, deque[Write]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._flights: dict[str, Flight] = {}
        self.pending = 0
        """Writes that are not done."""
        self.counts = Counts()
        self.idle = asyncio.Event()
        """Set while nothing is pending."""
        self.idle.set()

    def carry_out(self, effect: Effect) -> None:
        """Begin what the effect asks for."""
        if isinstance(effect, EmitEvent):
            self._posting.post(effect)
            return
        assert isinstance(effect, Write), "a wake-up is the driver's"
        if isinstance(effect, Bind):
            self._flights[effect.uid] = Flight(effect)
        self.pending += 1
        self.idle.clear()
        key = _key(effect)
        chain = self._chains.get(key)
        if chain is not None:
            chain.append(effect)
            return
        self._chains[key] = deque((effect,))
        task = asyncio.get_running_loop().create_task(self._work(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def binding(self) -> int:
        """Binds that are under way."""
        return len(self._flights)

    def take_back(self, effect: Effect, message: str) -> None:
        """Answer as if the API had refused it: it does not leave."""
        if isinstance(effect, Bind):
            self._settle(Flight(effect), "", message)
        elif isinstance(effect, DeletePod | Evict):
            self._removal_refused(effect, message)
        else:
            assert isinstance(effect, PatchClaim | PatchVolume), "of others nothing depends"
            self._patch_refused(effect, message)

    def seen(self, pod: Pod) -> None:
        """The watch shows the pod with a node: that settles a bind that is under way."""
        flight = self._flights.get(pod.metadata.uid)
        if flight is not None and not flight.is_settled:
            self._settle(flight, pod.spec.node_name, pod=pod)

    def cancel(self) -> None:
        """Give up what is under way; what came of it, the next start reads from the API."""
        for task in self._tasks:
            task.cancel()

    # ---- one object's writes ----------------------------------------------------------------

    async def _work(self, key: str) -> None:
        chain = self._chains[key]
        while chain:
            effect = chain[0]
            try:
                await self._do(effect)
            except WorldError as error:
                # Each write tells its own failures; what is left is lost, and said.
                self.counts.failed += 1
                _log.warning("%s of %s: %s", type(effect).__name__, key, error)
            finally:
                chain.popleft()
                self.pending -= 1
                if not self.pending:
                    self.idle.set()
                if not chain:
                    del self._chains[key]

    async def _do(self, effect: Write) -> None:
        if isinstance(effect, Bind):
            await self._bind(effect)
        elif isinstance(effect, PatchPodStatus):
            await self._set_condition(effect)
        elif isinstance(effect, Nominate):
            await self._patch_status(effect, {"nominatedNodeName": effect.node or None})
        elif isinstance(effect, DeletePod):
            await self._delete(effect)
        elif isinstance(effect, Evict):
            await self._evict(effect)
        elif isinstance(effect, PatchClaim):
            await self._patch_claim(effect)
        else:
            await self._patch_volume(effect)

    async def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        seconds: float = WRITE_SECONDS,
        is_repeated: bool = True,
    ) -> Reply:
        """One request.

        Raises:
            NoAnswerError: no answer came.
        """
        return await self._calls.request(
            method,
            path,
            body=b"" if content is None else _ENCODER.encode(content),
            content_type=content_type,
            timeout_seconds=seconds,
            is_repeated=is_repeated,
        )

    async def _persist(self, *call: Any, **more: Any) -> Reply:
        """The same for what may be sent twice: again where no answer came, or a 5xx.

        Raises:
            NoAnswerError: no answer came to the last try.
        """
        wait = RETRY_SECONDS[0]
        for left in range(TRIES_MAX - 1, -1, -1):
            try:
                reply = await self._send(*call, **more)
            except NoAnswerError as error:
                if not left or not error.is_retryable:
                    raise
            else:
                if reply.status < 500 or not left:
                    return reply
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_SECONDS[1])
        raise AssertionError("the last try returns or raises")

    # ---- binds ------------------------------------------------------------------------------

    async def _bind(self, effect: Bind) -> None:
        flight = self._flights[effect.uid]
        content = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "annotations": dict(effect.annotations),
                "name": effect.name,
                "namespace": effect.namespace,
                "uid": effect.uid,
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": effect.node},
        }
        path = f"{_pod_path(effect)}/binding"
        try:
            reply = await self._sent_once(path, content)
            if reply.is_success:
                self._settle(flight, effect.node)
            elif reply.status == 409:
                # Somebody may have bound it, we ourselves even: the pod tells.
                await self._confirm(flight, said(reply))
            elif reply.status >= 500:
                self._unknown(flight, f"{reply.status} {said(reply)}", reply.status)
                await self._confirm(flight, said(reply))
            else:
                self._settle(flight, "", f"{reply.status} {said(reply)}", code=reply.status)
        except NoAnswerError as error:
            if error.is_sent:
                self._unknown(flight, str(error))
                await self._confirm(flight, "the pod has no node when read after the time-out")
            else:
                self._settle(flight, "", str(error))
        finally:
            if self._flights.get(effect.uid) is flight:
                del self._flights[effect.uid]

    async def _sent_once(self, path: str, content: Mapping[str, Any]) -> Reply:
        """Send a bind, again only where it did not leave.

        Raises:
            NoAnswerError: no answer came, or the server cannot be reached.
        """
        wait = RETRY_SECONDS[0]
        for left in range(TRIES_MAX - 1, -1, -1):
            try:
                return await self._send("POST", path, content, seconds=BIND_SECONDS)
            except NoAnswerError as error:
                if error.is_sent or not left or not error.is_retryable:
                    raise
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_SECONDS[1])
        raise AssertionError("the last try returns or raises")

    async def _confirm(self, flight: Flight, message: str) -> None:
        """Read the pod until the API tells what it holds."""
        wait = RETRY_SECONDS[0]
        while not flight.is_settled:  # Bound: the API's own absence; the watch may settle it, too.
            try:
                reply = await self._send("GET", _pod_path(flight.effect), seconds=BIND_SECONDS)
            except NoAnswerError as error:
                _log.info("%s", error)
            else:
                if reply.status == 200:
                    pod = decode(Pod, reply.body)
                    is_it = pod.metadata.uid == flight.effect.uid
                    node = pod.spec.node_name if is_it else ""
                    words = message if is_it else "another pod has its name"
                    self._settle(flight, node, words, pod=pod)
                    return
                if reply.status == 404:
                    self._settle(flight, "", "the pod is gone")
                    return
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_SECONDS[1])

    def _unknown(self, flight: Flight, message: str, code: int | UnsetType = UNSET) -> None:
        if not flight.is_settled:
            self.counts.unknown += 1
            flight.is_unknown = True
            self._answer(flight, BindOutcome.UNKNOWN, message, None, code)

    def _settle(
        self,
        flight: Flight,
        node: str,
        message: str = "",
        *,
        pod: Pod | None = None,
        code: int | UnsetType = UNSET,
    ) -> None:
        """The API holds the pod on that node, or on none."""
        if flight.is_settled:
            return
        flight.is_settled = True
        if node == flight.effect.node:
            self.counts.bound += 1
            self._answer(flight, BindOutcome.BOUND, "", pod, code)
        else:
            self.counts.refused += 1
            said_why = message or f"the pod is on {node}"
            self._answer(flight, BindOutcome.REFUSED, said_why, None, code)

    def _answer(
        self,
        flight: Flight,
        outcome: BindOutcome,
        message: str,
        pod: Pod | None,
        code: int | UnsetType,
    ) -> None:
        effect = flight.effect
        was_unknown = flight.is_unknown and outcome is not BindOutcome.UNKNOWN
        self._deliver(
            BindFinished(
                time_ns=self._now_ns(),
                uid=effect.uid,
                decision=effect.decision,
                outcome=outcome,
                message=message,
                resource_version=UNSET if pod is None else pod.metadata.resource_version,
                code=code,
                resolved="read" if was_unknown else UNSET,
            )
        )

    # ---- status -----------------------------------------------------------------------------

    async def _set_condition(self, effect: PatchPodStatus) -> None:
        known = self._pod_of(f"{effect.namespace}/{effect.name}")
        if known is not None and known.metadata.uid != effect.uid:
            return
        generation = 0 if known is None else known.metadata.generation
        condition = _condition(
            known, "PodScheduled", "False", effect.reason, effect.message, generation
        )
        if condition is not None:
            await self._patch_status(effect, {"conditions": [condition]})

    async def _patch_status(
        self, effect: PatchPodStatus | Nominate | DeletePod, status: Mapping[str, Any]
    ) -> None:
        """Merge into the pod's status; a pod that is gone, or another by now, needs nothing."""
        content = {"metadata": {"uid": effect.uid}, "status": status}
        path = f"{_pod_path(effect)}/status"
        reply = await self._persist("PATCH", path, content, content_type=STRATEGIC)
        if reply.is_success:
            self.counts.patches += 1
        elif reply.status not in (404, 409):
            raise WorldError(f"PATCH {path}: {reply.status} {said(reply)}")

    # ---- removals ---------------------------------------------------------------------------

    async def _delete(self, effect: DeletePod) -> None:
        known = self._pod_of(f"{effect.namespace}/{effect.name}")
        generation = 0 if known is None else known.metadata.generation
        condition = _condition(
            known,
            "DisruptionTarget",
            "True",
            "PreemptionByScheduler",
            effect.message,
            generation,
        )
        try:
            if condition is not None:
                await self._patch_status(effect, {"conditions": [condition]})
            content = {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": effect.uid},
            }
            reply = await self._persist("DELETE", _pod_path(effect), content)
        except WorldError as error:
            self._removal_refused(effect, str(error))
            return
        # 409: the uid is another's: the victim is gone.
        if reply.is_success or reply.status in (404, 409):
            self.counts.removals += 1
        else:
            self._removal_refused(effect, f"{reply.status} {said(reply)}", reply.status)

    async def _evict(self, effect: Evict) -> None:
        content = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": effect.name, "namespace": effect.namespace},
            "deleteOptions": {"preconditions": {"uid": effect.uid}},
        }
        path = f"{_pod_path(effect)}/eviction"
        try:
            for _ in range(TRIES_MAX):
                reply = await self._send("POST", path, content, is_repeated=False)
                # A budget's 429 is its answer; a busy server's only means later.
                if reply.status != 429 or b"DisruptionBudget" in reply.body:
                    break
                await asyncio.sleep(1)
        except WorldError as error:
            self._removal_refused(effect, str(error))
            return
        if reply.is_success or reply.status in (404, 409):
            self.counts.removals += 1
        else:
            self._removal_refused(effect, f"{reply.status} {said(reply)}", reply.status)

    def _removal_refused(
        self, effect: DeletePod | Evict, message: str, code: int | UnsetType = UNSET
    ) -> None:
        self.counts.failed += 1
        at = self._now_ns()
        self._deliver(RemovalRefused(time_ns=at, uid=effect.uid, message=message, code=code))

    # ---- claims and volumes -----------------------------------------------------------------

    async def _patch_claim(self, effect: PatchClaim) -> None:
        path = f"/api/v1/namespaces/{effect.namespace}/persistentvolumeclaims/{effect.name}"
        annotations = dict(effect.annotations)
        content = {"metadata": {**_versioned(effect), "annotations": annotations}}

        def has_landed(body: bytes) -> bool:
            claim = decode(PersistentVolumeClaim, body)
            return claim.metadata.uid == effect.uid and (
                annotations.items() <= claim.metadata.annotations.items()
            )

        await self._patch_once(path, content, effect, has_landed)

    async def _patch_volume(self, effect: PatchVolume) -> None:
        path = f"/api/v1/persistentvolumes/{effect.name}"
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": effect.claim_name,
            "namespace": effect.claim_namespace,
            "uid": effect.claim_uid,
        }
        content = {
            "metadata": {**_versioned(effect), "annotations": dict(effect.annotations)},
            "spec": {"claimRef": claim},
        }

        def has_landed(body: bytes) -> bool:
            volume = decode(PersistentVolume, body)
            held = volume.spec.claim_ref
            return held is not None and held.uid == effect.claim_uid

        await self._patch_once(path, content, effect, has_landed)

    async def _patch_once(
        self,
        path: str,
        content: Mapping[str, Any],
        effect: PatchClaim | PatchVolume,
        has_landed: Callable[[bytes], bool],
    ) -> None:
        """Patch one version of the object: a second try of what has landed is refused as stale."""
        try:
            reply = await self._persist("PATCH", path, content, content_type=MERGE)
            message = f"{reply.status} {said(reply)}"
            if reply.status == 409:
                found = await self._persist("GET", path)
                if found.status == 200 and has_landed(found.body):
                    reply = found
        except WorldError as error:
            self._patch_refused(effect, str(error))
            return
        if reply.is_success:
            self.counts.patches += 1
        else:
            self._patch_refused(effect, message)

    def _patch_refused(self, effect: PatchClaim | PatchVolume, message: str) -> None:
        self.counts.failed += 1
        self._deliver(PatchRefused(time_ns=self._now_ns(), effect=effect, message=message))


def _condition(
    known: Pod | None, kind: str, status: str, reason: str, message: str, generation: int
) -> dict[str, Any] | None:
    """The condition as it is to be; None where the pod has it already.

    The time of its transition is that of a change of its status, not of its words.
    """
    conditions = () if known is None else known.status.conditions
    old = next((one for one in conditions if one.type == kind), None)
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if old is not None and old.status == status:
        same = (old.reason, old.message, old.observed_generation) == (reason, message, generation)
        if same:
            return None
        since = old.last_transition_time or since
    condition: dict[str, Any] = {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": since,
    }
    if generation:
        condition["observedGeneration"] = generation
    return condition


def _versioned(effect: PatchClaim | PatchVolume) -> dict[str, str]:
    return {"resourceVersion": effect.resource_version, "uid": effect.uid}


def _pod_path(effect: Bind | PatchPodStatus | Nominate | DeletePod | Evict) -> str:
    return f"/api/v1/namespaces/{effect.namespace}/pods/{effect.name}"


def _key(effect: Write) -> str:
    if isinstance(effect, PatchVolume):
        return f"PersistentVolume {effect.name}"
    kind = "PersistentVolumeClaim" if isinstance(effect, PatchClaim) else "Pod"
    return f"{kind} {effect.namespace}/{effect.name}"
