"""The machine's whole state as bytes, and a machine made from them.

A state is taken when the machine is *quiet*: nothing is ready, and nothing that it asked for is
under way (`is_quiet`). Then it is what the API showed (nodes, pods on them, other objects), and
what the queue and the cycle remember: sequences, back-off, who was told what, nominations, since
when pods wait. What follows from these (columns, sheets, counts) is made anew, and the lanes of
the snapshot digest show whether it is the same.

The second part is written attribute by attribute, for whatever objects there are, but for those
attributes that `_WIRING` names: an attribute that nobody thought of is in the state, or its kind
of value is refused. Nothing but classes of `herz` is ever made, and no code is run from a state.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, Final

import msgspec

from herz._native import LtHash
from herz.cycle import Cycle
from herz.errors import AuditError, InvariantError
from herz.intake.queue.lifecycle import History, history_of
from herz.model.decode import decode, encode
from herz.model.objects import KubernetesObject, Node, Pod
from herz.model.podinfo import PodInfo
from herz.place.catalog import ASPECTS
from herz.place.snapshot import PARTS

VERSION: Final = 1

_WIRING: Final[dict[str, frozenset[str]]] = {
    name: frozenset(attributes.split())
    for name, attributes in {
        "SchedulingQueue": "_settings hints",
        "ActiveQueue": "_settings _comparator",
        "Rooms": "_settings _hints _events _counters active cause incoming",
        "InFlightEvents": "_limit",
        "Chain": "_buffer _engine _policies _sinks _term",
        "Orders": "_active _chain _counters",
        "Gangs": "_cluster _frameworks _advice",
        "Starvation": "_cluster _frameworks _terms _scratch",
        "Advices": "",
        "Advice": "_frameworks _cluster _framework _snapshot _terms _preemption _own _all _limits "
        "_ladder _wider _without_by _preemptions",
        "Signals": "_nodes _columns _latest _first_end_ns",
        "VolumeBinder": "_catalog _nodes _frameworks",
        "Nominations": "_nodes _snapshot",
        "Refusals": "_nodes _snapshot",
    }.items()
}
"""By class, what a new machine has from its making: settings, other parts, and what is kept only
to be fast."""


def is_quiet(machine: Cycle) -> bool:
    """Whether the machine's state can be taken now."""
    cluster, queue = machine._cluster, machine._queue
    return not (
        machine.ready
        or queue.events.in_flight
        or queue.active.fault is not None
        or len(machine._volumes)
        or machine._effects
        or any(not placed.is_bound for placed in cluster.ledger.placed.values())
    )


def frozen(machine: Cycle) -> bytes:
    """The state, canonical: the same whatever the history of processes that led to it.

    Raises:
        InvariantError: the machine is not quiet, or has a kind of value that no state can hold.

    Cost: O(nodes + pods + objects), by `python -m bench journal-state`.
    """
    if not is_quiet(machine):
        raise InvariantError("a state is taken of a quiet machine only")
    with uncollected():
        return _frozen(machine)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without collections of garbage: there is none, and each would look at the whole machine.

    For work that ends by itself and makes no cycles of objects.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _frozen(machine: Cycle) -> bytes:
    writer = _Writer()
    cluster = machine._cluster
    nodes = sorted((node for node in cluster.nodes.nodes if node is not None), key=_name)
    placed = [
        [name, [[writer.pod(one.pod), list(one.devices)] for one in cluster.ledger.on(name)]]
        for name in sorted({one.node for one in cluster.ledger.placed.values()})
    ]
    remembered = {name: writer.part(name, part) for name, part in _parts(machine)}
    state = {
        "version": VERSION,
        "nodes": [_raw(node) for node in nodes],
        "objects": [_raw(thing) for thing in _everything(machine)],
        "pods": writer.pods,
        "placed": placed,
        "remembered": remembered,
        "lanes": [[part, lanes.state().hex()] for part, lanes in _lanes(machine).items()],
    }
    return msgspec.json.encode(state, order="sorted")


def settle(machine: Cycle) -> None:
    """Have the machine forget what a new one would not know: answers that are kept to be fast.

    So a machine that goes on and one that is made from its state are the same in all that they
    ever look at.
    """
    machine._advice.forget()


