"""The life of a pod in the queue: one table of states and verbs.

Step: queue. `RULES` is the whole truth: a (state, verb) that it does not list is a bug of ours
and raises InvariantError with the pod's last moves. The table in docs/reference/lifecycle.md is
made by `render_table` and a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from herz.errors import InvariantError


class State(Enum):
    """Where a pod is. Exactly one at any time."""

    moves: tuple[Move | None, ...]
    """What each verb does here, by the verb's number; None where it is illegal."""

    NEW = "new"
    GATED = "gated"
    QUEUED = "queued"
    BACKING_OFF = "backing_off"
    UNSCHEDULABLE = "unschedulable"
    PARKED = "parked"
    IN_CYCLE = "in_cycle"
    RESERVED = "reserved"
    WAITING = "waiting"
    BINDING = "binding"
    BOUND = "bound"
    PREEMPTING = "preempting"
    GONE = "gone"


class Verb(IntEnum):
    """What can happen to a pod."""

    ARRIVE = 0
    GATE = 1
    UNGATE = 2
    WAKE = 3
    BACK_OFF = 4
    SET_ASIDE = 5
    PARK = 6
    POP = 7
    RESERVE = 8
    WAIT = 9
    BIND = 10
    CONFIRM = 11
    ADOPT = 12
    PREEMPT = 13
    SPARE = 14
    UPDATE = 15
    DELETE = 16


@dataclass(frozen=True, slots=True)
class Move:
    """One legal transition.

    Attributes:
        source: the state before.
        verb: what happens.
        target: the state after.
        code: 1 to 255, its place in MOVES and its byte in the key of a history.
    """

    source: State
    verb: Verb
    target: State
    code: int

    def __str__(self) -> str:
        return f"{self.source.value} --{self.verb.name.lower()}--> {self.target.value}"


_HELD: Final = (
    State.GATED,
    State.QUEUED,
    State.BACKING_OFF,
    State.UNSCHEDULABLE,
    State.PARKED,
)
_DECIDED: Final = (State.IN_CYCLE, State.RESERVED, State.WAITING, State.BINDING)
_LIVING: Final = (*_HELD, *_DECIDED, State.BOUND, State.PREEMPTING)
# A decided pod, or a victim that was never bound, may come back to the queue.
_RETURNING: Final = (*_DECIDED, State.PREEMPTING)


def _rules() -> dict[tuple[State, Verb], State]:
    """The table, group by group."""
    table: dict[tuple[State, Verb], State] = {
        (State.NEW, Verb.ARRIVE): State.QUEUED,
        (State.NEW, Verb.GATE): State.GATED,
        (State.NEW, Verb.ADOPT): State.BOUND,
        (State.GATED, Verb.UNGATE): State.QUEUED,
        (State.UNSCHEDULABLE, Verb.BACK_OFF): State.BACKING_OFF,
        (State.QUEUED, Verb.POP): State.IN_CYCLE,
        (State.BACKING_OFF, Verb.POP): State.IN_CYCLE,
        (State.IN_CYCLE, Verb.RESERVE): State.RESERVED,
        (State.RESERVED, Verb.WAIT): State.WAITING,
        (State.RESERVED, Verb.BIND): State.BINDING,
        (State.WAITING, Verb.BIND): State.BINDING,
        (State.BINDING, Verb.CONFIRM): State.BOUND,
        (State.PREEMPTING, Verb.CONFIRM): State.PREEMPTING,
        (State.PREEMPTING, Verb.SPARE): State.BOUND,
    }
    for state in (State.BACKING_OFF, State.UNSCHEDULABLE, State.PARKED, *_RETURNING):
        table[state, Verb.WAKE] = State.QUEUED
    for state in _RETURNING:
        table[state, Verb.BACK_OFF] = State.BACKING_OFF
        table[state, Verb.SET_ASIDE] = State.UNSCHEDULABLE
        table[state, Verb.PARK] = State.PARKED
    for state in (*_HELD[1:], *_RETURNING):
        table[state, Verb.GATE] = State.GATED
    for state in _LIVING:
        table[state, Verb.UPDATE] = state
        table[state, Verb.DELETE] = State.GONE
        table[state, Verb.ADOPT] = State.BOUND
        # Who holds no room gives none up: preempting it leaves it where it is.
        table[state, Verb.PREEMPT] = state
    for state in (State.RESERVED, State.WAITING, State.BINDING, State.BOUND):
        table[state, Verb.PREEMPT] = State.PREEMPTING
    table[State.PREEMPTING, Verb.ADOPT] = State.PREEMPTING
    return table


RULES: Final[dict[tuple[State, Verb], State]] = _rules()


