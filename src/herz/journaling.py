"""Wires journals: who writes one, and how a machine is had again from what one says."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec import UNSET

from herz import app
from herz.app import Wrap
from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.entry import (
    Check,
    Configuration,
    Engine,
    Mode,
    Model,
    Start,
    State,
    Step,
    opened,
)
from herz.commit.audit.journaled import STATE_EVERY, Journaled
from herz.commit.audit.log import Log, Notary
from herz.commit.audit.replay import Replay, Replayed
from herz.commit.audit.resumed import ResumedLog
from herz.commit.audit.unresolved import Unresolved, unresolved
from herz.commit.audit.verify import Judge, Verification, Verified
from herz.config import Policies, Policy, canonical_policy, policy_of
from herz.cycle import Cycle
from herz.engine import engine, engine_digest
from herz.errors import ConfigError
from herz.model.journal import Kind, Sealed
from herz.place.framework import TOP
from herz.plugin import ReasonBook
from herz.ports import Machine, RecordSink
from herz.profiles import profiles_of
from herz.promoting import InForce
from herz.state import frozen, is_quiet, settle, thawed, uncollected
from herz.world.store.clockless import clockless
from herz.world.store.evidence import Evidence
from herz.world.store.index import Index
from herz.world.store.where import Where, Writer, exists, indexed, reader_of, writer_of

ORIGIN = "herz.dev/journal"
"""The name of a log that was given none."""
SHADOW_TOP: Final = 1 << 16
"""Of how many nodes a shadow's records have the points: all."""
Continue = Callable[[Policy | Policies], Journaled]
"""Makes the machine of a journal that goes on."""


@dataclass(slots=True)
class Resumption:
    """A run that is done again, to go on in its journal; filled while it runs.

    Args:
        repeated: how many entries were there, and are the same.
        recovered: what a crash left that had to be mended, in words.
    """

    repeated: int = 0
    recovered: str = ""


@contextmanager
def written(
    where: Where,
    *,
    origin: str = ORIGIN,
    notary: Notary | None = None,
    state_every: int = STATE_EVERY,
    resumption: Resumption | None = None,
    check: Check | None = None,
) -> Iterator[Wrap]:
    """What puts one machine into a journal that is new, or goes on with the same run.

    Args:
        where: a folder or a database; made where it is not there.
        origin: the log's name.
        notary: signs its checkpoints; None: there are none.
        state_every: decisions from one state to the next.
        resumption: the run was begun in this journal, is done again, and goes on; None: the
            journal is a new one.
        check: what was tried before the start.

    Raises:
        AuditError: it is damaged.
        ConfigError: there is a journal already, or none to go on with, or one of another run.
        WorldError: the disk refused.
    """
    if resumption is not None:
        reader_of(where)  # Refuses a place without a journal, before one is made there.
    elif exists(where):
        fix = "name another place, remove the journal, or go on in it with --resume"
        raise ConfigError("there is a journal", where="--journal", value=str(where), fix=fix)
    made: list[tuple[Writer, Journaled]] = []

    def wrap(policy: Policy | Policies, seed: int, sinks: Sequence[RecordSink]) -> Machine:
        # Made here: bad input is found before, and nothing is written then.
        assert not made, "a journal is one machine's"
        term = 0 if resumption is None else reader_of(where).leader_term()
        store = writer_of(where, term)
        try:
            kind = Log if resumption is None else ResumedLog
            log = kind(store, os.urandom, origin, notary)
            machine = journaled(log, policy, seed, sinks, state_every=state_every)
        except BaseException:
            store.close()
            raise
        made.append((store, machine))
        if check is not None:
            made[0][1].tell(check)
        return made[0][1]

    try:
        yield wrap
        for store, machine in made:
            machine.close()
            if resumption is not None and isinstance(machine.log, ResumedLog):
                machine.log.check_end()
                resumption.repeated = machine.log.repeated
                resumption.recovered = store.recovered
    finally:
        for store, _ in made:
            store.close()
    for _ in made:
        Index(reader_of(where)).close()  # Readers find it made.


class Change(NamedTuple):
    """Who starts a scheduler; entered where its policy is another one than before.

    Args:
        actor: who.
        reason: why.
        time_ns: when, since 1970.
    """

    actor: str
    reason: str
    time_ns: int


