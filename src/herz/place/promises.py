"""What a placement does to promises: its own, and those of the services that are there already.

The model is asked about every row as it would be with the pod on it: about the pod's own service,
and about each service on the row, with the pod and without. What a promise loses counts by the
weight of its class and the number of pods. Where no model can be asked, the row is judged by how
loaded it would be, which is told by name: unknown means careful, never nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.knowledge.sla.classes import DEFAULTS
from herz.knowledge.sla.features import ratio_of
from herz.knowledge.sla.model import Model, load, strongest
from herz.knowledge.sla.profiles import PRIOR
from herz.knowledge.sla.state import (
    ANCHORS,
    FEATURES,
    LOADS,
    NAMES,
    SIGNALS,
    WHOLE,
    node_features,
    with_service,
)
from herz.model.labels import compile_selector
from herz.model.objects import ServiceProfile, SLAClass
from herz.model.podinfo import PodInfo
from herz.model.record import Promise
from herz.model.service_levels import SLAClassSpec
from herz.place.columns import CPU, MEMORY
from herz.place.exploring import propensities
from herz.plugin import MISSING, Count, Int64s, PodQuery, Rows, View

CAREFUL_BP: Final = 5_000
"""A row that would be loaded beyond this is a risk where no model can tell."""
CROWD: Final = 20
"""What a job loses at a node that is loaded by all of a node beyond that, in promises; it grows
with the square, so that each further pod on a crowded node costs more than the one before."""
LATEST_MAX: Final = 64
"""Bound: answers that are remembered."""
SERVICES_MAX: Final = 1_000
"""Bound: profiles that are read, by key."""
NO_CLASS: Final = "no-promise"
NO_MODEL: Final = "no-model"
MISSING_FILE: Final = "model-missing"
CORRUPT: Final = "model-corrupt"
OTHER_FEATURES: Final = "model-other-features"
OTHER_CLASS: Final = "class-without-model"
NO_QUIET: Final = "quiet-unknown"
NO_SIGNALS: Final = "signals-missing"
OUTSIDE: Final = "outside-training"
EXTRAPOLATED: Final = "extrapolated"
"""The node is of a machine type that the model has not learned from."""
MACHINE_LABEL: Final = "node.kubernetes.io/instance-type"
"""Tells a node's machine type, where the node has it."""
CPU_LABELS: Final = tuple(
    f"feature.node.kubernetes.io/cpu-model.{name}" for name in ("vendor_id", "family", "id")
)
"""What node-feature-discovery says of a node's CPU: the type, where there is no `MACHINE_LABEL`, by
all three joined by slashes, which no label's value has; else it has no name."""
MACHINE: Final = "machine_type"
"""What is told to be beyond the model's training then."""

_ALL: Final = list(range(len(FEATURES)))
_MS_NS: Final = 1_000_000
_US_NS: Final = 1_000


class Service(NamedTuple):
    """A service as promises see it.

    Attributes:
        name: of its class; empty: it promises nothing.
        spec: the class.
        traits: of its profile, or the prior.
        quiet_us: its quiet P99; 0: not known.
        pods: its pods by row; None for the pod that comes.
    """

    name: str
    spec: SLAClassSpec | None
    traits: Mapping[str, int]
    quiet_us: int
    pods: Count | None


@dataclass(slots=True)
class Question:
    """A pod, and everybody whom it may disturb.

    Args:
        pod: the pod.
        own: its service.
        others: the services with profiles and promises.
        all: every profile, for what is expected of the rows.
    """

    pod: PodInfo
    own: Service
    others: tuple[Service, ...]
    all: tuple[Service, ...]


class Answer(NamedTuple):
    """About one service on rows.

    Attributes:
        probability: that its promise is kept, in basis points.
        is_known: whether a model says so.
    """

    probability: Int64s
    is_known: Int64s


