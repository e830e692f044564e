"""Why a pod is where it is: what its records say, in words and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from herz.errors import ConfigError
from herz.front.remedies import remedies, remedy
from herz.model.record import Decided, Promise, Record, Stage

if TYPE_CHECKING:
    from herz.recomputing import Recomputed

EXAMPLES_MAX: Final = 3
"""Names of pods that are offered where the one that was asked for is not there."""

UNNAMED: Final = "not among the nodes that the record names"
_SECOND_NS: Final = 1_000_000_000


class Remembered:
    """A sink (`herz.ports.RecordSink`) that keeps the records of one pod.

    Args:
        pod: its name, or namespace/name.
    """

    def __init__(self, pod: str) -> None:
        self._pod = pod
        self._by_key: dict[str, list[Record]] = {}
        self._others: dict[str, None] = {}

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Keep the record where it is the pod's."""
        del canonical, digest
        key = f"{record.pod.namespace}/{record.pod.name}"
        if self._pod in (key, record.pod.name):
            self._by_key.setdefault(key, []).append(record)
        elif len(self._others) < EXAMPLES_MAX:
            self._others[key] = None

    def records(self) -> tuple[str, list[Record]]:
        """The pod as namespace/name, and its records in order.

        Raises:
            ConfigError: no such pod was decided, or several have the name.
        """
        if len(self._by_key) == 1:
            return next(iter(self._by_key.items()))
        if not self._by_key:
            fix = "name a pod that was decided"
            if self._others:
                fix = f"{fix}, such as {', '.join(self._others)}"
            raise ConfigError("no decision about this pod", where="POD", value=self._pod, fix=fix)
        fix = f"say which: {', '.join(sorted(self._by_key))}"
        raise ConfigError("pods of several namespaces", where="POD", value=self._pod, fix=fix)


def plain(pod: str, records: Sequence[Record], node: str = "") -> dict[str, Any]:
    """The answer for programs: the records as they were hashed, and what they say of a node."""
    found: dict[str, Any] = {"pod": pod, "decisions": msgspec.to_builtins(list(records))}
    last = next((one for one in reversed(records) if not one.repeats), None)
    found["remedies"] = [] if last is None else remedies(last)
    if node:
        found["node"] = {
            "name": node,
            "decisions": [
                {"sequence": one.sequence, "said": said_of(one, node)} for one in records
            ],
        }
    return found


def rows(records: Sequence[Record], node: str = "") -> list[tuple[str, ...]]:
    """A row for each decision: its number, the time, what was decided, the node, and why.

    Of the same answer time and again, the last one says how often it came.
    """
    following = [*records[1:], None]
    return [
        (
            str(one.sequence),
            f"{int(one.time_ns) / _SECOND_NS:.3f} s",
            str(one.decided),
            one.node,
            said_of(one, node) if node else _why(one),
        )
        for one, after in zip(records, following, strict=True)
        if after is None or not one.repeats or after.repeats != one.repeats
    ]


def candidate_rows(record: Record) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of the best nodes of a decision, with the points of each rule."""
    columns = ("node", "total", *record.plugins)
    return columns, [
        (one.node, str(one.total), *(str(points) for points in one.scores)) for one in record.top
    ]


def notes(records: Sequence[Record]) -> list[str]:
    """What else a reader must know of the last full record: marks, order, victims, refusals."""
    record = next((one for one in reversed(records) if not one.repeats), records[-1])
    found = [f"mark: {mark}" for mark in record.marks]
    if record.order.batch:
        found.append(f"order: batch {record.order.batch} was sorted on rung {record.order.rung}")
    found += [f"victim: {one.namespace}/{one.name}" for one in record.victims]
    found += [_promise(one, record.node) for one in record.promises]
    for one in record.rejections:
        named = f": {', '.join(one.nodes)}" if one.nodes else ""
        found.append(f"{one.plugin} refused {one.count}, {one.reason}{named}")
        found += [f"  would help: {remedy(one)}"] if not record.node else []
    return found


def said_of(record: Record, node: str) -> str:
    """What a record says of one node; a record names the best nodes, and some refused ones."""
    if record.repeats:
        return f"as decision {record.repeats}"
    for rank, one in enumerate(record.top, start=1):
        if one.node == node:
            points = ", ".join(
                f"{rule} {points}" for rule, points in zip(record.plugins, one.scores, strict=False)
            )
            chosen = "chosen" if node == record.node else f"number {rank}"
            return f"{chosen}, {one.total} points{f' ({points})' if points else ''}"
    refused = [f"{one.plugin}: {one.reason}" for one in record.rejections if node in one.nodes]
    if refused:
        return "; ".join(refused)
    if record.node == node:
        return "the node that the pod is to get"
    return UNNAMED


def recomputed_plain(found: Recomputed) -> dict[str, Any]:
    """For programs: what was computed once more, and from where."""
    from dataclasses import asdict  # noqa: PLC0415  # What only reads a record waits for it.

    return {
        "sequence": found.sequence,
        "from_entry": found.begun,
        "from": "state" if found.is_state else "start",
        "said": recomputed_said(found),
        "is_there": found.about is not None,
        **({} if found.about is None else asdict(found.about)),
    }


def recomputed_said(found: Recomputed) -> str:
    """What the rules say of the node, in words."""
    one = found.about
    if one is None:
        return "there was no such node"
    if one.refusals:
        return "; ".join(f"{rule}: {', '.join(words)}" for rule, words in one.refusals)
    points = ", ".join(f"{rule} {points}" for rule, points in one.points)
    said = f"fits, {one.total} points{f' ({points})' if points else ''}"
    return f"{said}, rank {one.rank} of {one.among} nodes"


def recomputed_note(found: Recomputed) -> str:
    """The same, labelled: no record holds it."""
    begun = f"{'the state' if found.is_state else 'the start'} at entry {found.begun}"
    said = recomputed_said(found)
    return f"decision {found.sequence}, recomputed from {begun}, in no record: {said}"


def _promise(one: Promise, chosen: str) -> str:
    """What was predicted of a node, in words."""
    taken = " (chosen)" if one.node == chosen else ""
    percent = f"{one.probability // 100}.{one.probability % 100:02d} %"
    said = f"promise on {one.node}{taken}: kept with {percent}"
    if one.abstained:
        said += f", a careful figure: {one.abstained}"
    moved = [f"{name} {'for' if part > 0 else 'against'} it" for name, part in one.contributions]
    return f"{said}; most of all {', '.join(moved)}" if moved else said


def _why(record: Record) -> str:
    if record.repeats:
        return f"as decision {record.repeats}, {record.repeated} times by now"
    said = [_stage(stage) for stage in record.path]
    if record.decided is Decided.PLACE and record.tied > 1:
        said.append(f"{record.tied} nodes were equal, told apart by the keyed hash or the name")
    if record.marks:
        said.append(f"marks: {', '.join(record.marks)}")
    if record.message:
        said = [record.message, *said[len(record.path) :]]
    if record.victims:
        said.append(f"{len(record.victims)} pods go to make room")
    return "; ".join(said)


def _stage(stage: Stage) -> str:
    why = ", ".join(f"{count} {reason}" for reason, count in stage.reasons)
    return f"{stage.stage}: {stage.out} of {stage.into}{f' ({why})' if why else ''}"
