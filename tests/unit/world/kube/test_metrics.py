"""Metrics: kube-scheduler's names, labels and buckets; counts that follow from records."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from herz import signals
from herz.model.record import (
    Decided,
    Order,
    PodReference,
    PolicyReference,
    Record,
    Rejection,
    Stage,
)
from herz.world.collecting import Pauses
from herz.world.kube.metrics import GuardMetrics, Metrics

SECOND = 1_000_000_000

STABLE_AND_BETA = {
    "scheduler_schedule_attempts": ("counter", {"result", "profile"}, ()),
    "scheduler_scheduling_attempt_duration_seconds": (
        "histogram",
        {"result", "profile"},
        (0.001, 16.384, 15),
    ),
    "scheduler_preemption_victims": ("histogram", set(), (1, 64, 7)),
    "scheduler_preemption_attempts": ("counter", set(), ()),
    "scheduler_pending_pods": ("gauge", {"queue"}, ()),
    "scheduler_queue_incoming_pods": ("counter", {"queue", "event"}, ()),
    "scheduler_pod_scheduling_attempts": ("histogram", set(), (1, 16, 5)),
    "scheduler_pod_scheduling_sli_duration_seconds": (
        "histogram",
        {"attempts"},
        (0.01, 5242.88, 20),
    ),
    "scheduler_framework_extension_point_duration_seconds": (
        "histogram",
        {"extension_point", "status", "profile"},
        (0.0001, 0.2048, 12),
    ),
    "scheduler_goroutines": ("gauge", {"operation"}, ()),
    "scheduler_unschedulable_pods": ("gauge", {"plugin", "profile"}, ()),
    "scheduler_plugin_evaluation": (
        "counter",
        {"plugin", "extension_point", "profile"},
        (),
    ),
}
"""By name: type, labels, and the buckets' first, last and number, as kube-scheduler 1.36 has."""