@contextmanager
def continued(
    where: Where,
    *,
    change: Change,
    origin: str = ORIGIN,
    notary: Notary | None = None,
    term: int = 0,
    state_every: int = STATE_EVERY,
    sinks: Sequence[RecordSink] = (),
    made_known: Callable[[Machine], None] = lambda _: None,
    left: Callable[[Sequence[Unresolved]], None] = lambda _: None,
    is_shadow: bool = False,
) -> Iterator[Continue]:
    """What puts one machine into a journal that is there already, or into a new one.

    A machine that was killed is not had again from it: the API holds what became of its
    decisions. Its chain of records, and the key of its ties, go on.

    Args:
        where: a folder or a database; made where it is not there.
        change: who starts it.
        origin: the log's name, where it is new.
        notary: signs its checkpoints; None: there are none.
        term: the leader's; not below the last writer's.
        state_every: decisions from one state to the next.
        sinks: who else gets the records.
        made_known: told of the machine in the journal, for what it counts.
        left: told of the binds that the last machine left open (`left_open`). Nobody can append
            any more once they are read.
        is_shadow: it decides what others bind, and does nothing; its journal is of shadows only.

    Raises:
        AuditError: the journal is damaged.
        ConfigError: the journal is a shadow's and this is none, or the other way round; the key
            is another log's.
        WorldError: the disk refused, or another process or a later leader writes it.
    """
    made: list[tuple[Writer, Journaled]] = []

    def make(policy: Policy | Policies) -> Journaled:
        assert not made, "a journal is one machine's at a time"
        goes_on = exists(where)
        # Who does not lead by a lease writes under the last term.
        store = writer_of(where, term or (reader_of(where).leader_term() if goes_on else 0))
        try:
            seed, name = _life(store, origin, has_key=notary is not None, is_shadow=is_shadow)
            log = Log(store, os.urandom, name, notary)
            left(_left_open(store))
            models = _still_in_force(where, log, policy, change) if goes_on else ()
            machine = journaled(
                *(log, policy, seed, sinks),
                state_every=state_every,
                made_known=made_known,
                is_shadow=is_shadow,
            )
            _put_in_force(machine, models, store)
        except BaseException:
            store.close()
            raise
        made.append((store, machine))
        return made[0][1]

    try:
        yield make
        for _, machine in made:
            machine.close()
    finally:
        for store, _ in made:
            store.close()


def _life(store: Writer, origin: str, *, has_key: bool, is_shadow: bool) -> tuple[int, str]:
    """Seed and name of the log: as its first start says, if it has one.

    Raises:
        ConfigError: the log is not one to go on with.
    """
    start = _first_start(store)
    if start is None:
        return secrets.randbits(63), origin
    if has_key and start.origin != origin:
        fix = f"use a key that was made with --name {start.origin}"
        raise ConfigError("the key is another log's", where="--key", value=origin, fix=fix)
    if (start.top is not UNSET) != is_shadow:
        # Records that nobody acted on stand in no chain with those of binds.
        what = "the journal is a scheduler's" if is_shadow else "the journal is a shadow's"
        fix = "name another place: a shadow and a scheduler have journals of their own"
        raise ConfigError(what, where="--journal", value=store.name, fix=fix)
    return start.seed, start.origin


def _still_in_force(
    where: Where, log: Log, policy: Policy | Policies, change: Change
) -> Sequence[Model]:
    """The models that were put in force under this policy; a change of it becomes an entry."""
    with indexed(where) as index:
        starts = index.others(Kind.START)
        if not starts:
            return ()
        start = opened(index.entry(starts[-1]))[1]
        assert isinstance(start, Start), "as the index says"
        if start.policy == policy.digest:
            return models_between(index, starts[-1].entry, index.size)
    blob = log.store.put(canonical_policy(policy))
    log.write(Configuration(**change._asdict(), policy=policy.digest, policy_blob=blob))
    return ()


def _put_in_force(machine: Journaled, models: Sequence[Model], store: Writer) -> None:
    """The start's policy is the file's: what was promoted since is in force still."""
    for model in models:
        machine.promote(
            store.get(model.blob),
            name=model.name,
            actor=model.actor,
            reason="it was in force before the restart",
            time_ns=model.time_ns,
        )


def _first_start(store: Writer) -> Start | None:
    """What the journal's first machine was; None where it has no entry yet."""
    first = next(store.read(0, 1), None)
    if first is None:
        return None
    content = opened(first[1])[1]
    assert isinstance(content, Start), "a journal begins so"
    return content


def verified(
    where: Where,
    *,
    first: int = 0,
    end: int | None = None,
    since: Checkpoint | None = None,
    judge: Judge | None = None,
) -> Verified:
    """Whether a journal is what was written; see `Verification` for what may be asked.

    Raises:
        ConfigError: there is no journal.
    """
    reader = reader_of(where)
    verification = Verification(reader, first=first, end=end, since=since, judge=judge)
    with uncollected():
        return verification.run()


