"""Service levels as objects of `scheduling.herz.dev/v1alpha1`: classes, profiles, nodes' signals.

A driver turns what it measured into these objects, whole numbers in the units that their fields
name, before the machine sees them: so a journal holds every sample that reached a decision, and
replay works with the same. Names of signals are in `herz.knowledge.sla.state`.
"""

from __future__ import annotations

import msgspec

from herz.model.meta import LabelSelector, ObjectMeta, Wire


class Objective(Wire, frozen=True, kw_only=True):
    """What a class promises.

    Args:
        kind: `latency`, `delay` or `completion`.
        quantile_basis_points: of the latencies or delays; 9,900 is P99.
        target_milliseconds: what the quantile is to stay at or below.
        share_basis_points: of the pods that are to complete.
    """

    kind: str = ""
    quantile_basis_points: int = 9_900
    target_milliseconds: int | None = None
    share_basis_points: int | None = None


class Indicator(Wire, frozen=True, kw_only=True):
    """How the promise is measured: a query, of whatever source the operator has."""

    query: str = ""


class SLAClassSpec(Wire, frozen=True, kw_only=True):
    """A promise and how much it counts.

    Args:
        objective: what is promised.
        window_seconds: over which the indicator is taken.
        indicator: how it is measured.
        weight: of a broken promise among others.
        minimum_probability_basis_points: below it a node is a risk.
        below: what to do then: `prefer` others, `refuse`, or `ignore`.
        exploration_basis_points: how many of the placements may go to another node to learn.
    """

    objective: Objective = Objective()
    window_seconds: int = 60
    indicator: Indicator = Indicator()
    weight: int = 1
    minimum_probability_basis_points: int = 9_000
    below: str = "prefer"
    exploration_basis_points: int = 0


class SLAClass(Wire, frozen=True, kw_only=True, tag_field="kind", tag="SLAClass"):
    """A class of promises (cluster-scoped); pods name it by the label `herz.dev/sla-class`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: SLAClassSpec = SLAClassSpec()


class NodeSignalsStatus(Wire, frozen=True, kw_only=True):
    """What was measured on a node.

    Args:
        feature_set: which sources there are: `counters`, `psi+schedstat` or `requests-only`.
        age_milliseconds: how old the values were when the driver told them.
        valid_milliseconds: after which they are stale, from the moment they were measured.
        signals: by name, whole numbers; a signal that is not there was not measured.
    """

    feature_set: str = "requests-only"
    age_milliseconds: int = 0
    valid_milliseconds: int = 120_000
    signals: dict[str, int] = msgspec.field(default_factory=dict)


class NodeSignals(Wire, frozen=True, kw_only=True, tag_field="kind", tag="NodeSignals"):
    """The measured state of the node of the same name (cluster-scoped)."""

    metadata: ObjectMeta = ObjectMeta()
    status: NodeSignalsStatus = NodeSignalsStatus()


class ServiceProfileSpec(Wire, frozen=True, kw_only=True):
    """Whose profile it is.

    Args:
        selector: the service's pods, in the profile's namespace.
        sla_class: the class that they promise.
    """

    selector: LabelSelector | None = None
    sla_class: str = ""


class ServiceProfileStatus(Wire, frozen=True, kw_only=True):
    """What was learned of a service, of one of its pods.

    Args:
        samples: how many samples it was learned from.
        quiet_microseconds: its P99 where nothing disturbs it; 0: not known.
        traits: by name (`herz.knowledge.sla.profiles`), whole numbers.
        confidence_basis_points: by trait; a trait without one is the prior.
    """

    samples: int = 0
    quiet_microseconds: int = 0
    traits: dict[str, int] = msgspec.field(default_factory=dict)
    confidence_basis_points: dict[str, int] = msgspec.field(default_factory=dict)


class ServiceProfile(Wire, frozen=True, kw_only=True, tag_field="kind", tag="ServiceProfile"):
    """How a service behaves (namespaced)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceProfileSpec = ServiceProfileSpec()
    status: ServiceProfileStatus = ServiceProfileStatus()