class Machines(NamedTuple):
    """Machine types of rows.

    Attributes:
        labels: interned values of `MACHINE_LABEL`, or else of `CPU_LABELS`, by label and row; zeros
            where the type has no name.
        number: gives the number of a value.
    """

    labels: npt.NDArray[np.int32]
    number: Callable[[str], int]

    @classmethod
    def of(cls, view: View, rows: Rows) -> Machines:
        """Those of the rows."""
        named = view.labels(MACHINE_LABEL)[rows]
        found = np.zeros((1 + len(CPU_LABELS), len(named)), np.int32)
        found[0] = named
        if not named.all():
            cpus = np.stack([view.labels(key)[rows] for key in CPU_LABELS])
            found[1:] = cpus * ((named == 0) & (cpus != 0).all(axis=0))
        return cls(found, view.label_id)

    def only(self, places: Int64s) -> Machines:
        """Those at these places."""
        return self._replace(labels=self.labels[:, places])

    def learned_by(self, model: Model) -> npt.NDArray[np.bool_]:
        """By row: whether the model has learned from its machine type."""
        found = np.zeros(self.labels.shape[1], np.bool_)
        for name in model.body.scope.machines:
            found |= (self.labels == self._numbers(name)).all(axis=0)
        return found

    def _numbers(self, name: str) -> npt.NDArray[np.int32]:
        """The column of `labels` where the type is of this name."""
        numbers, cpu = [0] * (1 + len(CPU_LABELS)), name.split("/")
        if len(cpu) == len(CPU_LABELS) and all(cpu):
            numbers[1:] = map(self.number, cpu)
        elif name:
            numbers[0] = self.number(name)
        return np.array(numbers, np.int32)[:, np.newaxis]


class Asked(NamedTuple):
    """What a model is asked about a service.

    Attributes:
        model: the one that fits the service's class.
        columns: its features, by their places in `FEATURES`.
        ratio: logarithm of target over quiet indicator; 0 of a completion.
    """

    model: Model
    columns: list[int]
    ratio: int

    def rows(self, state: Int64s, service: Service) -> Int64s:
        """The model's rows for the service, of nodes in this state."""
        found = with_service(state, service.traits)
        return found if self.columns == _ALL else found[:, self.columns]


