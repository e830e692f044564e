"""Step 6, prove: each decision becomes a record that names the one before it.

A record is canonical JSON (RFC 8785); its SHA3-384 digest is the next one's `previous`. The
chain here is in memory, and hands each record on to its sinks before any effect leaves.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from herz.model.record import (
    Decided,
    Order,
    PodReference,
    PolicyReference,
    Record,
    Statement,
    canonical,
)

if TYPE_CHECKING:  # Who only reads records waits for neither.
    from herz.model.podinfo import PodInfo
    from herz.ports import RecordSink

NO_RECORD: Final = "0" * 96
"""What the first record has as `previous`."""

# Module names: looking a member up on an Enum costs 40 ns.
_PLACE: Final = Decided.PLACE
_PREEMPT: Final = Decided.PREEMPT

_AS_BEFORE: Final = Statement()

_encoder = msgspec.json.Encoder()


class _Open(msgspec.Struct, frozen=True, gc=False):
    """What a record is to be made of."""

    sequence: int
    pod: PodInfo
    decided: Decided
    order: Order
    snapshot: str
    time_ns: int
    said: Statement
    repeats: int
    repeated: int
    policy: PolicyReference


class Chain:
    """Makes records and chains them.

    Args:
        engine: digest of the engine.
        policies: the policy in force, by profile (`PodInfo.profile`).
        sinks: who gets each record, in order, before its effect leaves.
        term: the leader's term.
        after: number and digest (hex) of the last record of the machine before, if there is one.
        retired: the policy without its comparator, by profile.
    """

    def __init__(
        self,
        engine: str,
        policies: Sequence[PolicyReference],
        sinks: Sequence[RecordSink],
        *,
        term: int = 0,
        after: tuple[int, str] = (0, NO_RECORD),
        retired: Sequence[PolicyReference] = (),
    ) -> None:
        self._engine = engine
        self._policies = tuple(policies)
        self._retired = tuple(retired)
        self._sinks = tuple(sinks)
        self._term = term
        # Made and not yet sealed, in order. Bound: the decisions of one step.
        self._open: deque[_Open] = deque()
        # Records are written here: it keeps its size, where a new one grows by pieces each time.
        self._buffer = bytearray()
        self.sequence, self._previous = after
        # Invariant: only pods that were last told "no"; forget() ends an entry with its pod.
        self._told: dict[str, tuple[bytes, int, int]] = {}

    def adopt(
        self, policies: Sequence[PolicyReference], retired: Sequence[PolicyReference]
    ) -> None:
        """Other policies are in force from the next decision on, in the same profiles."""
        assert len(policies) == len(self._policies), "as many profiles"
        assert not self._open, "between steps"
        self._policies, self._retired = tuple(policies), tuple(retired)

    @property
    def head(self) -> str:
        """The digest of the last record that was sealed, hex."""
        return self._previous

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of the policies, by profile."""
        return tuple(policy.name for policy in self._policies)

    def append(
        self,
        pod: PodInfo,
        decided: Decided,
        order: Order,
        snapshot: str,
        time_ns: int,
        said: Statement,
    ) -> tuple[int, int]:
        """Number one decision; `seal` makes its record, chains it and hands it on.

        Victims are always named. Another "no" that is the same as the pod's last one becomes a
        short record, which names the full one and counts.

        Args:
            pod: whom it is about.
            decided: what.
            order: how the pod's batch was ordered.
            snapshot: digest of what was read, hex.
            time_ns: the step's time.
            said: why.

        Returns:
            The record's sequence, and the sequence of the record that it repeats; 0: none.
        """
        self.sequence += 1
        repeats = repeated = 0
        if decided is _PLACE or decided is _PREEMPT:
            self._told.pop(pod.uid, None)
        else:
            repeats, repeated = self._repeats(pod.uid, (decided, said))
        if repeats:
            said = _AS_BEFORE
        self._open.append(
            _Open(
                self.sequence,
                pod,
                decided,
                order,
                snapshot,
                time_ns,
                said,
                repeats,
                repeated,
                self._policies[pod.profile],
            )
        )
        return self.sequence, repeats

    def retire(self) -> None:
        """The comparator is out of service: from the next record on another policy decides."""
        self._policies = self._retired or self._policies

    def seal(self) -> None:
        """Chain the records made since the last time and hand them on, before any effect leaves.

        All of a step's in one go: hashing between decisions costs twice as much, since each
        pushes the other's code and data out of the processor's caches.
        """
        while self._open:
            record = self._record(self._open.popleft())
            data = canonical(record, self._buffer)
            digest = hashlib.sha3_384(data).digest()
            self._previous = digest.hex()
            for sink in self._sinks:
                sink.append(record, data, digest)

    def _record(self, one: _Open) -> Record:
        pod, said = one.pod, one.said
        return Record(
            decided=one.decided,
            devices=said.devices,
            engine=self._engine,
            levels=said.levels,
            marks=said.marks,
            message=said.message,
            node=said.node,
            order=one.order,
            path=said.path,
            plugins=said.plugins,
            pod=PodReference(pod.digest.hex(), pod.name, pod.namespace, pod.uid),
            policy=one.policy,
            previous=self._previous,
            promises=said.promises,
            rejections=said.rejections,
            repeated=one.repeated,
            repeats=one.repeats,
            sequence=one.sequence,
            snapshot=one.snapshot,
            term=self._term,
            tied=said.tied,
            time_ns=str(one.time_ns),
            top=said.top,
            victims=said.victims,
            violations=said.violations,
        )

    def forget(self, uid: str) -> None:
        """The pod is gone: nothing will repeat its last record."""
        self._told.pop(uid, None)

    def _repeats(self, uid: str, told: tuple[Any, ...]) -> tuple[int, int]:
        """Which record said the same of the pod, and how often it was said; zeros: none did."""
        digest = hashlib.sha3_256(_encoder.encode(told)).digest()
        before = self._told.get(uid)
        if before is None or before[0] != digest:
            self._told[uid] = (digest, self.sequence, 1)
            return 0, 0
        _, first, count = before
        self._told[uid] = (digest, first, count + 1)
        return first, count + 1