def replayed(where: Where, *, first: int | None = None) -> Replayed:
    """Decide everything in a journal anew, and compare.

    Args:
        where: the journal.
        first: begin with the last state that stands at this entry or before; None: with entry 0.

    Raises:
        ConfigError: there is no journal, another engine wrote it, or there is no such state.
        AuditError: an entry is damaged.
        InvariantError: what decides asked for the time.
    """
    reader = reader_of(where)
    replay, begin = replay_of(reader), 0
    if first is not None:
        begin = _begin_before(reader, replay, first)
    with clockless():
        return replay.run(reader.read(begin))


def replay_of(reader: Evidence) -> Replay:
    """What replays a journal: machines as they were, with the models that were put in force."""
    force: list[InForce] = []

    def make(start: Start, sinks: Sequence[RecordSink]) -> Machine:
        force[:] = [InForce(policy_of(reader.get(start.policy_blob), start.policy))]
        return machine_of(reader, start, sinks)

    def restore(machine: Machine, state: State) -> Machine:
        assert isinstance(machine, Cycle), "it was made here"
        return thawed(machine, reader.get(state.blob))

    def adopt(machine: Machine, model: Model) -> None:
        force[0].adopt(machine, reader.get(model.blob))

    return Replay(make, taken, restore, adopt)


@contextmanager
def reopened(where: Where) -> Iterator[Log]:
    """The journal's writer, for an entry that no machine makes; under the last leader's term.

    Raises:
        ConfigError: there is no journal.
        AuditError: it is damaged.
        WorldError: the disk refused.
    """
    reader = reader_of(where)
    start = opened(next(reader.read())[1])[1]
    assert isinstance(start, Start), "a journal begins so"
    store = writer_of(where, reader.leader_term())
    try:
        yield Log(store, os.urandom, start.origin)
    finally:
        store.close()


def last_told(where: Where) -> tuple[int, str]:
    """The driver's latest time in a journal, and the proof mode last put in force; 0 and empty.

    What a driver's guard must go on from (`herz.commit.audit.guarded`).

    Raises:
        ConfigError: there is no journal.
        AuditError: an entry is damaged.
    """
    mode = ""
    with indexed(where) as index:
        if places := index.others(Kind.MODE):
            content = opened(index.entry(places[-1]))[1]
            assert isinstance(content, Mode), "as the index says"
            mode = content.mode
    return last_time(where), mode


def last_time(where: Where) -> int:
    """The driver's latest time in a journal; 0: none.

    Raises:
        ConfigError: there is no journal.
        AuditError: an entry is damaged.

    Cost: reads backwards, in growing parts, to the last step.
    """
    reader = reader_of(where)
    for _, entry in _backwards(reader):
        if entry.leaf[1] == Kind.STEP:
            step = opened(entry)[1]
            assert isinstance(step, Step), "as its kind says"
            return step.now_ns
    return 0


def left_open(where: Where) -> list[Unresolved]:
    """The binds of the last machine in a journal whose end it does not tell.

    A driver that begins in the journal of one that was killed reads these pods, and tells the
    journal (`herz.commit.audit.unresolved.resolved`).

    Raises:
        ConfigError: there is no journal.
        AuditError: an entry is damaged.

    Cost: reads backwards to the last machine's start, or to its last state: one is taken only when
    nothing is under way.
    """
    return _left_open(reader_of(where))


def _left_open(reader: Evidence) -> list[Unresolved]:
    first = 0
    for index, entry in _backwards(reader):
        if entry.leaf[1] in (Kind.START, Kind.STATE):
            first = index
            break
    return unresolved(reader.read(first))


def _backwards(reader: Evidence) -> Iterator[tuple[int, Sealed]]:
    """The entries from the last one, read in growing parts."""
    end, span = reader.count(), 256
    while end > 0:  # Bound: the journal's length.
        first = max(0, end - span)
        yield from reversed(list(reader.read(first, end)))
        end, span = first, min(span * 4, 65_536)


def annotations_of(policy: Policy | Policies) -> frozenset[str]:
    """The keys of annotations that the policy's rules say they read.

    Raises:
        ConfigError: the policy names what is not there.
    """
    rules = [
        rule
        for profile in profiles_of(policy)
        for rule, _ in app.build_plugins(profile.policy, ReasonBook())
    ]
    return frozenset(key for rule in rules for key in getattr(rule, "annotations", ()))


