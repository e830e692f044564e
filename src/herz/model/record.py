"""The record of one decision, as it is hashed and chained.

Field order is the order of the encoded keys: RFC 8785 wants them sorted, so every struct here
declares its fields in that order (a test holds it) and the encoder needs no second pass. There
are no floats; integers beyond 2^53-1 are decimal strings.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Decided(StrEnum):
    """What was decided (not what the API answered)."""

    PLACE = "place"
    UNSCHEDULABLE = "unschedulable"
    PREEMPT = "preempt"
    WAIT = "wait"
    ERROR = "error"


class PodReference(msgspec.Struct, frozen=True, gc=False):
    """Which pod, and the digest of what was read of it (SHA3-384, hex)."""

    digest: str
    name: str
    namespace: str
    uid: str


class PolicyReference(msgspec.Struct, frozen=True, gc=False):
    """Name, version and `@sha256:` digest of the policy."""

    digest: str
    name: str
    version: str


class Stage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One stage of the path: how many nodes went in and came out, and why the others did not.

    Args:
        into: rows that the stage looked at.
        out: rows that passed.
        reasons: (reason, count) pairs, most frequent first, then by text.
        stage: the verb, and the plugin after a colon where the stage is one plugin's.
    """

    into: int
    out: int
    reasons: tuple[tuple[str, int], ...] = ()
    stage: str


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One of the best nodes.

    Args:
        node: its name.
        scores: weighted points by plugin, in the policy's order.
        total: their sum.
    """

    node: str
    scores: tuple[int, ...]
    total: int


class Promise(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What was predicted of the pod's promise on one of the best nodes.

    Args:
        abstained: by name, why no model answers; empty: one does.
        beyond: the features beyond what the model has learned from, where it abstains for them.
        contributions: the features that moved the answer most, with how much, in 1/2^20 of
            log-odds; strongest first.
        node: its name.
        probability: that the promise is kept, in basis points; the one that decided.
        propensity: how likely the node was to be taken, in parts of a million, where the class
            has some placements go elsewhere to learn; -1: the first node was taken for certain.
        shadow: what a model on trial says, in basis points; -1: there is none, or it abstains.
    """

    abstained: str
    beyond: tuple[str, ...] = ()
    contributions: tuple[tuple[str, int], ...]
    node: str
    probability: int
    propensity: int = -1
    shadow: int = -1


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """One reason for which nodes were refused, with some of them.

    Args:
        count: how many nodes.
        nodes: up to ten names, chosen by their hashes, sorted.
        plugin: the rule that refused them.
        reason: its words.
    """

    count: int
    nodes: tuple[str, ...]
    plugin: str
    reason: str


class Order(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """How the batch that held the pod was ordered. Details stand in its first record only.

    Args:
        batch: number of the batch that was sorted; 0: nothing in it had to be.
        broken: (before, after) of each edge inside a circle that could not be kept.
        cycles: members of each cycle among the dependencies.
        descents: (rung reached, reason) for each step down the ladder.
        dropped: (before, after) of each weak edge that was left out.
        fault: why the configured comparator was taken out of service.
        overruled: (before, after) of each edge that went against the priorities.
        rung: 1 stable, 2 topological, 3 FIFO.
    """

    batch: int
    broken: tuple[tuple[str, str], ...] = ()
    cycles: tuple[tuple[str, ...], ...] = ()
    descents: tuple[tuple[int, str], ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()
    fault: str = ""
    overruled: tuple[tuple[str, str], ...] = ()
    rung: int


class Victim(msgspec.Struct, frozen=True, gc=False):
    """A pod that must go to make room."""

    name: str
    namespace: str
    uid: str


class Statement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The part of a record that the decision makes: what came out, and why. See `Record`."""

    devices: tuple[int, ...] = ()
    levels: tuple[tuple[str, int], ...] = ()
    marks: tuple[str, ...] = ()
    message: str = ""
    node: str = ""
    path: tuple[Stage, ...] = ()
    plugins: tuple[str, ...] = ()
    promises: tuple[Promise, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    tied: int = 0
    top: tuple[Candidate, ...] = ()
    victims: tuple[Victim, ...] = ()
    violations: int = 0


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One decision: everything needed to explain it, and to check it against a replay.

    Args:
        decided: place, unschedulable, preempt, wait or error.
        devices: chosen devices of shared accelerators, by index.
        engine: digest of the engine (version, code, native library, third-party plugins).
        levels: the chosen node's use after the placement, in basis points, by resource.
        marks: facts that a reader must know ("unlisted:fooPolicy").
        message: the text for people where nothing was placed.
        node: the chosen node.
        order: how the pod's batch was ordered.
        path: the stages in order.
        plugins: the score plugins that `Candidate.scores` follow.
        pod: the pod.
        policy: the policy.
        previous: digest of the record before, hex; zeros for the first.
        promises: what was predicted of the pod's promise on the best nodes.
        rejections: reasons with node names, where nothing was placed.
        repeats: for a short record: sequence of the full record with the same verdict.
        repeated: for a short record: how often the verdict has come since, this one included.
        sequence: number of the record, from 1.
        snapshot: digest of the snapshot, hex.
        term: the leader's term; 0 without leader election.
        tied: how many nodes had the highest total.
        time_ns: the step's time, as given by the driver.
        top: the best nodes, best first.
        victims: who is preempted, most important first.
        violations: how many of them break a disruption budget.
    """

    decided: Decided
    devices: tuple[int, ...] = ()
    engine: str
    levels: tuple[tuple[str, int], ...] = ()
    marks: tuple[str, ...] = ()
    message: str = ""
    node: str = ""
    order: Order
    path: tuple[Stage, ...] = ()
    plugins: tuple[str, ...] = ()
    pod: PodReference
    policy: PolicyReference
    previous: str
    promises: tuple[Promise, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    repeated: int = 0
    repeats: int = 0
    sequence: int
    snapshot: str
    term: int
    tied: int = 0
    time_ns: str
    top: tuple[Candidate, ...] = ()
    victims: tuple[Victim, ...] = ()
    violations: int = 0


_encoder = msgspec.json.Encoder()


def canonical(record: Record, buffer: bytearray | None = None) -> bytes:
    """The record's canonical JSON.

    Args:
        record: the decision.
        buffer: what is in it is lost; who has many records to write gives the same to each.

    The structs of this module declare their fields in sorted order and hold no floats and
    no dicts, so that one pass gives what RFC 8785 asks (a test holds both against a plain
    implementation of it).
    """
    if buffer is None:
        return _encoder.encode(record)
    _encoder.encode_into(record, buffer)
    return bytes(buffer)
