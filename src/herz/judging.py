"""What a journal says of models: how trials ended, and what one that has not ended judges by.

A trial lives in the memory of the process that leads, and what it judges by is in the journal: the
records say what both models predicted, and entries of kind `promise` what came of it. So a process
that begins in the journal of another one goes on with its trial, and comes to the same verdict; and
it goes on with the placements that its watch for drift looks at, which are records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from herz.commit.audit.entry import Model, Promised, Start, opened
from herz.config import policy_of
from herz.errors import AuditError
from herz.feedback.adjust.drift import WINDOW, is_watched
from herz.feedback.observe.promises import Placement, PlacementOutcome, placement_of
from herz.journaling import models_between
from herz.knowledge.sla.model import load
from herz.model.journal import Kind
from herz.model.record import Record
from herz.promoting import InForce, kind_of
from herz.world.store.evidence import Place
from herz.world.store.index import Index
from herz.world.store.where import Where, exists, indexed, reader_of

TRIAL: Final = "trial"
ROLLED_BACK: Final = "rolled back"
"""How the reasons of entries begin that say how a trial, or a watch, ended."""
KEPT: Final = ", kept"
"""What follows the number of a trial that promoted nothing."""
LOOKED_AT_MAX: Final = 20_000
"""Bound: records that are looked at for the last placements."""
_PROMISES: Final = b'"promises":'


@dataclass(frozen=True, slots=True)
class Left:
    """What the machine before left open.

    Args:
        judged: how many trials were judged in the whole journal.
        stage: what goes on: the `trial` of the policy's candidate; the `watch` of a model that was
            promoted; or `over`: the candidate was judged, and stays out.
        since: the entry that it began with.
    """

    judged: int
    stage: Literal["trial", "watch", "over"]
    since: int


def trials_judged(where: Where) -> int:
    """How many trials of models were judged in a journal; 0 where there is none.

    Raises:
        AuditError: an entry is damaged.
        WorldError: it cannot be read.
    """
    if not exists(where):
        return 0
    with indexed(where) as index:
        return _judged(models_between(index, -1, index.size))


def left(where: Where) -> Left:
    """Where the trial of the journal's last machine stands.

    A candidate is judged once: as long as machines begin with the same policy, it is one trial.

    Raises:
        AuditError: an entry is damaged.
        ConfigError: there is no journal.
        WorldError: it cannot be read.
    """
    with indexed(where) as index:
        judged = _judged(models_between(index, -1, index.size))
        begin = _begun(index)
        stage: Literal["trial", "watch", "over"] = "trial"
        for entry, model in _verdicts(index, begin):
            begin, stage = entry, "watch" if _is_promotion(model) else "over"
        return Left(judged, stage, begin)


def watched(where: Where) -> list[Placement]:
    """What the watch for drift had seen when the journal's last machine began.

    Returns:
        The last placements for which the models that are in force were asked, the oldest first.
        Of more than `LOOKED_AT_MAX` records only the last are looked at; those that are erased
        say nothing any more.

    Raises:
        AuditError: an entry is damaged.
        ConfigError: there is no journal.
        WorldError: it cannot be read.
    """
    found: list[Placement] = []
    with indexed(where) as index:
        begin = _begun(index)
        for entry, model in _verdicts(index, begin):
            if not _is_kept(model):
                begin = entry
        starts = index.others(Kind.START)
        last = _started(index, starts[-1]).sequence if starts else 0
        for sequence in range(last, max(last - LOOKED_AT_MAX, 0), -1):
            place = index.decision(sequence)
            if place is None:
                continue  # It is erased.
            if place.entry < begin or len(found) == WINDOW:
                break
            placed = _placed(index, sequence)
            if placed is not None and is_watched(placed[1]):
                found.append(placed[1])
    return found[::-1]


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial that a journal has.

    Args:
        policy: digest of the policy with both models.
        number: how many candidates there had been, this one included.
        candidate: digest of the model on trial.
        incumbent: of the one in force.
    """

    policy: str
    number: int
    candidate: str
    incumbent: str