class Told:
    """Metrics, and what they read."""

    def __init__(self) -> None:
        self.now = 0
        self.counters: Counter[str] = Counter()
        self.pending = {"active": 2, "backoff": 1, "unschedulable": 0, "gated": 0}
        self.incoming = {("active", "UnscheduledPodAdd"): 3}
        self.evaluated = {("NodeResourcesFit", "Filter", "default-scheduler"): 7}
        self.pauses = Pauses()
        self.metrics = Metrics(
            lambda: self.now,
            lambda: self.counters,
            lambda: self.pending,
            dict,
            lambda: self.incoming,
            lambda: self.evaluated,
            lambda: {"binding": 4},
            self.pauses,
        )

    def record(self, uid: str, decided: Decided, *plugins: str, repeats: int = 0) -> None:
        rejections = tuple(Rejection(1, ("n",), plugin, "why") for plugin in plugins)
        record = Record(
            decided=decided,
            engine="",
            order=Order(batch=0, rung=1),
            path=(Stage(into=1, out=1, stage="filter"),),
            pod=PodReference("", uid, "default", uid),
            policy=PolicyReference("", "default-scheduler", "1"),
            previous="",
            rejections=rejections,
            repeats=repeats,
            sequence=1,
            snapshot="",
            term=1,
            time_ns="0",
        )
        self.metrics.append(record, b"", b"")

    def values(self) -> dict[str, float]:
        return {
            f"{one.name}{sorted(one.labels.items())}": one.value
            for family in text_string_to_metric_families(self.metrics.text().decode())
            for one in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.values().get(f"{name}{sorted(labels.items())}", 0.0)


@pytest.fixture
def told() -> Told:
    return Told()


def everything(told: Told) -> None:
    """Something of each kind."""
    told.record("a", Decided.UNSCHEDULABLE, "NodeResourcesFit")
    told.record("a", Decided.PREEMPT)
    told.record("a", Decided.PLACE)
    told.metrics.stepped(3, 3_000_000)
    told.metrics.bound("a")


def test_names_labels_and_buckets_are_kube_schedulers(told: Told) -> None:
    everything(told)
    found = {
        family.name: family
        for family in text_string_to_metric_families(told.metrics.text().decode())
    }
    for name, (kind, labels, buckets) in STABLE_AND_BETA.items():
        family = found[name]
        assert family.type == kind, name
        given = {label for one in family.samples for label in one.labels} - {"le"}
        assert given == labels, name
        if buckets:
            bounds = sorted(
                {float(one.labels["le"]) for one in family.samples if "le" in one.labels}
            )
            first, last, count = buckets
            assert (bounds[0], bounds[-2], len(bounds) - 1) == pytest.approx((first, last, count))
    assert not [name for name in found if name.endswith("_created")]


def test_attempts_are_counted_by_result_and_profile(told: Told) -> None:
    everything(told)
    told.record("b", Decided.ERROR)
    count = {
        result: told.value(
            "scheduler_schedule_attempts_total", result=result, profile="default-scheduler"
        )
        for result in ("scheduled", "unschedulable", "error")
    }
    assert count == {"scheduled": 1, "unschedulable": 2, "error": 1}
    assert told.value("scheduler_preemption_attempts_total") == 1


def test_a_bound_pod_is_measured_from_its_first_attempt(told: Told) -> None:
    told.record("a", Decided.UNSCHEDULABLE, "NodeAffinity")
    told.now = 3 * SECOND
    told.record("a", Decided.PLACE)
    told.metrics.bound("a")
    assert told.value("scheduler_pod_scheduling_sli_duration_seconds_sum", attempts="2") == 3
    assert told.value("scheduler_pod_scheduling_attempts_sum") == 2
    told.metrics.bound("a")
    assert told.value("scheduler_pod_scheduling_attempts_count") == 1, "a pod is bound once"


def test_a_binds_time_is_shown_with_its_outcome(told: Told) -> None:
    name = "scheduler_framework_extension_point_duration_seconds_sum"
    labels = {"extension_point": "Bind", "profile": "default-scheduler"}
    told.record("a", Decided.PLACE)
    told.metrics.stepped(1, 1_000_000)
    told.now = 2 * SECOND
    told.metrics.refused("a")
    told.metrics.refused("unknown")
    assert told.value(name, status="Error", **labels) == 2
    told.now = 3 * SECOND
    told.record("a", Decided.PLACE)
    told.metrics.stepped(1, 1_000_000)
    told.now = 4 * SECOND
    told.metrics.bound("a")
    assert told.value(name, status="Success", **labels) == 1


def test_unschedulable_pods_follow_what_refuses_them_now(told: Told) -> None:
    def refused(plugin: str) -> float:
        labels = {"plugin": plugin, "profile": "default-scheduler"}
        return told.value("scheduler_unschedulable_pods", **labels)

    told.record("a", Decided.UNSCHEDULABLE, "NodeAffinity", "NodeResourcesFit")
    told.record("b", Decided.UNSCHEDULABLE, "NodeAffinity")
    assert (refused("NodeAffinity"), refused("NodeResourcesFit")) == (2, 1)
    told.record("a", Decided.UNSCHEDULABLE, repeats=1)
    assert refused("NodeAffinity") == 2, "a short record says that nothing changed"
    told.record("a", Decided.PLACE)
    assert (refused("NodeAffinity"), refused("NodeResourcesFit")) == (1, 0)
    told.metrics.left("b")
    assert refused("NodeAffinity") == 0


def test_the_machines_own_counters_are_shown_with_their_labels(told: Told) -> None:
    told.counters[signals.GAVE_WAY.format(mark="x")] = 3
    told.counters[signals.BINDS_UNKNOWN] = 2
    told.counters[signals.ATTEMPTS_SCHEDULED] = 99
    assert told.value("herz_rules_gave_way_total", mark="x") == 3
    assert told.value("herz_binds_unknown_total") == 2
    assert told.value("scheduler_pending_pods", queue="active") == 2
    assert 99 not in told.values().values(), "attempts are counted from records alone"


def test_the_guard_measures_its_renewals() -> None:
    guard = GuardMetrics()
    guard.lead(4)
    for now in (10, 12, 15):
        guard.renewed(now * SECOND)
    text = guard.text().decode()
    assert 'leader_election_master_status{name="herz"} 1.0' in text
    assert "herz_leader_term 4.0" in text
    assert "herz_lease_renewal_interval_seconds_sum 5.0" in text
    assert 'herz_lease_renewal_interval_seconds_bucket{le="3.0"} 2.0' in text


def test_pauses_for_garbage_are_a_histogram_by_generation(told: Told) -> None:
    told.pauses.counts[1][0] = 2
    told.pauses.counts[1][-1] = 1
    told.pauses.sum_ns[1], told.pauses.found[1] = 7 * SECOND, 5
    name = "herz_garbage_collection_duration_seconds"
    assert told.value(f"{name}_bucket", generation="1", le="0.0001") == 2
    assert told.value(f"{name}_bucket", generation="1", le="5.0") == 2
    assert told.value(f"{name}_bucket", generation="1", le="+Inf") == 3
    assert told.value(f"{name}_sum", generation="1") == 7
    assert told.value(f"{name}_count", generation="1") == 3
    assert told.value(f"{name}_count", generation="2") == 0
    assert told.value("herz_garbage_objects_found_total", generation="1") == 5
