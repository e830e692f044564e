"""InterPodAffinity: near some pods, far from others, both ways.

Source: kube-scheduler 1.36 `plugins/interpodaffinity`, checked by the oracle's `podaffinity`
family.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from herz.errors import ConfigError
from herz.model.objects import Namespace
from herz.model.podinfo import PodInfo
from herz.model.terms import Term, TermKind
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import (
    SCORE_MAX,
    SKIP,
    Based,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Int64s,
    Kind,
    Normalize,
    PodQuery,
    Reads,
    ReasonBook,
    Rows,
    Verdict,
    Versioned,
    View,
    row_count,
)

REASON_AFFINITY: Final = "node(s) didn't match pod affinity rules"
REASON_ANTI_AFFINITY: Final = "node(s) didn't match pod anti-affinity rules"
REASON_EXISTING: Final = "node(s) didn't satisfy existing pods anti-affinity rules"
WEIGHT_MAX: Final = 100

_PREFERRED: Final = (TermKind.PREFERRED_AFFINITY, TermKind.PREFERRED_ANTI_AFFINITY)


class InterPodAffinityArguments(Arguments, frozen=True):
    """InterPodAffinityArgs."""

    hard_pod_affinity_weight: int = 1
    ignore_preferred_terms_of_existing_pods: bool = False


class Near:
    """The pods that one term, or several together, mean: how many in each domain of a key."""

    def __init__(self, terms: Sequence[Term], view: View) -> None:
        self.keys = tuple(term.topology_key for term in terms)
        conditions = tuple((_namespaces(term, view), term.selector) for term in terms)
        self.count = view.follow(PodQuery(conditions))

    def at(self, key: str, view: View) -> Int64s:
        """How many are in each row's domain; 0 where the row has no such label."""
        return in_domains(key, view.counted(self.count), view)


class Required:
    """What the pod requires, and the terms of others that mean it."""

    def __init__(self, pod: PodInfo, view: View) -> None:
        self.pod = pod
        own = {kind: [t for t in pod.terms if t.kind is kind] for kind in TermKind}
        affinity = own[TermKind.AFFINITY]
        # A pod is near only to such as meet all of its terms together.
        self.together = Near(affinity, view) if affinity else None
        self.apart = [Near([term], view) for term in own[TermKind.ANTI_AFFINITY]]
        self.is_first_of_its_kind = bool(affinity) and _means_itself(affinity, pod, view)

    def version(self, view: View) -> tuple[object, ...]:
        """Moves whenever an answer may."""
        near = [*self.apart, *([] if self.together is None else [self.together])]
        others = others_meaning(self.pod, view, (TermKind.ANTI_AFFINITY,))
        if not near and not others:
            return (view.terms_version,)
        keys = {key for one in near for key in one.keys} | {o.term.topology_key for o in others}
        return (
            *(one.count.version for one in near),
            view.terms_version,
            *(other.version for other in others),
            *(view.labels_version(key) for key in sorted(keys)),
        )


class Preferred:
    """What the pod prefers."""

    def __init__(self, pod: PodInfo, view: View) -> None:
        self.pod = pod
        self.own = [
            (_sign(term) * term.weight, Near([term], view))
            for term in pod.terms
            if term.kind in _PREFERRED
        ]