def _begin_before(reader: Evidence, replay: Replay, entry: int) -> int:
    """Put the last state before an entry into the replay; the entry to go on with."""
    index = Index(reader)
    try:
        places = index.others(Kind.STATE, entry + 1)
        if not places:
            fix = "leave --from out: there is no state before it"
            raise ConfigError("no state", where="--from", value=entry, fix=fix)
        at = places[-1]
        (start_at,) = index.others(Kind.START, at.entry)[-1:]
        state, start = opened(index.entry(at))[1], opened(index.entry(start_at))[1]
        models = models_between(index, start_at.entry, at.entry)
    finally:
        index.close()
    assert isinstance(state, State), "as the index says"
    assert isinstance(start, Start), "as the index says"
    replay.begin_with(state, start, models)
    return at.entry + 1


def models_between(index: Index, first: int, end: int) -> list[Model]:
    """The models that were put in force between two entries, in order."""
    found = []
    for place in index.others(Kind.MODEL, end):
        content = opened(index.entry(place))[1]
        assert isinstance(content, Model), "as the index says"
        if place.entry > first:
            found.append(content)
    return found


def taken(machine: Machine) -> bytes | None:
    """The machine's state, if it can be taken now; whatever it keeps to be fast is forgotten."""
    assert isinstance(machine, Cycle), "it was made here"
    if not is_quiet(machine):
        return None
    data = frozen(machine)
    settle(machine)
    return data


def machine_of(reader: Evidence, start: Start, sinks: Sequence[RecordSink]) -> Machine:
    """The machine that a start tells of, as it was then.

    Raises:
        ConfigError: another engine is needed.
        AuditError: the policy's bytes are not there, or are others.
    """
    if start.engine.digest != engine_digest():
        raise ConfigError(
            "another engine decided",
            where="engine",
            value=start.engine.digest[:16],
            fix=f"use {needed(start.engine)}; or see what differs with --cross-version",
        )
    return machine_by_any(reader, start, sinks)


def machine_by_any(reader: Evidence, start: Start, sinks: Sequence[RecordSink]) -> Cycle:
    """The machine of a start, whatever engine was there then."""
    return app.build_machine(
        policy_of(reader.get(start.policy_blob), start.policy),
        start.seed,
        sinks,
        aliases=dict(start.aliases),
        after=(start.sequence, start.head),
        term=start.term,
        top=top_of(start),
    )


def top_of(start: Start) -> int:
    """How many nodes the records of a start's machine name."""
    return TOP if start.top is UNSET else start.top


def needed(engine: Engine) -> str:
    """What must be installed to have an engine again, in words."""
    if engine.image:
        return f"the image {engine.image}"
    packages = ", ".join(f"{name} {version}" for name, version in engine.packages)
    rules = ", ".join(f"{name} of {version}" for name, _, version in engine.rules)
    return (
        f"Herz {engine.herz} with the source whose digest is {engine.digest}, built from its "
        f"requirements/runtime.lock: Python {engine.python}, {packages}{rules and f', {rules}'}"
    )


def journaled(
    log: Log,
    policy: Policy | Policies,
    seed: int,
    sinks: Sequence[RecordSink] = (),
    *,
    state_every: int = STATE_EVERY,
    made_known: Callable[[Machine], None] = lambda _: None,
    is_shadow: bool = False,
) -> Journaled:
    """A new machine in a journal; its chain goes on from the last record.

    Raises:
        WorldError: the disk refused.
    """
    blob = log.store.put(canonical_policy(policy))
    # Kept as well: it decides once the comparator is out of service.
    log.store.put(canonical_policy(app.without_comparator(policy)))
    sequence, head = log.last_record()
    start = Start(
        aliases=tuple(sorted(app.ALIASES.items())),
        engine=engine(),
        head=head,
        origin=log.origin,
        policy=policy.digest,
        policy_blob=blob,
        seed=seed,
        recovered=log.recovered,
        sequence=sequence,
        term=log.store.term,
        top=SHADOW_TOP if is_shadow else UNSET,
    )

    def make(others: Sequence[RecordSink]) -> Machine:
        machine = app.build_machine(
            policy,
            seed,
            others,
            aliases=app.ALIASES,
            after=(sequence, head),
            term=log.store.term,
            top=top_of(start),
        )
        made_known(machine)
        return machine

    return Journaled(
        log,
        start,
        make,
        sinks,
        take=taken,
        state_every=state_every,
        annotations=annotations_of(policy),
        force=InForce(policy),
        is_acting=not is_shadow,
    )