def thawed(machine: Cycle, data: bytes) -> Cycle:
    """Put a state into a new machine of the same engine, policy and seed; the machine.

    Raises:
        AuditError: the bytes are no state of this release, or not of this engine.
    """
    with uncollected():
        return _thawed(machine, data)


def _thawed(machine: Cycle, data: bytes) -> Cycle:
    try:
        state = msgspec.json.decode(data, type=_State)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"no state: {error}") from error
    if state.version != VERSION:
        raise AuditError(f"a state of version {state.version}: not known here")
    cluster = machine._cluster
    reader = _Reader(
        [machine._arrivals.read(decode(Pod, one.pod), one.unlisted) for one in state.pods]
    )
    for raw in state.objects:
        cluster.catalog.apply(_object(raw))
    for raw in state.nodes:
        cluster.apply_node(decode(Node, raw))
    for node, pods in state.placed:
        for number, devices in pods:
            cluster.assign(reader.pods[number], node, devices)
    for name, part in _parts(machine):
        if name not in state.remembered:
            continue  # A state of the release before, which had no such part.
        found = reader.value(state.remembered[name], part)
        if found is not part:
            setattr(machine, name, found)
    cluster.catalog.signals.settle()
    _check_lanes(machine, state)
    return machine


def _check_lanes(machine: Cycle, state: _State) -> None:
    """What was made anew must be what it was; the other lanes are what they were."""
    given = {part: bytes.fromhex(lanes) for part, lanes in state.lanes}
    for part, lanes in _lanes(machine).items():
        if part in _MADE and lanes.state() != given[part]:
            raise AuditError(f"the state's {part} are not what its digest is over")
        if part not in _MADE:
            _lanes(machine)[part] = LtHash.from_state(given[part])


_REMEMBERED: Final = (
    *("_queue", "_chain", "_gangs", "_starvation", "_advice", "_volumes"),
    *("_uids", "_binds", "_wake_ns", "_batches", "counters"),
)
"""The attributes of a machine that are not wiring, but for its cluster."""
_MADE: Final = ("nodes", "objects", "pods", "reservations")
"""The parts of the snapshot digest that follow from nodes, pods and objects."""
assert set(_MADE) < set(PARTS)


class _Pod(msgspec.Struct, frozen=True):
    pod: msgspec.Raw
    unlisted: tuple[str, ...] = ()


class _State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    nodes: list[msgspec.Raw]
    objects: list[msgspec.Raw]
    pods: list[_Pod]
    placed: list[tuple[str, list[tuple[int, tuple[int, ...]]]]]
    remembered: dict[str, Any]
    lanes: list[tuple[str, str]]


def _parts(machine: Cycle) -> Iterator[tuple[str, Any]]:
    """What the machine remembers, by name; the queue first, whose pods others name.

    A machine's own attributes are under their names.
    """
    for name in _REMEMBERED:
        yield name, getattr(machine, name)
    cluster = machine._cluster
    yield "nominations", cluster.nominations
    yield "refusals", cluster.refusals
    yield "signals", cluster.catalog.signals
    if cluster._mix is not None:
        yield "mix", cluster._mix


def _everything(machine: Cycle) -> Iterator[KubernetesObject]:
    """All objects that are neither nodes nor pods, kind by kind, by key."""
    kinds: tuple[Any, ...] = tuple(ASPECTS)
    for kind in kinds:
        yield from machine._cluster.catalog.all(kind)


def _lanes(machine: Cycle) -> dict[str, LtHash]:
    return machine._snapshot._parts