class InterPodAffinity(Filter, Normalize, Versioned, Based, Hints):
    """Required terms filter, preferred ones score; those of pods on nodes count both times."""

    name: ClassVar[str] = "InterPodAffinity"
    # A label that makes domains moves the answers for all rows, and with them the version.
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.PODS | Reads.LABELS
    reads_prepare: ClassVar[Reads] = Reads.NAMESPACES

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, InterPodAffinityArguments)
        if not 0 <= given.hard_pod_affinity_weight <= WEIGHT_MAX:
            raise ConfigError(
                "weight out of range",
                where=f"pluginConfig[{self.name}].args.hardPodAffinityWeight",
                value=given.hard_pod_affinity_weight,
                fix=f"give a weight from 0 to {WEIGHT_MAX}",
            )
        self._hard_weight = given.hard_pod_affinity_weight
        self._ignores_others = given.ignore_preferred_terms_of_existing_pods
        self._affinity_code = reasons.code(Kind.NEVER_FITS, self.name, (REASON_AFFINITY,))
        self._anti_code = reasons.code(Kind.UNFIT, self.name, (REASON_ANTI_AFFINITY,))
        self._existing_code = reasons.code(Kind.UNFIT, self.name, (REASON_EXISTING,))

    def sign(self, pod: PodInfo) -> object:
        """The terms, and what others' terms see of the pod."""
        affinity = pod.pod.spec.affinity
        if affinity is None or not (affinity.pod_affinity or affinity.pod_anti_affinity):
            return pod.namespace, pod.group.labels
        return pod.namespace, pod.group.labels, affinity.pod_affinity, affinity.pod_anti_affinity

    def basis(self, pod: PodInfo, view: View) -> object:
        """Its namespace's labels, and the namespaces that its terms name."""
        own = view.object(Namespace, pod.namespace)
        labels = () if own is None else tuple(sorted(own.metadata.labels.items()))
        return labels, tuple([_namespaces(term, view) for term in pod.terms])

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The required terms; never skipped, since pods may come that keep this one away."""
        if pod.terms_problem:
            return Verdict(Kind.NEVER_FITS, self.name, (f"parsing pod: {pod.terms_problem}",))
        return Required(pod, view)

    def filter(self, state: Required, view: View, rows: Rows) -> Codes:
        """The first that is not met: affinity, anti-affinity, other pods' anti-affinity."""
        codes = np.zeros(row_count(view, rows), np.int16)
        for other in others_meaning(state.pod, view, (TermKind.ANTI_AFFINITY,)):
            near = in_domains(other.term.topology_key, view.counted(other), view)
            codes[near[rows] > 0] = self._existing_code
        for one in state.apart:
            codes[one.at(one.keys[0], view)[rows] > 0] = self._anti_code
        if state.together is not None:
            codes[~self._is_near(state, state.together, view)[rows]] = self._affinity_code
        return codes

    def _is_near(self, state: Required, together: Near, view: View) -> Any:
        near = [together.at(key, view) for key in together.keys]
        is_near = np.logical_and.reduce([one > 0 for one in near])
        if not state.is_first_of_its_kind or any(one.any() for one in near):
            return is_near
        # No such pod is anywhere, and the pod would be near to itself.
        return np.logical_and.reduce([view.labels(key) != 0 for key in together.keys])

    def prepare_score(self, pod: PodInfo, view: View) -> Any:
        """The preferred terms."""
        state = Preferred(pod, view)
        return SKIP if self._ignores_others and not state.own else state

    def score(self, state: Preferred, view: View, rows: Rows) -> Int64s:
        """The sum of the weights of the terms met, anti-affinity counting against."""
        total = np.zeros(view.size, np.int64)
        for weight, near in state.own:
            total += weight * near.at(near.keys[0], view)
        for other in others_meaning(state.pod, view, self._scoring_kinds()):
            weight = self._weight(other.term)
            total += weight * in_domains(other.term.topology_key, view.counted(other), view)
        return total[rows]

    def normalize(self, raw: Int64s, low: int, high: int) -> Int64s:
        """In proportion between the lowest and the highest, truncated."""
        if high == low:
            return np.zeros(len(raw), np.int64)
        # Kubernetes' order: the fraction first, then the product.
        return (float(SCORE_MAX) * ((raw - low) / float(high - low))).astype(np.int64)

    def version(self, state: Required | Preferred, view: View) -> object:
        """Of the counts, and of the labels that make domains."""
        if isinstance(state, Required):
            return state.version(view)
        others = others_meaning(state.pod, view, self._scoring_kinds())
        if not state.own and not others:
            return (view.terms_version,)
        keys = {key for _, near in state.own for key in near.keys}
        keys |= {other.term.topology_key for other in others}
        return (
            *(near.count.version for _, near in state.own),
            view.terms_version,
            *(other.version for other in others),
            *(view.labels_version(key) for key in sorted(keys)),
        )

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Pods came that are sought, or went that are shunned; nodes came or changed domains."""
        return {
            EventKind.ASSIGNED_POD_ADD: _is_sought,
            EventKind.ASSIGNED_POD_UPDATE: _is_moved,
            EventKind.ASSIGNED_POD_DELETE: _was_in_the_way,
            EventKind.NODE_ADD: _may_hold,
            EventKind.NODE_UPDATE: _changed_domain,
            EventKind.NODE_DELETE: None,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
            EventKind.OBJECT_ADD: _moves_namespaces,
            EventKind.OBJECT_UPDATE: _moves_namespaces,
            EventKind.OBJECT_DELETE: _moves_namespaces,
        }

    def _scoring_kinds(self) -> tuple[TermKind, ...]:
        return (*_PREFERRED, TermKind.AFFINITY) if self._hard_weight else _PREFERRED

    def _weight(self, term: Term) -> int:
        return self._hard_weight if term.kind is TermKind.AFFINITY else _sign(term) * term.weight


def in_domains(key: str, counts: Int64s, view: View) -> Int64s:
    """By row, the sum of the counts over all rows of its domain; 0 where it is in none."""
    domains = view.labels(key)
    # Sums of whole numbers below 2^53 are exact in doubles.
    totals = np.bincount(domains, counts).astype(np.int64)
    totals[0] = 0
    return totals[domains]


def others_meaning(pod: PodInfo, view: View, kinds: Iterable[TermKind]) -> list[Any]:
    """Counts of the terms, of pods on nodes, of these kinds, that mean the pod."""
    return [other for other in view.terms_meaning(pod) if other.term.kind in kinds]


def _sign(term: Term) -> int:
    return -1 if term.kind is TermKind.PREFERRED_ANTI_AFFINITY else 1


def _namespaces(term: Term, view: View) -> frozenset[str] | None:
    """The term's namespaces by name; None: all."""
    selector = term.namespace_selector
    # Kubernetes asks an incoming pod's selector about the namespaces by name, and then once more
    # about no labels at all: one that an unlabelled namespace would meet means every namespace.
    if selector.matches({}):
        return None
    if selector.is_nothing:
        return term.namespaces
    found = [n for n in view.objects(Namespace) if selector.matches(n.metadata.labels)]
    return term.namespaces | {namespace.metadata.name for namespace in found}


