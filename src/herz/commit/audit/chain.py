"""Step 6, prove: each decision becomes a record that names the one before it.

A record is canonical JSON (RFC 8785); its SHA3-384 digest is the next one's `previous`. The
chain here is in memory, and hands each record on to its sinks before any effect leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from herz.model.podinfo import PodInfo
from herz.model.record import Decided, Order, PodReference, PolicyReference, Record
from herz.ports import RecordSink

NO_RECORD: Final = "0" * 96
"""What the first record has as `previous`."""

_encoder = msgspec.json.Encoder()


def canonical(record: Record) -> bytes:
    """The record's canonical JSON.

    The structs of `herz.model.record` declare their fields in sorted order and hold no floats and
    no dicts, so that one pass gives what RFC 8785 asks (a test holds both against a plain
    implementation of it).
    """
    return _encoder.encode(record)


class Chain:
    """Makes records and chains them.

    Args:
        engine: digest of the engine.
        policies: the policy in force, by profile (`PodInfo.profile`).
        sinks: who gets each record, in order, before its effect leaves.
        term: the leader's term.
    """

    def __init__(
        self,
        engine: str,
        policies: Sequence[PolicyReference],
        sinks: Sequence[RecordSink],
        *,
        term: int = 0,
    ) -> None:
        self._engine = engine
        self._policies = tuple(policies)
        self._sinks = tuple(sinks)
        self._term = term
        self._previous = NO_RECORD
        self.sequence = 0
        # Invariant: only pods that were last told "no"; forget() ends an entry with its pod.
        self._told: dict[str, tuple[bytes, int, int]] = {}

    @property
    def head(self) -> str:
        """The digest of the last record, hex."""
        return self._previous

    def append(
        self,
        pod: PodInfo,
        decided: Decided,
        order: Order,
        snapshot: str,
        time_ns: int,
        **verdict: Any,
    ) -> Record:
        """Make the record of one decision and hand it on.

        Victims are always named. Another "no" that is the same as the pod's last one becomes a
        short record, which names the full one and counts.

        Args:
            pod: whom it is about.
            decided: what.
            order: how the pod's batch was ordered.
            snapshot: digest of what was read, hex.
            time_ns: the step's time.
            verdict: the other fields of `Record`.
        """
        self.sequence += 1
        if decided in (Decided.PLACE, Decided.PREEMPT):
            self._told.pop(pod.uid, None)
        else:
            verdict = self._shortened(pod.uid, decided, verdict)
        record = Record(
            decided=decided,
            engine=self._engine,
            order=order,
            pod=PodReference(pod.digest.hex(), pod.name, pod.namespace, pod.uid),
            policy=self._policies[pod.profile],
            previous=self._previous,
            sequence=self.sequence,
            snapshot=snapshot,
            term=self._term,
            time_ns=str(time_ns),
            **verdict,
        )
        data = canonical(record)
        digest = hashlib.sha3_384(data).digest()
        self._previous = digest.hex()
        for sink in self._sinks:
            sink.append(record, data, digest)
        return record

    def forget(self, uid: str) -> None:
        """The pod is gone: nothing will repeat its last record."""
        self._told.pop(uid, None)

    def _shortened(self, uid: str, decided: Decided, verdict: dict[str, Any]) -> dict[str, Any]:
        told = hashlib.sha3_256(_encoder.encode((decided, verdict))).digest()
        before = self._told.get(uid)
        if before is None or before[0] != told:
            self._told[uid] = (told, self.sequence, 1)
            return verdict
        _, first, count = before
        self._told[uid] = (told, first, count + 1)
        return {"repeats": first, "repeated": count + 1}