class Risks:
    """Models, or why there is none, and what they say of placements.

    Args:
        files: the models' files; empty bytes: one could not be read.
        candidate: the file of a model on trial; empty: there is none.
    """

    def __init__(self, files: Sequence[bytes], candidate: bytes = b"") -> None:
        self._models: list[tuple[Model, list[int]]] = []
        self.problem = "" if files else NO_MODEL
        for data in files:
            found = _loaded(data)
            if isinstance(found, str):
                # The first one: it is what decisions tell by name.
                self.problem = self.problem or found
            else:
                self._models.append(found)
        trial = _loaded(candidate)
        self._candidate = None if isinstance(trial, str) else trial
        # Memory only. Bound: LATEST_MAX.
        self._latest: dict[tuple[object, ...], Answer] = {}

    def question(self, pod: PodInfo, own: tuple[str, SLAClassSpec] | None, view: View) -> Question:
        """The pod and the services around it, by the profiles and classes as they are now."""
        found = []
        mine: Service | None = None
        for number, profile in enumerate(view.objects(ServiceProfile)):
            if number >= SERVICES_MAX:
                break
            service, is_own = _service(profile, pod, view)
            found.append(service)
            if is_own and mine is None:
                mine = service
        name, spec = own or ("", None)
        traits, quiet_us = (PRIOR, 0) if mine is None else (mine.traits, mine.quiet_us)
        promising = tuple(one for one in found if one.spec is not None)
        return Question(pod, Service(name, spec, traits, quiet_us, None), promising, tuple(found))

    def own(self, asked: Question, view: View, rows: Rows) -> Answer:
        """How likely the pod's own promise is kept on the rows."""
        after = self._state(asked, view, rows, is_with=True)
        return self._answer(asked.own, after, Machines.of(view, rows))

    def losses(self, asked: Question, view: View, rows: Rows) -> Int64s:
        """By row: what all promises lose by the placement, in weights times basis points."""
        after = self._state(asked, view, rows, is_with=True)
        before = self._state(asked, view, rows, is_with=False)
        crowd = _crowd(after)
        more = crowd - _crowd(before)
        machines = Machines.of(view, rows)
        total = self._own_loss(asked.own, after, crowd, machines)
        for other in asked.others:
            assert other.spec is not None, "who promises has a class"
            assert other.pods is not None, "services on rows are counted"
            number = view.counted(other.pods)[rows]
            there = np.flatnonzero(number)
            if not len(there):
                continue
            lost = np.zeros(len(there), np.int64)
            if _is_timed(other.spec) or self._fitting(other) is not None:
                twice = machines.only(np.concatenate((there, there)))
                state = np.vstack((before[there], after[there]))
                both = self._answer(other, state, twice).probability
                lost = np.maximum(both[: len(there)] - both[len(there) :], 0)
            if not _is_timed(other.spec):
                lost = np.maximum(lost, more[there])
            total[there] += other.spec.weight * number[there] * lost
        return total

    def _own_loss(self, own: Service, after: Int64s, crowd: Int64s, machines: Machines) -> Int64s:
        """By row: what the pod's own promise loses there."""
        if own.spec is None:
            return crowd.copy()
        lost = crowd
        if _is_timed(own.spec) or self._fitting(own) is not None:
            lost = WHOLE - self._answer(own, after, machines).probability
        if not _is_timed(own.spec):
            # Few jobs fail, and a model has little to learn from: the crowd counts besides.
            lost = np.maximum(lost, crowd)
        return own.spec.weight * lost

    def tell(self, asked: Question, view: View, rows: Int64s) -> tuple[Promise, ...]:
        """What is to be recorded of the best rows."""
        if asked.own.spec is None:
            return ()
        state = self._state(asked, view, rows, is_with=True)
        machines = Machines.of(view, rows)
        answer = self._answer(asked.own, state, machines)
        asks = self._asked(asked.own)
        learned = np.ones(len(rows), np.bool_) if asks is None else machines.learned_by(asks.model)
        odds = propensities(len(rows), asked.own.spec.exploration_basis_points)
        shadow = self._shadow(asked.own, state, machines)
        found = []
        for at, row in enumerate(rows.tolist()):
            parts: tuple[tuple[str, int], ...] = ()
            beyond: tuple[str, ...] = ()
            why = ""
            if not answer.is_known[at]:
                why = self._why(asked.own, state[at], is_learned=bool(learned[at]))
            if asks is not None:
                (asked_row,) = asks.rows(state[at : at + 1], asked.own)
                parts = tuple(strongest(asks.model.contributions(asked_row, asks.ratio)))
                beyond = asks.model.beyond(asked_row) if why == OUTSIDE else ()
                beyond = (MACHINE,) if why == EXTRAPOLATED else beyond
            found.append(
                Promise(
                    abstained=why,
                    beyond=beyond,
                    contributions=parts,
                    node=view.node_name(row),
                    probability=int(answer.probability[at]),
                    propensity=odds[at],
                    shadow=int(shadow[at]),
                )
            )
        return tuple(found)

    def _shadow(self, service: Service, state: Int64s, machines: Machines) -> Int64s:
        """What the model on trial would decide the rows by; -1: it is not about this service."""
        asks = None if self._candidate is None else self._asked(service, [self._candidate])
        if asks is None:
            return np.full(len(state), -1, np.int64)
        decided = _decided(asks.model, asks.rows(state, service), asks.ratio)
        return _careful(asks.model, decided, machines).probability

    def _answer(self, service: Service, state: Int64s, machines: Machines) -> Answer:
        asks = self._asked(service)
        if asks is None:
            careful = np.maximum(WHOLE - 2 * _excess(state), 0)
            # No promise is said to hold beyond what nobody has learned.
            return Answer(np.minimum(careful, _least(service)), np.zeros(len(state), np.int64))
        # Filter, score and record ask the same of one pod, one after the other.
        traits = tuple(sorted(service.traits.items()))
        key = (asks.model.digest, asks.ratio, traits, state.shape, state.T.tobytes())
        known = self._latest.get(key)
        if known is None:
            if len(self._latest) >= LATEST_MAX:
                self._latest.clear()
            rows = asks.rows(state, service)
            known = self._latest[key] = _decided(asks.model, rows, asks.ratio)
        return _careful(asks.model, known, machines)

    def _fitting(
        self, service: Service, among: Sequence[tuple[Model, list[int]]] | None = None
    ) -> tuple[Model, list[int]] | None:
        """The first model of the class's kind of promise that has learned from the class."""
        models = self._models if among is None else among
        for model, columns in models if service.spec is not None else ():
            kind = service.spec.objective.kind if service.spec else ""
            if model.kind == kind and service.name in model.body.scope.services:
                return model, columns
        return None

    def _asked(
        self, service: Service, among: Sequence[tuple[Model, list[int]]] | None = None
    ) -> Asked | None:
        """What is asked of which model, by default of those in force; None where none can be."""
        fitting, spec = self._fitting(service, among), service.spec
        if fitting is None or spec is None:
            return None
        if spec.objective.kind == "completion":
            return Asked(*fitting, 0)
        if not service.quiet_us:
            return None
        target_ms = spec.objective.target_milliseconds or 0
        return Asked(*fitting, ratio_of(target_ms * _MS_NS, service.quiet_us * _US_NS))

    def _why(self, service: Service, state: Int64s, *, is_learned: bool) -> str:
        """By name, why no model answers for the row."""
        if self._fitting(service) is None:
            return self.problem or OTHER_CLASS
        if self._asked(service) is None:
            return NO_QUIET
        if not is_learned:
            return EXTRAPOLATED
        return NO_SIGNALS if (state == MISSING).any() else OUTSIDE

    def _state(self, asked: Question, view: View, rows: Rows, *, is_with: bool) -> Int64s:
        """The rows' own features, with the pod or without."""
        more = asked.pod.requests if is_with else {}
        requested = {
            "cpu": view.requested[CPU][rows] + more.get("cpu", 0),
            "memory": view.requested[MEMORY][rows] + more.get("memory", 0),
        }
        allocatable = {"cpu": view.allocatable[CPU][rows], "memory": view.allocatable[MEMORY][rows]}
        expected = {}
        for name in LOADS:
            trait = f"{name}_used"
            total = np.full(len(requested["cpu"]), asked.own.traits[trait] * is_with, np.int64)
            for one in asked.all:
                assert one.pods is not None, "services on rows are counted"
                total += view.counted(one.pods)[rows] * one.traits[trait]
            if name == "cpu":
                total = total * WHOLE // np.maximum(allocatable["cpu"], 1)
            expected[name] = total
        signals = {name: view.signal(name)[rows] for name in SIGNALS}
        return node_features(signals, expected, requested, allocatable)


