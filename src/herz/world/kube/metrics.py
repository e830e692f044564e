"""What is measured, under the names that kube-scheduler's dashboards and alerts know.

kube-scheduler's STABLE and BETA metrics have its names, labels and buckets exactly; those that
Herz alone has begin with `herz_`. Decisions are counted from their records, so that what is shown
and what is proven cannot differ; the machine's own counters are read when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.parser import text_string_to_metric_families

from herz.model.record import Decided, Record
from herz.world.collecting import BUCKETS, Pauses

# kube-scheduler shows no time of creation beside each counter.
disable_created_metrics()  # type: ignore[no-untyped-call]

SECOND_NS: Final = 1_000_000_000
ATTEMPTS_SHOWN_MAX: Final = 15
"""More attempts than these are one label, as in kube-scheduler."""
_UNSCHEDULABLE_MAX: Final = 200_000
"""Bound: pods of which it is kept why they are unschedulable."""
_RESULTS: Final[Mapping[Decided, str]] = {
    Decided.PLACE: "scheduled",
    Decided.UNSCHEDULABLE: "unschedulable",
    Decided.PREEMPT: "unschedulable",
    Decided.WAIT: "unschedulable",
    Decided.ERROR: "error",
}


def exponential(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Upper bounds of buckets, each so many times the one before."""
    return tuple(first * factor**index for index in range(count))


class Observer(Protocol):
    """What a driver tells of its work; each call is cheap."""

    def stepped(self, decided: int, duration_ns: int) -> None:
        """A step decided so many pods, and took so long."""
        ...

    def bound(self, uid: str) -> None:
        """The API confirmed a bind."""
        ...

    def refused(self, uid: str) -> None:
        """The API did not bind the pod."""
        ...

    def wrote(self, effect: str, code: str, duration_ns: int) -> None:
        """A write ended with this status code, or `none` where no answer came."""
        ...

    def kept(self, kind: str, lists: int, *, is_fresh: bool) -> None:
        """A kind was listed so often, and is known without a gap or not."""
        ...

    def left(self, uid: str) -> None:
        """A pod is gone."""
        ...