def tried(where: Where, candidate: str | None, incumbent: str | None) -> Tried | None:
    """The last trial of a journal, of these models where they are named; None: there is none.

    Raises:
        AuditError: an entry is damaged.
        ConfigError: there is no journal, or a policy of it is not to be read.
        WorldError: it cannot be read.
    """
    reader = reader_of(where)
    found: Tried | None = None
    with indexed(where) as index:
        for place in index.others(Kind.START):
            start = _started(index, place)
            if found is not None and start.policy == found.policy:
                continue  # A restart: the trial is the same.
            models = _trial_of(InForce(policy_of(reader.get(start.policy_blob), start.policy)))
            if models is None or candidate not in (None, models[0]):
                continue
            if incumbent in (None, models[1]):
                number = _judged(models_between(index, -1, place.entry)) + 1
                found = Tried(start.policy, number, *models)
    return found


def _trial_of(force: InForce) -> tuple[str, str] | None:
    """Digests of candidate and incumbent; None where they are not two models of one kind."""
    kind = kind_of(force.candidate)
    ours = [data for data in force.models if kind_of(data) == kind]
    return (load(force.candidate).digest, load(ours[0]).digest) if kind and ours else None


def outcomes(where: Where, since: int = -1) -> Iterator[PlacementOutcome]:
    """The outcomes that a journal tells behind an entry, each with what was predicted.

    An outcome whose record is erased says nothing any more, and is passed over.

    Raises:
        AuditError: an entry is damaged.
        ConfigError: there is no journal.
        WorldError: it cannot be read.
    """
    known: dict[int, tuple[str, Placement] | None] = {}
    with indexed(where) as index:
        for place in index.others(Kind.PROMISE):
            entry = index.entry(place)
            if place.entry <= since or entry.is_erased:
                continue
            promised = opened(entry)[1]
            assert isinstance(promised, Promised), "as the index says"
            for sequence, is_kept, latency_ns in promised.told:
                if sequence not in known:
                    known[sequence] = _placed(index, sequence)
                found = known[sequence]
                if found is not None:
                    uid, placement = found
                    yield PlacementOutcome(placement, uid, promised.window, is_kept, latency_ns)


def placements(where: Where, decisions: Mapping[str, int]) -> dict[str, Placement]:
    """What was predicted of pods that are there, by uid.

    Args:
        where: the journal.
        decisions: by uid, the number of the record that the pod's annotation names.

    Returns:
        Those whose record is there and is theirs: an annotation is anybody's to write.
    """
    found = {}
    with indexed(where) as index:
        for uid, sequence in decisions.items():
            placed = _placed(index, sequence)
            if placed is not None and placed[0] == uid:
                found[uid] = placed[1]
    return found


def _placed(index: Index, sequence: int) -> tuple[str, Placement] | None:
    place = index.decision(sequence)
    entry = None if place is None else index.entry(place)
    if entry is None or _PROMISES not in entry.payload:  # Erased, or nothing was promised.
        return None
    record = opened(entry)[1]
    if not isinstance(record, Record) or record.sequence != sequence:
        raise AuditError(f"the index leads to another entry than record {sequence}")
    placement = placement_of(record)
    return None if placement is None else (record.pod.uid, placement)


def _begun(index: Index) -> int:
    """The start of the first of the last machines, which all began with the same policy."""
    begin, policy = 0, ""
    for place in reversed(index.others(Kind.START)):
        start = _started(index, place)
        if policy not in ("", start.policy):
            break
        begin, policy = place.entry, start.policy
    return begin


def _started(index: Index, place: Place) -> Start:
    start = opened(index.entry(place))[1]
    assert isinstance(start, Start), "as the index says"
    return start


def _verdicts(index: Index, since: int) -> Iterator[tuple[int, Model]]:
    """The entries behind one that end a trial or a watch."""
    for place in index.others(Kind.MODEL):
        if place.entry > since:
            model = opened(index.entry(place))[1]
            assert isinstance(model, Model), "as the index says"
            if model.reason.startswith((TRIAL, ROLLED_BACK)):
                yield place.entry, model


def _judged(models: list[Model]) -> int:
    return sum(one.reason.startswith(TRIAL) for one in models)


def _is_promotion(model: Model) -> bool:
    return model.reason.startswith(TRIAL) and not _is_kept(model)


def _is_kept(model: Model) -> bool:
    return KEPT in model.reason.partition(":")[0]