def _compile() -> tuple[Move, ...]:
    """Lays the rules out as tuples, so that a transition is one index. Returns all moves."""
    moves: list[Move] = []
    for state in State:
        row: list[Move | None] = []
        for verb in Verb:
            target = RULES.get((state, verb))
            move = None if target is None else Move(state, verb, target, len(moves) + 1)
            if move is not None:
                moves.append(move)
            row.append(move)
        state.moves = tuple(row)
    assert len(moves) < 256, "a move's code fits in a byte of the history"
    return tuple(moves)


MOVES: Final[tuple[Move, ...]] = _compile()

# Bound: moves that a history shows; 12 are two whole attempts.
HISTORY_MOVES_MAX: Final = 12

# Bound: histories that are kept for sharing; over it a pod gets one of its own.
HISTORIES_MAX: Final = 16_384


class History:
    """Where a pod is, and its last moves; shared by all the pods that made the same ones.

    Nearly all pods live the same few lives. So a transition is a look into `following`: it
    checks the table, moves the state and writes the history in one step of 50 ns, and a pod's
    history costs it no memory.

    Attributes:
        state: the state after the last move.
        moves: the last moves, oldest first; at most HISTORY_MOVES_MAX.
        following: the history after each verb, by its number; None until it is first needed,
            and for ever where the table has no such move.
    """

    __slots__ = ("following", "moves", "state")

    def __init__(self, state: State, moves: tuple[Move, ...]) -> None:
        self.state = state
        self.moves = moves
        self.following: list[History | None] = [None] * len(Verb)

    def extend(self, verb: int, reference: str) -> History:
        """The history after a verb that `following` does not have yet.

        Args:
            verb: its number.
            reference: the pod, as `namespace/name (uid)`, for the error.

        Raises:
            InvariantError: the table has no such move.
        """
        move = self.state.moves[verb]
        if move is None:
            told = "; ".join(str(move) for move in self.moves) or "none"
            raise InvariantError(
                f"pod {reference} is {self.state.value} and cannot {Verb(verb).name.lower()};"
                f" its last moves: {told}"
            )
        moves = (*self.moves, move)[-HISTORY_MOVES_MAX:]
        key = bytes(move.code for move in moves)
        found = _HISTORIES.get(key)
        if found is None:
            found = History(move.target, moves)
            if len(_HISTORIES) >= HISTORIES_MAX:
                return found
            _HISTORIES[key] = found
        self.following[verb] = found
        return found


_HISTORIES: Final[dict[bytes, History]] = {}

NO_HISTORY: Final = History(State.NEW, ())


def history_of(codes: bytes) -> History:
    """The history of these moves, by their codes, oldest first."""
    if not codes:
        return NO_HISTORY
    found = _HISTORIES.get(codes)
    if found is None:
        moves = tuple(MOVES[code - 1] for code in codes)
        found = History(moves[-1].target, moves)
        if len(_HISTORIES) < HISTORIES_MAX:
            _HISTORIES[codes] = found
    return found


MEANINGS: Final[dict[State, str]] = {
    State.NEW: "not yet known; the start of every life",
    State.GATED: "has scheduling gates; waits for their removal, asks for nothing",
    State.QUEUED: "ready, in the active queue (or held over its bound)",
    State.BACKING_OFF: "waits for `ready_at_ns` after a rejection or an error",
    State.UNSCHEDULABLE: "waits for an event that its rejecting rules say may help, or 5 minutes",
    State.PARKED: "met a retry or back-off limit; only a change of the pod itself wakes it",
    State.IN_CYCLE: "popped; filter and score run",
    State.RESERVED: "holds room in the ledger",
    State.WAITING: "holds room and waits for Permit or PreBind",
    State.BINDING: "the binding is on its way; its answer may be unknown",
    State.BOUND: "the API says that it has a node",
    State.PREEMPTING: "is a victim: gives its room up, or is being evicted",
    State.GONE: "deleted; the queue has no entry, late reports about it change nothing",
}


def render_table() -> str:
    """The state table as Markdown, one row a state; docs/reference/lifecycle.md has exactly it."""
    rows = ["| state | meaning | verb → next state |", "|---|---|---|"]
    for state in State:
        moves = [move for move in state.moves if move is not None]
        stays = [move.verb.name.lower() for move in moves if move.target is state]
        leaves = [f"{m.verb.name.lower()} → {m.target.value}" for m in moves if m.target != state]
        if stays:
            leaves.append(f"stays on {', '.join(stays)}")
        rows.append(f"| `{state.value}` | {MEANINGS[state]} | {' · '.join(leaves) or 'none'} |")
    return "\n".join(rows) + "\n"
