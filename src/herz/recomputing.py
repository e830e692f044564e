"""What the rules said of a node when a pod was decided, computed once more from a journal.

The machine is had again as it was: from the nearest state before the decision, with the inputs
that follow it. In the step of the decision it is stopped at the pod, and asked. The records on the
way must be the journal's; so the answer is about the cluster that the decision was about.
"""

from __future__ import annotations

from dataclasses import dataclass

from herz import journaling
from herz.commit.audit.entry import Start, State, Step, opened
from herz.cycle import Cycle
from herz.errors import AuditError
from herz.model.journal import Kind
from herz.model.podinfo import PodInfo
from herz.model.record import Record
from herz.place.about import About, about
from herz.place.answers import RuleError
from herz.state import uncollected
from herz.world.store.clockless import clockless
from herz.world.store.index import Index
from herz.world.store.where import Where, reader_of


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What was computed once more.

    Args:
        sequence: of the decision.
        begun: the entry of the state that the machine was made from, or of its start.
        is_state: whether it is a state.
        about: what the rules say of the node; None: there was no such node.
    """

    sequence: int
    begun: int
    is_state: bool
    about: About | None


def recomputed(where: Where, record: Record, entry: int, node: str) -> Recomputed:
    """What the rules said of a node when a pod was decided.

    Args:
        where: the journal.
        record: the decision.
        entry: the index of its entry.
        node: the node's name.

    Raises:
        ConfigError: another engine decided; there is no journal.
        AuditError: an entry on the way is erased or damaged, or does not replay to the same.

    Cost: a new machine from the state, and the steps from there to the decision.
    """
    reader = reader_of(where)
    index = Index(reader)
    try:
        step_at, step = _step_before(index, entry)
        begun, state, start = _nearest(index, step_at)
        begins = index.others(Kind.START, step_at)[-1].entry
        models = journaling.models_between(index, begins, begun)
    finally:
        index.close()
    replay = journaling.replay_of(reader)
    with clockless(), uncollected():
        if state is not None:
            replay.begin_with(state, start, models)
        found = replay.run(reader.read(begun + (state is not None), step_at))
        if found.first is not None:
            raise AuditError(f"entry {found.first.entry} does not replay to the same")
        machine = replay.machine
        if not isinstance(machine, Cycle):
            raise AuditError(f"entries from {begun} to {entry} are erased: nothing is recomputed")
        said = _asked(machine, step, record, node)
    return Recomputed(record.sequence, begun, state is not None, said)


def _asked(machine: Cycle, step: Step, record: Record, node: str) -> About | None:
    """Take the step, and ask when the pod's turn has come."""
    answers: list[About | None] = []
    cluster, groups = machine._cluster, _group_of(machine, record)

    def watch(verb: str, pod: PodInfo | None) -> None:
        if verb != "filter" or pod is None:
            return
        is_its_turn = pod.uid == record.pod.uid or (groups and pod.pod_group == groups)
        if not is_its_turn or machine._chain.sequence >= record.sequence:
            return
        queued = machine._queue.get(record.pod.uid)
        item = pod if queued is None else queued.item
        assert isinstance(item, PodInfo), "the queue holds what arrive made"
        row = cluster.nodes.rows.get(node)
        try:
            said = (
                None
                if row is None
                else about(machine._frameworks[item.profile], item, row, cluster.view)
            )
        except RuleError as error:
            said = About(refusals=((error.rule, (str(error),)),))
        answers.append(said)

    machine.watch = watch
    machine.step(step.now_ns, step.limit)
    if not answers:
        raise AuditError(f"decision {record.sequence} is not made in the step before it")
    return answers[-1]


def _group_of(machine: Cycle, record: Record) -> str:
    """The pod's gang, whose members are decided together; empty where it has none."""
    queued = machine._queue.get(record.pod.uid)
    return queued.item.pod_group if queued and isinstance(queued.item, PodInfo) else ""


def _step_before(index: Index, entry: int) -> tuple[int, Step]:
    """The step in which the decision was made."""
    for at in range(entry - 1, -1, -1):  # Bound: the decisions of one step.
        kind, content = opened(index.at(at))
        if kind is Kind.STEP:
            assert isinstance(content, Step), "as its kind says"
            return at, content
        if kind is not Kind.RECORD:
            break
    raise AuditError(f"no step stands before the decision at entry {entry}")


def _nearest(index: Index, before: int) -> tuple[int, State | None, Start]:
    """The last state before an entry, or the start of its machine; the entry of what it is."""
    (start_at,) = index.others(Kind.START, before)[-1:]
    start = opened(index.entry(start_at))[1]
    assert isinstance(start, Start), "as the index says"
    states = [place for place in index.others(Kind.STATE, before) if place.entry > start_at.entry]
    if not states:
        return start_at.entry, None, start
    state = opened(index.entry(states[-1]))[1]
    assert isinstance(state, State), "as the index says"
    return states[-1].entry, state, start