class Metrics:
    """The scheduler's metrics; a sink of its records, and an observer of its driver.

    Args:
        clock: the driver's time in nanoseconds.
        counters: the machine's own, by sample name, as `herz.signals` has them.
        pending: how many pods wait, by Kubernetes' names of the queues.
        cached: how many nodes, pods and assumed pods are known.
        incoming: how many pods came into a queue, by queue and event.
        evaluated: how many decisions each rule had a say in, by rule, extension point and profile.
        running: what is under way at once, by kube-scheduler's names of operations.
        pauses: of the garbage collector.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        counters: Callable[[], Mapping[str, int]],
        pending: Callable[[], Mapping[str, int]],
        cached: Callable[[], Mapping[str, int]] = dict,
        incoming: Callable[[], Mapping[tuple[str, str], int]] = dict,
        evaluated: Callable[[], Mapping[tuple[str, str, str], int]] = dict,
        running: Callable[[], Mapping[str, int]] = dict,
        pauses: Pauses | None = None,
    ) -> None:
        self._clock = clock
        self.registry = registry = CollectorRegistry()
        registry.register(
            _Read(counters, pending, cached, incoming, evaluated, running, pauses or Pauses())
        )
        self._attempts = Counter(
            "scheduler_schedule_attempts",
            "Attempts to schedule a pod, by result.",
            ("result", "profile"),
            registry=registry,
        )
        self._attempt_seconds = Histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "How long an attempt took: the decision, and the bind where there was one.",
            ("result", "profile"),
            buckets=exponential(0.001, 2, 15),
            registry=registry,
        )
        self._algorithm_seconds = Histogram(
            "scheduler_scheduling_algorithm_duration_seconds",
            "How long a decision took: its share of its step.",
            buckets=exponential(0.001, 2, 15),
            registry=registry,
        )
        self._sli_seconds = Histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "From the pod's first attempt or arrival until it was bound, by attempts.",
            ("attempts",),
            buckets=exponential(0.01, 2, 20),
            registry=registry,
        )
        self._pod_attempts = Histogram(
            "scheduler_pod_scheduling_attempts",
            "Attempts until a pod was bound.",
            buckets=exponential(1, 2, 5),
            registry=registry,
        )
        self._rules(registry)
        self._own(registry)
        # Bound: the pods that wait, and those whose bind is under way.
        self._tries: dict[str, _Tries] = {}
        self._refused_by: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._decided: list[tuple[str, str, str]] = []
        self._listed: dict[str, int] = {}

    def _rules(self, registry: CollectorRegistry) -> None:
        name = "scheduler_preemption_attempts"
        self._preemptions = Counter(name, "Preemptions.", registry=registry)
        self._victims = Histogram(
            "scheduler_preemption_victims",
            "Victims of a preemption.",
            buckets=exponential(1, 2, 7),
            registry=registry,
        )
        self._point_seconds = Histogram(
            "scheduler_framework_extension_point_duration_seconds",
            "How long all rules of an extension point took; here, a bind until its answer.",
            ("extension_point", "status", "profile"),
            buckets=exponential(0.0001, 2, 12),
            registry=registry,
        )
        Histogram(
            "scheduler_permit_wait_duration_seconds",
            "How long pods waited for a permit; here, none does.",
            ("result",),
            buckets=exponential(0.001, 2, 15),
            registry=registry,
        )
        self._unschedulable = Gauge(
            "scheduler_unschedulable_pods",
            "Pods that a rule keeps unschedulable now.",
            ("plugin", "profile"),
            registry=registry,
        )

    def _own(self, registry: CollectorRegistry) -> None:
        self._step_seconds = Histogram(
            "herz_step_duration_seconds",
            "How long one step of the machine took.",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
            registry=registry,
        )
        self._writes = Counter(
            "herz_writes",
            "Writes to the API, by effect and code.",
            ("effect", "code"),
            registry=registry,
        )
        self._write_seconds = Histogram(
            "herz_write_duration_seconds",
            "How long a write took until its answer.",
            ("effect",),
            buckets=exponential(0.001, 2, 15),
            registry=registry,
        )
        self._lists = Counter(
            "herz_lists", "How often all of a kind was read.", ("kind",), registry=registry
        )
        self._stale = Gauge(
            "herz_stale", "1 while a kind may be out of date.", ("kind",), registry=registry
        )

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self.registry)

    # ---- of the machine -------------------------------------------------------------------

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:  # noqa: ARG002
        """Count a decision (`herz.ports.RecordSink`)."""
        profile, uid = record.policy.name, record.pod.uid
        result = _RESULTS[record.decided]
        self._attempts.labels(result, profile).inc()
        tries = self._tries.setdefault(uid, _Tries(self._clock()))
        tries.count += 1
        tries.profile = profile
        if record.decided is Decided.PREEMPT:
            self._preemptions.inc()
            self._victims.observe(len(record.victims))
        self._decided.append((result, profile, uid))
        if not record.repeats:
            # A short record names the same verdict as before: the rules are the same.
            self._settle(uid)
            if record.rejections and len(self._refused_by) < _UNSCHEDULABLE_MAX:
                plugins = tuple(dict.fromkeys(one.plugin for one in record.rejections))
                self._refused_by[uid] = (profile, plugins)
                for plugin in plugins:
                    self._unschedulable.labels(plugin, profile).inc()

    # ---- of the driver --------------------------------------------------------------------

    def stepped(self, decided: int, duration_ns: int) -> None:
        """See `Observer`."""
        self._step_seconds.observe(duration_ns / SECOND_NS)
        attempts, self._decided = self._decided, []
        if not attempts:
            return
        each = duration_ns / max(decided, len(attempts)) / SECOND_NS
        for result, profile, uid in attempts:
            self._algorithm_seconds.observe(each)
            tries = self._tries.get(uid)
            if result != "scheduled":
                self._attempt_seconds.labels(result, profile).observe(each)
            elif tries is not None:
                tries.placed_ns, tries.deciding_seconds = self._clock(), each

    def bound(self, uid: str) -> None:
        """See `Observer`."""
        tries = self._tries.pop(uid, None)
        if tries is None:
            return
        shown = str(tries.count) if tries.count <= ATTEMPTS_SHOWN_MAX else f"{ATTEMPTS_SHOWN_MAX}+"
        now = self._answered(tries, "Success")
        self._sli_seconds.labels(shown).observe(max(now - tries.since_ns, 0) / SECOND_NS)
        self._pod_attempts.observe(tries.count)
        took = max(now - tries.placed_ns, 0) / SECOND_NS + tries.deciding_seconds
        self._attempt_seconds.labels("scheduled", tries.profile).observe(took)

    def refused(self, uid: str) -> None:
        """See `Observer`."""
        tries = self._tries.get(uid)
        if tries is not None:
            self._answered(tries, "Error")

    def _answered(self, tries: _Tries, status: str) -> int:
        """A bind has ended, now."""
        now = self._clock()
        seconds = max(now - tries.placed_ns, 0) / SECOND_NS
        self._point_seconds.labels("Bind", status, tries.profile).observe(seconds)
        return now

    def wrote(self, effect: str, code: str, duration_ns: int) -> None:
        """See `Observer`."""
        self._writes.labels(effect, code).inc()
        self._write_seconds.labels(effect).observe(duration_ns / SECOND_NS)

    def kept(self, kind: str, lists: int, *, is_fresh: bool) -> None:
        """See `Observer`."""
        self._stale.labels(kind).set(not is_fresh)
        # Bound: the kinds that are watched.
        more = lists - self._listed.get(kind, 0)
        if more:
            self._listed[kind] = lists
            self._lists.labels(kind).inc(more)

    def left(self, uid: str) -> None:
        """See `Observer`."""
        self._tries.pop(uid, None)
        self._settle(uid)

    def _settle(self, uid: str) -> None:
        profile, plugins = self._refused_by.pop(uid, ("", ()))
        for plugin in plugins:
            self._unschedulable.labels(plugin, profile).dec()


class _Tries:
    """How often a pod was decided, and since when."""

    __slots__ = ("count", "deciding_seconds", "placed_ns", "profile", "since_ns")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = self.placed_ns = since_ns
        self.deciding_seconds = 0.0
        self.count = 0
        self.profile = ""


class _Read:
    """What is read when somebody asks: queues, cache, the machine's own counters."""

    def __init__(
        self,
        counters: Callable[[], Mapping[str, int]],
        pending: Callable[[], Mapping[str, int]],
        cached: Callable[[], Mapping[str, int]],
        incoming: Callable[[], Mapping[tuple[str, str], int]],
        evaluated: Callable[[], Mapping[tuple[str, str, str], int]],
        running: Callable[[], Mapping[str, int]],
        pauses: Pauses,
    ) -> None:
        self._incoming = incoming
        self._evaluated = evaluated
        self._running = running
        self._pauses = pauses
        self._counters = counters
        self._pending = pending
        self._cached = cached

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before somebody asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The samples as of now."""
        pending = GaugeMetricFamily(
            "scheduler_pending_pods", "Pods that wait, by queue.", labels=("queue",)
        )
        for queue, count in self._pending().items():
            pending.add_metric((queue,), count)
        cache = GaugeMetricFamily(
            "scheduler_scheduler_cache_size", "What is known, by type.", labels=("type",)
        )
        for kind, count in self._cached().items():
            cache.add_metric((kind,), count)
        came = CounterMetricFamily(
            "scheduler_queue_incoming_pods",
            "Pods that came into a queue.",
            labels=("queue", "event"),
        )
        for labels, count in sorted(self._incoming().items()):
            came.add_metric(labels, count)
        asked = CounterMetricFamily(
            "scheduler_plugin_evaluation",
            "Decisions in which a rule had a say.",
            labels=("plugin", "extension_point", "profile"),
        )
        for key, count in sorted(self._evaluated().items()):
            asked.add_metric(key, count)
        running = GaugeMetricFamily(
            "scheduler_goroutines", "What is under way at once, by its work.", labels=("operation",)
        )
        for operation, count in self._running().items():
            running.add_metric((operation,), count)
        own = (*_collections(self._pauses), *_families(self._counters()))
        return (pending, cache, came, asked, running, *own)


def _collections(pauses: Pauses) -> Iterable[Metric]:
    took = HistogramMetricFamily(
        "herz_garbage_collection_duration_seconds",
        "How long a collection of garbage stopped everything, by generation.",
        labels=("generation",),
    )
    found = CounterMetricFamily(
        "herz_garbage_objects_found",
        "Objects in cycles that nothing referred to, by generation.",
        labels=("generation",),
    )
    for generation, counts in enumerate(pauses.counts):
        labels = (str(generation),)
        bounds = (*(str(float(bound)) for bound in BUCKETS), "+Inf")
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        took.add_metric(labels, buckets, pauses.sum_ns[generation] / SECOND_NS)
        found.add_metric(labels, pauses.found[generation])
    return (took, found)


def _families(counters: Mapping[str, int]) -> Iterable[Metric]:
    """The machine's counters that begin with `herz_`, and the volume errors.

    The others are counted from the records, with labels that the machine does not know.
    """
    families: dict[str, CounterMetricFamily] = {}
    for sample, value in sorted(counters.items()):
        if not sample.startswith(("herz_", "scheduler_volume_")):
            continue
        (parsed,) = text_string_to_metric_families(f"{sample} {value}\n")
        (one,) = parsed.samples
        name = one.name.removesuffix("_total")
        family = families.get(name)
        if family is None:
            family = CounterMetricFamily(name, "Counted by the machine.", labels=list(one.labels))
            families[name] = family
        family.add_metric(list(one.labels.values()), value)
    return families.values()


class Exposed:
    """What a journal exposes, read when somebody asks.

    Args:
        figures: by names of `herz.signals`.
    """

    def __init__(self, figures: Callable[[], Mapping[str, float]]) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before somebody asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The samples as of now."""
        for name, value in self._figures().items():
            if name.endswith("_total"):
                yield CounterMetricFamily(name.removesuffix("_total"), "Of the journal.", value)
            else:
                yield GaugeMetricFamily(name, "What is not signed, or not witnessed.", value)


class GuardMetrics:
    """The guard's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._leads = Gauge(
            "leader_election_master_status",
            "1 while this replica holds the lease.",
            ("name",),
            registry=self.registry,
        )
        self._leads.labels("herz").set(0)
        self._term = Gauge(
            "herz_leader_term", "The term of this replica; 0 without.", registry=self.registry
        )
        self._between = Histogram(
            "herz_lease_renewal_interval_seconds",
            "From one renewal of the lease to the next.",
            buckets=(0.5, 1, 2, 2.5, 3, 4, 6, 8, 10, 15),
            registry=self.registry,
        )
        self._last_ns = 0

    def lead(self, term: int) -> None:
        """The replica leads in this term; 0: it does not."""
        self._leads.labels("herz").set(term > 0)
        self._term.set(term)

    def renewed(self, now_ns: int) -> None:
        """The lease was renewed."""
        if self._last_ns:
            self._between.observe((now_ns - self._last_ns) / SECOND_NS)
        self._last_ns = now_ns

    def text(self) -> bytes:
        """In Prometheus' text form."""
        return generate_latest(self.registry)