def _is_timed(spec: SLAClassSpec) -> bool:
    """Whether the class promises a time."""
    return spec.objective.kind != "completion"


def _loaded(data: bytes) -> tuple[Model, list[int]] | str:
    """A model and the places of its features; or by name why there is none."""
    if not data:
        return MISSING_FILE
    try:
        model = load(data)
    except ConfigError:
        return CORRUPT
    known = {spec.name: (number, spec) for number, spec in enumerate(FEATURES)}
    columns = []
    for spec in model.features:
        number, ours = known.get(spec.name, (-1, None))
        if ours is None or (ours.per_unit, ours.scale) != (spec.per_unit, spec.scale):
            return OTHER_FEATURES
        columns.append(number)
    return model, columns


def _decided(model: Model, rows: Int64s, ratio: int) -> Answer:
    """The model's answer; where a value is missing, the risk counts twice."""
    probability, is_known = model.decide(rows, ratio)
    is_whole = (rows != MISSING).all(axis=1)
    careful = np.maximum(2 * probability - WHOLE, 0)
    return Answer(np.where(is_whole, probability, careful), (is_known & is_whole).astype(np.int64))


def _careful(model: Model, answer: Answer, machines: Machines) -> Answer:
    """The answer; on a machine type that the model has not learned, never above its average."""
    learned = machines.learned_by(model)
    if learned.all():
        return answer
    least = np.minimum(answer.probability, model.body.manifest.base_rate)
    return Answer(np.where(learned, answer.probability, least), answer.is_known & learned)


def _service(profile: ServiceProfile, pod: PodInfo, view: View) -> tuple[Service, bool]:
    """The service of a profile, and whether the pod is of it."""
    matcher = compile_selector(profile.spec.selector)
    namespace, status = profile.metadata.namespace, profile.status
    count = view.follow(PodQuery(((frozenset((namespace,)), matcher),)))
    name = profile.spec.sla_class
    thing = view.object(SLAClass, name)
    spec = DEFAULTS.get(name) if thing is None else thing.spec
    traits = {**PRIOR, **status.traits}
    is_own = namespace == pod.namespace and matcher.matches(pod.pod.metadata.labels)
    return Service(name, spec, traits, status.quiet_microseconds, count), is_own


def _least(service: Service) -> int:
    return WHOLE if service.spec is None else service.spec.minimum_probability_basis_points


def _excess(state: Int64s) -> Int64s:
    """By row: how far its fullest load lies beyond what is careful, in basis points."""
    found: Int64s = np.clip(_fullest(state) - CAREFUL_BP, 0, 10 * WHOLE)
    return found


def _crowd(state: Int64s) -> Int64s:
    """By row: what a job loses there, in basis points of its promise.

    It has no response time that a model could be asked about; beyond a full node, each further
    pod slows all of them down, without end.
    """
    over = _excess(state)
    found: Int64s = CROWD * over * over // WHOLE
    return found


def _fullest(state: Int64s) -> Int64s:
    """By row: its fullest load, in basis points."""
    first = NAMES.index(ANCHORS[0])
    loads = [state[:, first + place] for place in range(len(ANCHORS))]
    loads += [state[:, NAMES.index(f"node_{name}_utilisation")] for name in LOADS]
    found: Int64s = np.stack(loads, axis=1).max(axis=1)
    return found
