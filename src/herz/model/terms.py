"""Pod affinity and anti-affinity as compiled terms, whoever's they are.

A term says: pods of these namespaces and labels, within one value of this node label.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from herz.errors import ConfigError
from herz.model.labels import LabelMatcher, Labels, compile_selector
from herz.model.pod import Pod, PodAffinity, PodAffinityTerm


class TermKind(Enum):
    """What a term asks for."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    PREFERRED_AFFINITY = "preferred affinity"
    PREFERRED_ANTI_AFFINITY = "preferred anti-affinity"


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a pod.

    Args:
        kind: what it asks for.
        topology_key: the node label whose values are the domains.
        selector: the labels of the pods that are meant.
        namespaces: the namespaces of these pods, named.
        namespace_selector: and those whose labels match.
        weight: 1 to 100; 0 for required terms.
    """

    kind: TermKind
    topology_key: str
    selector: LabelMatcher
    namespaces: frozenset[str]
    namespace_selector: LabelMatcher
    weight: int = 0

    def matches(self, namespace: str, namespace_labels: Labels, labels: Labels) -> bool:
        """Whether a pod of these labels, in a namespace of those, is meant."""
        is_there = namespace in self.namespaces or self.namespace_selector.matches(namespace_labels)
        return is_there and self.selector.matches(labels)


def pod_terms(pod: Pod) -> tuple[Term, ...]:
    """All terms of a pod: affinity, then anti-affinity, required before preferred.

    Raises:
        ConfigError: a selector is malformed; names its place.
    """
    affinity = pod.spec.affinity
    if affinity is None:
        return ()
    namespace = pod.metadata.namespace
    return (
        *_terms(
            affinity.pod_affinity,
            (TermKind.AFFINITY, TermKind.PREFERRED_AFFINITY),
            namespace,
            "spec.affinity.podAffinity",
        ),
        *_terms(
            affinity.pod_anti_affinity,
            (TermKind.ANTI_AFFINITY, TermKind.PREFERRED_ANTI_AFFINITY),
            namespace,
            "spec.affinity.podAntiAffinity",
        ),
    )


def _terms(
    given: PodAffinity | None, kinds: tuple[TermKind, TermKind], namespace: str, where: str
) -> Iterable[Term]:
    if given is None:
        return
    required, preferred = kinds
    for index, term in enumerate(given.required):
        yield _term(required, term, 0, namespace, f"{where}.required[{index}]")
    for index, weighted in enumerate(given.preferred):
        place = f"{where}.preferred[{index}]"
        yield _term(preferred, weighted.pod_affinity_term, weighted.weight, namespace, place)


def _term(kind: TermKind, term: PodAffinityTerm, weight: int, namespace: str, where: str) -> Term:
    # Neither a list nor a selector means the pod's own namespace; an empty selector means all.
    is_own = not term.namespaces and term.namespace_selector is None
    try:
        return Term(
            kind=kind,
            topology_key=term.topology_key,
            selector=compile_selector(term.label_selector),
            namespaces=frozenset((namespace,) if is_own else term.namespaces),
            namespace_selector=compile_selector(term.namespace_selector),
            weight=weight,
        )
    except ConfigError as error:
        raise error.at(where) from error