def _means_itself(terms: Sequence[Term], pod: PodInfo, view: View) -> bool:
    labels = pod.pod.metadata.labels
    return all(
        (names is None or pod.namespace in names) and term.selector.matches(labels)
        for term, names in ((term, _namespaces(term, view)) for term in terms)
    )


# ---- hints ----------------------------------------------------------------------------------
# A hint sees no namespaces' labels: a selector of namespaces counts as met, which wakes a pod
# too often rather than too seldom.


def _means(term: Term, other: PodInfo) -> bool:
    is_selector = not term.namespace_selector.is_nothing
    is_there = is_selector or other.namespace in term.namespaces
    return is_there and term.selector.matches(other.pod.metadata.labels)


def _of(pod: PodInfo, kind: TermKind) -> list[Term]:
    return [term for term in pod.terms if term.kind is kind]


def _seeks(pod: PodInfo, other: PodInfo) -> bool:
    sought = _of(pod, TermKind.AFFINITY)
    return bool(sought) and all(_means(term, other) for term in sought)


def _shuns(pod: PodInfo, other: PodInfo) -> bool:
    return any(_means(term, other) for term in _of(pod, TermKind.ANTI_AFFINITY))


def _is_sought(pod: PodInfo, change: Change) -> bool:
    return _seeks(pod, change.new)


def _was_in_the_way(pod: PodInfo, change: Change) -> bool:
    # Kubernetes' hint is narrower: it forgets that the last pod that was sought may have lain
    # where this one could not go. Without it, the first of its kind may go anywhere.
    return _was_shunned(pod, change) or (_seeks(pod, change.old) and _seeks(pod, pod))


def _was_shunned(pod: PodInfo, change: Change) -> bool:
    return _shuns(pod, change.old) or _shuns(change.old, pod)


def _is_moved(pod: PodInfo, change: Change) -> bool:
    old, new = change.old, change.new
    if old.group == new.group and old.terms == new.terms:
        return False
    return _seeks(pod, new) != _seeks(pod, old) or _was_shunned(pod, change)


def _may_hold(pod: PodInfo, change: Change) -> bool:
    if _of(pod, TermKind.ANTI_AFFINITY) or not _of(pod, TermKind.AFFINITY):
        return True
    labels = change.new.metadata.labels
    return any(term.topology_key in labels for term in _of(pod, TermKind.AFFINITY))


def _changed_domain(_pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & Reads.LABELS)


def _moves_namespaces(_pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & Reads.NAMESPACES)
