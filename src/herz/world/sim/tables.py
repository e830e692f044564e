"""The tables of a TOML scenario file, field by field (docs/reference/scenarios.md shows them)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from herz.world.sim.make import SCHEDULER_NAME

PRIORITY_MIN: Final = -2_147_483_648
PRIORITY_MAX: Final = 2_000_001_000
"""Bounds of a priority: 32 bits, and the highest class of Kubernetes' own."""

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Amount = str | int
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all tables: unknown keys are refused."""


class Head(Table, frozen=True, kw_only=True):
    """`[scenario]`."""

    name: Text
    description: str = ""
    duration: str = "24h"
    protocol: Literal["ordinary", "change-between"] = "ordinary"
    expect_every_fit: bool = True


class TimingTable(Table, frozen=True, kw_only=True):
    """`[timing]`; spans as texts, pairs are least and most."""

    bind: str | tuple[str, str] = "4ms"
    watch: str = "3ms"
    start: str | tuple[str, str] = "2s"
    grace: str = "2s"
    keep: str = "30s"
    evict: str = "300s"
    replace: str = "1s"
    drain_gap: str = "200ms"
    timeout: str = "5s"
    confirm: str = "1s"
    stall: str = "400ms"
    recover: str | tuple[str, str] = ("60s", "600s")
    slow_factor: Positive = 50
    show_start: bool = True
    echo: bool = True


class FaultsTable(Table, frozen=True, kw_only=True):
    """`[faults]`; shares from 0 to 1 of the occasions."""

    bind_refused: float = 0.0
    bind_lost: float = 0.0
    bind_landed: float = 0.0
    bind_failed: float = 0.0
    bind_throttled: float = 0.0
    bind_slow: float = 0.0
    watch_duplicated: float = 0.0
    watch_merged: float = 0.0
    recreation_merged: float = 0.0
    watch_gap: float = 0.0
    watch_stalled: float = 0.0
    removal_refused: float = 0.0
    patch_refused: float = 0.0
    provision_failed: float = 0.0
    deleted_in_flight: float = 0.0
    recreated_in_flight: float = 0.0
    node_changes_per_hour: Count = 0


class LimitsTable(Table, frozen=True, kw_only=True):
    """`[limits]`: the bounds of a run."""

    steps_max: Positive = 50_000_000
    steps_at_once_max: Positive = 2_000_000
    step_limit: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1024
    idle: str = "11m"
    history_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    samples_max: Annotated[int, msgspec.Meta(ge=4, le=4096)] = 512


class PriorityClassTable(Table, frozen=True, kw_only=True):
    """`[[priority_classes]]`."""

    name: Text
    value: Annotated[int, msgspec.Meta(ge=PRIORITY_MIN, le=PRIORITY_MAX)]


class ImageTable(Table, frozen=True, kw_only=True):
    """An image that nodes hold; `size` is a quantity."""

    name: Text
    size: Amount


class GpuTable(Table, frozen=True, kw_only=True):
    """Devices of a node."""

    count: Annotated[int, msgspec.Meta(ge=1, le=64)]
    model: str = ""


class NodesTable(Table, frozen=True, kw_only=True):
    """`[[nodes]]`: nodes made from one template.

    A list in `vary` (of cpu, memory, pods or label) makes the nodes differ: node i takes
    combination i, the first key fastest.
    """

    name: Text
    count: Count = 1
    cpu: Amount = "16"
    memory: Amount = "64Gi"
    pods: Count = 110
    zones: tuple[Text, ...] = ()
    labels: dict[str, str] = {}
    taints: tuple[str, ...] = ()
    images: tuple[ImageTable, ...] = ()
    extended: dict[str, Amount] = {}
    gpu: GpuTable | None = None
    vary: dict[str, tuple[Amount, ...]] = {}


class ArrivePattern(Table, frozen=True, kw_only=True):
    """When a workload's pods come.

    at-once: all at `at`. even: evenly from `at` over `over`. random: at random moments within.
    bursts: `burst` at a time, evenly. curve: as many pods as the curve says run at each time; they
    come and go with it, and `replicas` is not used.
    """

    pattern: Literal["at-once", "even", "random", "bursts", "curve"] = "at-once"
    at: str = "0s"
    over: str = "0s"
    burst: Positive = 1
    curve: tuple[tuple[str, Count], ...] = ()
    every: str = "5m"


class AfterTable(Table, frozen=True, kw_only=True):
    """`herz.dev/after` within a workload.

    chain: each pod after the one before it, in chains of `length`. cycle: the same, and the first
    of a chain after its last. layers: each pod of a layer of `length` after `edges` pods of the
    layer before it.
    """

    pattern: Literal["chain", "cycle", "layers"] = "chain"
    length: Annotated[int, msgspec.Meta(ge=2, le=100_000)] = 5
    edges: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    weight: str = ""


class GpuRequestTable(Table, frozen=True, kw_only=True):
    """Shared accelerators that a pod asks for."""

    milli: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    count: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    models: tuple[Text, ...] = ()


class Loads(Table, frozen=True, kw_only=True):
    """An amount for each thing that pods of a node share, in thousandths."""

    cpu: Count = 0
    bandwidth: Count = 0
    io: Count = 0
    network: Count = 0


class ServiceTable(Table, frozen=True, kw_only=True):
    """How the pods of a workload behave in truth (docs/reference/scenarios.md); all made up.

    Args:
        quiet: P99 of a pod with nobody beside it.
        busy: its own utilisation then, in thousandths.
        uses: cpu in thousandths of the request; the others of a node.
        feels: how many thousandths slower a pod is for each, where a node is full of it.
        slow: thousandths of the requests that take long, and how many times as long.
        swing: how far its load moves, in thousandths.
    """

    quiet: str = "20ms"
    busy: Positive = 450
    uses: Loads = Loads()
    feels: Loads = Loads()
    slow: tuple[Count, Positive] = (20, 8)
    swing: Count = 150


class TruthTable(Table, frozen=True, kw_only=True):
    """`[truth]`: what holds for all services of the file.

    Args:
        spread: how far the seed moves every constant, in thousandths to both sides.
        knees: the utilisation of a node from which each thing slows its pods down, in thousandths.
        sample: how often nodes are measured.
        lag: how old a sample is when it is told.
        noise: of every measurement, in thousandths to both sides.
        profile: how often the services' profiles are told.
        variant: of the constants that hold for all services; another has other curves.
    """

    spread: Annotated[int, msgspec.Meta(ge=0, le=900)] = 500
    knees: Loads = Loads(cpu=650, bandwidth=550, io=600, network=600)
    sample: str = "30s"
    lag: str = "15s"
    noise: Annotated[int, msgspec.Meta(ge=0, le=900)] = 80
    profile: str = "5m"
    variant: Literal["hinge", "step"] = "hinge"


class WorkloadTable(Table, frozen=True, kw_only=True):
    """`[[workloads]]`: pods made from one template; `vary` knows cpu, memory, priority and zone."""

    name: Text
    namespace: Text = "default"
    class_name: str = msgspec.field(default="", name="class")
    service: ServiceTable | None = None
    replicas: Count = 0
    cpu: Amount = "100m"
    memory: Amount = "128Mi"
    extended: dict[str, Amount] = {}
    gpu: GpuRequestTable | None = None
    labels: dict[str, str] = {}
    arrive: ArrivePattern = ArrivePattern()
    run: str | tuple[str, str] | None = None
    lifetime: str | tuple[str, str] | None = None
    priority: Annotated[int, msgspec.Meta(ge=PRIORITY_MIN, le=PRIORITY_MAX)] | None = None
    priority_class: str = ""
    preempts: bool = True
    image: str = ""
    host_port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None
    scheduler: Text = SCHEDULER_NAME
    zones: tuple[Text, ...] = ()
    prefers_zones: tuple[Text, ...] = ()
    node_selector: dict[str, str] = {}
    tolerations: tuple[str, ...] = ()
    per_node: bool = False
    after: AfterTable | None = None
    gates: tuple[Text, ...] = ()
    ungate: str | None = None
    when_lost: Literal["nothing", "replace", "recreate"] = "nothing"
    vary: dict[str, tuple[Amount, ...]] = {}


class IncidentTable(Table, frozen=True, kw_only=True):
    """`[[incidents]]`: something that happens to nodes.

    `nodes` names them; or `count` of those whose names begin with `from` are chosen by the seed,
    within `zone` where it is given. `until` undoes it.
    """

    at: str
    kind: Literal[
        "fail", "drain", "delete", "cordon", "taint", "untaint", "label", "allocatable", "return"
    ]
    nodes: tuple[Text, ...] = ()
    from_: str = msgspec.field(default="", name="from")
    zone: str = ""
    count: Count = 1
    until: str | None = None
    taints: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    allocatable: dict[str, Amount] = {}


class ScenarioFile(Table, frozen=True, kw_only=True):
    """The whole file."""

    scenario: Head
    timing: TimingTable = TimingTable()
    faults: FaultsTable = FaultsTable()
    limits: LimitsTable = LimitsTable()
    priority_classes: tuple[PriorityClassTable, ...] = ()
    nodes: tuple[NodesTable, ...] = ()
    workloads: tuple[WorkloadTable, ...] = ()
    incidents: tuple[IncidentTable, ...] = ()
    truth: TruthTable | None = None
