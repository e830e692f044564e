"""Required affinity and anti-affinity between pods, at the moment of the decision.

Both ways: what the incoming pod asks for, and what pods that are there forbid it. Worked out pod by
pod from the mirror; `herz.place` counts with columns.
"""

from __future__ import annotations

from herz.model.objects import Node, Pod, PodAffinityTerm
from herz.world.sim.checkers.mirror import Held, Mirror, avoided
from herz.world.sim.checkers.selecting import Matches

Domain = tuple[str, str]
"""A node label and its value."""
_Bearing = tuple[bool, tuple[PodAffinityTerm, ...]]


class NearRules:
    """Judges by the pods that the mirror holds.

    Args:
        mirror: what the machine knows.
        matches: selectors.
    """

    def __init__(self, mirror: Mirror, matches: Matches) -> None:
        self._mirror = mirror
        self._matches = matches

    def look(self, pod: Pod) -> NearView:
        """What the pods that are there mean for this one, on any node."""
        mirror, wants, avoids = self._mirror, wanted(pod), avoided(pod)
        forbidden: dict[Domain, str] = {}
        near: list[set[Domain]] = [set() for _ in wants]
        # Pods of one workload share labels and terms: what they mean is worked out once.
        known: dict[tuple[int, int, str], _Bearing] = {}
        for held in (mirror.held if wants or avoids else mirror.avoiders).values():
            node = mirror.nodes.get(held.node)
            if node is None:
                # Its node is not there: it is in no domain.
                continue
            meta = held.pod.metadata
            key = (id(held.avoids), id(meta.labels), meta.namespace)
            bearing = known.get(key)
            if bearing is None:
                bearing = known[key] = self._bearing(pod, held, wants, avoids)
            is_near, barring = bearing
            for term in barring:
                domain = _domain(term, node)
                if domain is not None:
                    forbidden[domain] = f"required anti-affinity, for {held.pod.key}"
            for term, domains in zip(wants, near, strict=True) if is_near else ():
                domain = _domain(term, node)
                if domain is not None:
                    domains.add(domain)
        is_first = not any(near) and all(self.means(term, pod, pod) for term in wants)
        return NearView(wants, near, forbidden, is_first=is_first)

    def _bearing(
        self,
        pod: Pod,
        held: Held,
        wants: tuple[PodAffinityTerm, ...],
        avoids: tuple[PodAffinityTerm, ...],
    ) -> _Bearing:
        """Whether all wishes mean the pod that is there, and the terms that keep the two apart."""
        other = held.pod
        is_near = bool(wants) and all(self.means(term, pod, other) for term in wants)
        mine = tuple(term for term in avoids if self.means(term, pod, other))
        return is_near, mine + tuple(term for term in held.avoids if self.means(term, other, pod))

    def means(self, term: PodAffinityTerm, owner: Pod, other: Pod) -> bool:
        """Whether the owner's term means the other pod."""
        if not self._matches.of(term.label_selector, other.metadata.labels):
            return False
        namespace = other.metadata.namespace
        if not term.namespaces and term.namespace_selector is None:
            return namespace == owner.metadata.namespace
        if namespace in term.namespaces:
            return True
        return self._matches.of(term.namespace_selector, self._mirror.namespace(namespace))


class NearView:
    """What other pods mean for one pod.

    Args:
        wants: its required affinity.
        near: for each term, the domains with a pod that all terms mean.
        forbidden: the domains where it must not go, and why.
        is_first: nobody whom it wants to be near is there yet, and it wants its own kind.
    """

    def __init__(
        self,
        wants: tuple[PodAffinityTerm, ...],
        near: list[set[Domain]],
        forbidden: dict[Domain, str],
        *,
        is_first: bool,
    ) -> None:
        self._wants = wants
        self._near = near
        self._forbidden = forbidden
        self._is_first = is_first

    def refusal(self, node: Node) -> str:
        """Why the pod must not go to the node; empty when it may."""
        labels = node.metadata.labels
        for (key, value), reason in self._forbidden.items():
            if labels.get(key) == value:
                return f"{reason}, on {key}={value}"
        for term, domains in zip(self._wants, self._near, strict=True):
            domain = _domain(term, node)
            if domain is None or (domain not in domains and not self._is_first):
                return f"required affinity, on {term.topology_key}"
        return ""


def wanted(pod: Pod) -> tuple[PodAffinityTerm, ...]:
    """The pod's required affinity."""
    affinity = pod.spec.affinity
    if affinity is None or affinity.pod_affinity is None:
        return ()
    return affinity.pod_affinity.required


def _domain(term: PodAffinityTerm, node: Node) -> Domain | None:
    value = node.metadata.labels.get(term.topology_key)
    return None if value is None else (term.topology_key, value)