class _Writer:
    """Writes values as JSON: what JSON has as it is, all else as a list that begins with a tag."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self._pods: dict[tuple[bytes, tuple[str, ...]], int] = {}
        self._objects: dict[int, int] = {}
        # Bound: the objects of one state; kept so that no address is used twice.
        self._kept: list[object] = []
        # The attributes and keys that lead to the value that is written.
        self._path: list[object] = []

    def part(self, name: str, value: Any) -> Any:
        """A part of the machine as JSON.

        Raises:
            InvariantError: no state can hold something in it.
        """
        self._path[:] = [name]
        return self.value(value)

    def pod(self, pod: PodInfo) -> int:
        """The number of the pod as it was read."""
        key = encode(pod.pod), pod.unlisted
        number = self._pods.get(key)
        if number is None:
            number = self._pods[key] = len(self.pods)
            self.pods.append({"pod": msgspec.Raw(key[0]), "unlisted": pod.unlisted})
        return number

    def value(self, value: Any) -> Any:
        """The value as JSON.

        Raises:
            InvariantError: no state can hold it.
        """
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**63 else ["int", str(value)]
        act = _ACTS.get(kind)
        if act is None:
            act = _ACTS[kind] = _act(kind)
        return act(self, value)

    def text(self, value: str) -> Any:
        """A text of a class of its own."""
        return str(value)

    def enum(self, value: Enum) -> Any:
        """A member of an enumeration."""
        return ["enum", _class(type(value)), value.name]

    def bytes(self, value: bytes) -> Any:
        """Bytes."""
        return ["bytes", value.hex()]

    def known_pod(self, value: PodInfo) -> Any:
        """A pod."""
        return ["pod", self.pod(value)]

    def history(self, value: History) -> Any:
        """The moves of a pod."""
        return ["history", [move.code for move in value.moves]]

    def api_object(self, value: KubernetesObject) -> Any:
        """An object of the API."""
        return ["object", _raw(value)]

    def mapping(self, value: dict[Any, Any]) -> Any:
        """A dict, in its order."""
        to = self.value
        pairs = []
        for key, one in value.items():
            self._path.append(key)
            pairs.append([to(key), to(one)])
            self._path.pop()
        return ["dict", pairs]

    def members(self, value: set[Any] | frozenset[Any]) -> Any:
        """A set, in an order of its own."""
        found = [self.value(one) for one in value]
        return [type(value).__name__, sorted(found, key=msgspec.json.encode)]

    def items(self, value: list[Any] | deque[Any] | tuple[Any, ...]) -> Any:
        """A list, deque or tuple."""
        return [type(value).__name__, [self.value(one) for one in value]]

    def thing(self, value: Any) -> Any:
        """An object of ours, attribute by attribute; the second time by its number."""
        known = self._objects.get(id(value))
        if known is not None:
            return ["same", known]
        number = self._objects[id(value)] = len(self._kept)
        self._kept.append(value)
        attributes = []
        for name in _attributes(value):
            self._path.append(name)
            attributes.append([name, self.value(getattr(value, name))])
            self._path.pop()
        return ["new", number, _class(type(value)), attributes]

    def refuse(self, value: Any) -> Any:
        """What no state can hold.

        Raises:
            InvariantError: always; it says where the value is.
        """
        where = ".".join(map(str, self._path))
        raise InvariantError(f"{where}: no state can hold a {type(value).__name__}")


def _act(kind: type) -> Callable[[_Writer, Any], Any]:
    """How values of a type are written."""
    for base, act in (
        (PodInfo, _Writer.known_pod),
        (History, _Writer.history),
        (KubernetesObject, _Writer.api_object),
        (Enum, _Writer.enum),
        (int, lambda writer, value: writer.value(int(value))),
        (str, _Writer.text),
        (bytes, _Writer.bytes),
        (dict, _Writer.mapping),
        (set | frozenset, _Writer.members),
        (list | deque, _Writer.items),
    ):
        if issubclass(kind, base):
            return act
    if kind is tuple:
        return _Writer.items
    return _Writer.thing if kind.__module__.startswith("herz.") else _Writer.refuse


_ACTS: Final[dict[type, Callable[[_Writer, Any], Any]]] = {}
"""By type, what `_act` said."""


class _Reader:
    """Reads what `_Writer` wrote, into the objects of a new machine where there are such."""

    def __init__(self, pods: list[PodInfo]) -> None:
        self.pods = pods
        self._objects: dict[int, Any] = {}

    def value(self, given: Any, there: Any = None) -> Any:
        """The value; `there` itself, filled anew, where it is an object or collection of its kind.

        Raises:
            AuditError: it is no value of a state.
        """
        if not isinstance(given, list):
            return given
        tag, *rest = given
        act = getattr(self, f"_{tag}", None)
        if act is None:
            raise AuditError(f"no value of a state: {tag!r}")
        return act(there, *rest)

    def _enum(self, _: Any, name: str, member: str) -> Any:
        return _named(name)[member]

    def _int(self, _: Any, text: str) -> int:
        return int(text)

    def _bytes(self, _: Any, text: str) -> bytes:
        return bytes.fromhex(text)

    def _pod(self, _: Any, number: int) -> PodInfo:
        return self.pods[number]

    def _history(self, _: Any, codes: list[int]) -> History:
        return history_of(bytes(codes))

    def _object(self, _: Any, raw: Any) -> KubernetesObject:
        return _object(msgspec.json.encode(raw))

    def _dict(self, there: Any, pairs: list[Any]) -> Any:
        found = {self.value(key): (key, one) for key, one in pairs}
        known = dict(there) if isinstance(there, dict) else {}
        made = there if isinstance(there, dict) else {}
        made.clear()
        for key, (_, one) in found.items():
            made[key] = self.value(one, known.get(key))
        return made

    def _set(self, there: Any, items: list[Any]) -> Any:
        made = there if isinstance(there, set) else set()
        made.clear()
        made.update(self.value(one) for one in items)
        return made

    def _frozenset(self, _: Any, items: list[Any]) -> Any:
        return frozenset(self.value(one) for one in items)

    def _tuple(self, _: Any, items: list[Any]) -> Any:
        return tuple(self.value(one) for one in items)

    def _list(self, there: Any, items: list[Any]) -> Any:
        known = list(there) if isinstance(there, list) else []
        known += [None] * (len(items) - len(known))
        found = [self.value(one, old) for one, old in zip(items, known, strict=False)]
        made = there if isinstance(there, list) else []
        made[:] = found
        return made

    def _deque(self, there: Any, items: list[Any]) -> Any:
        made = there if isinstance(there, deque) else deque()
        made.clear()
        made.extend(self.value(one) for one in items)
        return made

    def _same(self, _: Any, number: int) -> Any:
        return self._objects[number]

    def _new(self, there: Any, number: int, name: str, attributes: list[Any]) -> Any:
        kind = _named(name)
        if issubclass(kind, msgspec.Struct | tuple):
            made = kind(**{one: self.value(value) for one, value in attributes})
            self._objects[number] = made
            return made
        made = there if type(there) is kind else kind.__new__(kind)
        self._objects[number] = made
        for one, value in attributes:
            object.__setattr__(made, one, self.value(value, getattr(made, one, None)))
        return made


def _attributes(value: Any) -> tuple[str, ...]:
    """The names of what the object holds and has not from its making."""
    kind = type(value)
    names = _ATTRIBUTES.get(kind)
    if names is None:
        names = _ATTRIBUTES[kind] = _declared(kind)
    if hasattr(value, "__dict__"):
        wiring = _WIRING.get(kind.__name__, frozenset())
        names += tuple(one for one in vars(value) if one not in wiring and one not in names)
    return tuple(name for name in names if hasattr(value, name))


def _declared(kind: Any) -> tuple[str, ...]:
    """The attributes that a class declares, but for its wiring."""
    if issubclass(kind, msgspec.Struct):
        return tuple(kind.__struct_fields__)
    if issubclass(kind, tuple):
        return tuple(kind._fields)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    for base in reversed(kind.__mro__):
        slots = base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    wiring = _WIRING.get(kind.__name__, frozenset())
    return tuple(
        name for name in dict.fromkeys(names) if name not in wiring and not name.startswith("__")
    )


_ATTRIBUTES: Final[dict[type, tuple[str, ...]]] = {}
"""By class, what `_declared` said."""


def _class(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


@cache
def _named(name: str) -> Any:
    """The class of ours that has the name.

    Raises:
        AuditError: it is none of ours.
    """
    module, _, attribute = name.partition(":")
    if not module.startswith("herz.") or not attribute.isidentifier():
        raise AuditError(f"a state does not make a {name}")
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise AuditError(f"there is no {name} here") from error
    if not isinstance(kind, type) or kind.__module__ != module:
        raise AuditError(f"{name} is no class")
    return kind


_objects = msgspec.json.Decoder(KubernetesObject, float_hook=str)


def _object(raw: msgspec.Raw | bytes) -> KubernetesObject:
    try:
        thing: KubernetesObject = _objects.decode(raw)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"no object of a state: {error}") from error
    return thing


def _raw(thing: KubernetesObject) -> msgspec.Raw:
    return msgspec.Raw(encode(thing))


def _name(node: Node) -> str:
    return node.name
