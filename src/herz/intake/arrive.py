"""Step 1, arrive: a pod as the API shows it becomes what the queue and the rules work with.

Everything that is computed from a pod alone is computed here, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from herz.errors import ConfigError
from herz.intake.order.dependencies import AFTER_ANNOTATION, parse_after
from herz.model.objects import Pod
from herz.model.podinfo import Dependency, GpuShare, PodGroupKey, PodInfo
from herz.model.resources import (
    held_by_status,
    host_ports,
    pod_requests,
    pod_requests_nonzero,
    pod_scoring_requests,
)
from herz.model.terms import Term, pod_terms
from herz.model.workload import COSCHEDULING_GROUP_LABEL, group_key
from herz.plugin import PreEnqueue

GPU_COUNT: Final = "herz.dev/gpu-count"
GPU_MILLI: Final = "herz.dev/gpu-milli"
WHOLE_MILLI: Final = 1000
COUNT_MAX: Final = 64
REQUEST_MAX: Final = (1 << 52) + 1
"""A larger request counts as this: it fits on no node, and sums of it stay in an int64."""

_encoder = msgspec.json.Encoder(order="sorted")

Sign = Callable[[PodInfo], bytes]


class Arrivals:
    """Makes PodInfos.

    Args:
        gates: the rules that may keep a pod out of the queue.
        sign: gives a pod's signature.
        order_salt: keys the permutation digest.
        profile: index of the profile that the rules are of.
    """

    def __init__(
        self, gates: Sequence[PreEnqueue], sign: Sign, *, order_salt: bytes, profile: int = 0
    ) -> None:
        self._gates = tuple(gates)
        self._sign = sign
        self._salt = order_salt
        self._profile = profile

    def read(self, pod: Pod, unlisted: tuple[str, ...], known: PodInfo | None = None) -> PodInfo:
        """The pod with all that is computed from it.

        What cannot be understood (a malformed quantity or annotation) gates the pod with the
        reason, so that it is neither placed wrongly nor lost. A pod that has a node is neither
        gated nor signed: it is decided no more.

        Args:
            pod: the object.
            unlisted: top-level spec fields that are not known here.
            known: the same pod as it was read before. A bind and a kubelet's news change little
                of what is read: what is computed from the rest is taken from there.
        """
        is_reread = known is not None and known.profile == self._profile and pod.is_assigned
        if known is not None and is_reread and _is_alike(known.pod, pod):
            return _reread(pod, unlisted, known)
        problems: list[str] = []
        requests, nonzero, scoring = _requests(pod, problems)
        gpu = _gpu(requests, problems)
        after = _after(pod, problems)
        terms, terms_problem = _terms(pod)
        info = PodInfo(
            pod=pod,
            uid=pod.metadata.uid,
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            priority=pod.priority,
            gates=(),
            after=after,
            requests=requests,
            nonzero=nonzero,
            scoring=scoring,
            ports=host_ports(pod),
            gpu=gpu,
            signature=b"",
            digest=_digest(pod, requests, unlisted),
            order_key=self._order_key(pod.metadata.uid),
            tie_key=int.from_bytes(hashlib.sha3_256(pod.metadata.uid.encode()).digest()[:8], "big"),
            group=PodGroupKey(
                pod.metadata.namespace,
                tuple(sorted(pod.metadata.labels.items())),
                pod.is_terminating,
            ),
            terms=terms,
            terms_problem=terms_problem,
            pod_group=_pod_group(pod),
            unlisted=unlisted,
            profile=self._profile,
        )
        if not pod.is_assigned:
            set_once = msgspec.structs.force_setattr
            set_once(info, "gates", self._closed(info, problems))
            set_once(info, "signature", self._sign(info))
        return info

    def _closed(self, info: PodInfo, problems: list[str]) -> tuple[str, ...]:
        verdicts = (gate.admit(info) for gate in self._gates)
        reasons = [reason for verdict in verdicts if verdict for reason in verdict.reasons]
        return tuple(sorted((*problems, *reasons)))

    def _order_key(self, uid: str) -> int:
        keyed = hashlib.sha3_256(self._salt + uid.encode()).digest()
        return int.from_bytes(keyed[8:16], "big")


class ProfiledArrivals:
    """Has each pod read by the rules of the profile that its `spec.schedulerName` chooses.

    Args:
        by_name: by scheduler name.
        other: reads the pods that no profile decides: those of others, on nodes.
    """

    def __init__(self, by_name: Mapping[str, Arrivals], other: Arrivals) -> None:
        self._by_name = dict(by_name)
        self._other = other

    def read(self, pod: Pod, unlisted: tuple[str, ...], known: PodInfo | None = None) -> PodInfo:
        """See `Arrivals.read`."""
        arrivals = self._by_name.get(pod.spec.scheduler_name, self._other)
        return arrivals.read(pod, unlisted, known)


def _is_alike(old: Pod, new: Pod) -> bool:
    """Whether they differ in no more than node, annotations and what is read of neither."""
    if (old.metadata.uid, old.metadata.labels) != (new.metadata.uid, new.metadata.labels):
        return False
    if old.is_terminating != new.is_terminating:
        return False
    if held_by_status(old) != held_by_status(new):
        return False
    before, after = old.spec, new.spec
    if before.node_name != after.node_name:
        before = msgspec.structs.replace(before, node_name=after.node_name)
    return before == after


def _reread(pod: Pod, unlisted: tuple[str, ...], known: PodInfo) -> PodInfo:
    """The pod, which has a node, with what is computed of its node and annotations anew."""
    old, replace = known.pod, msgspec.structs.replace
    is_same = (old.metadata.annotations, old.spec.node_name, known.unlisted) == (
        pod.metadata.annotations,
        pod.spec.node_name,
        unlisted,
    )
    if is_same:
        return replace(known, pod=pod)
    return replace(
        known,
        pod=pod,
        gates=(),
        signature=b"",
        after=_after(pod, []),
        digest=_digest(pod, known.requests, unlisted),
        unlisted=unlisted,
    )


def _requests(
    pod: Pod, problems: list[str]
) -> tuple[dict[str, int], tuple[int, int], tuple[int, int]]:
    try:
        asked = pod_requests(pod)
        nonzero = pod_requests_nonzero(pod)
        scoring = pod_scoring_requests(pod)
    except ConfigError as error:
        problems.append(f"resources: {error.message}")
        return {"pods": 1}, (0, 0), (0, 0)
    asked["pods"] = 1
    requests = {
        name: min(asked[name], REQUEST_MAX)
        for name in sorted(asked)
        if asked[name] > 0 or name in (GPU_MILLI, GPU_COUNT)
    }
    cpu, memory = (min(amount, REQUEST_MAX) for amount in nonzero)
    scored = [min(scoring.get(name, 0), REQUEST_MAX) for name in ("cpu", "memory")]
    return requests, (cpu, memory), (scored[0], scored[1])


def _gpu(requests: dict[str, int], problems: list[str]) -> GpuShare:
    """Takes the shared accelerators out of the requests: they are counted by device."""
    if GPU_MILLI not in requests and GPU_COUNT not in requests:
        return GpuShare()
    milli = requests.pop(GPU_MILLI, WHOLE_MILLI)
    count = requests.pop(GPU_COUNT, 1)
    if not count:
        return GpuShare()
    if not 0 < milli <= WHOLE_MILLI:
        problems.append(f"{GPU_MILLI} is a share of one device, 1 to {WHOLE_MILLI}: got {milli}")
    if count > COUNT_MAX:
        problems.append(f"{GPU_COUNT} is at most {COUNT_MAX}: got {count}")
    return GpuShare(min(count, COUNT_MAX), min(milli, WHOLE_MILLI))


def _after(pod: Pod, problems: list[str]) -> tuple[Dependency, ...]:
    text = pod.metadata.annotations.get(AFTER_ANNOTATION)
    if text is None:
        return ()
    try:
        return parse_after(text, own_name=pod.metadata.name)
    except ConfigError as error:
        problems.append(error.message)
        return ()


def _pod_group(pod: Pod) -> str:
    meta, named = pod.metadata, pod.spec.scheduling_group
    if named is not None:
        return group_key(meta.namespace, named.pod_group_name or "", is_coscheduling=False)
    label = meta.labels.get(COSCHEDULING_GROUP_LABEL, "")
    return group_key(meta.namespace, label, is_coscheduling=True) if label else ""


def _terms(pod: Pod) -> tuple[tuple[Term, ...], str]:
    try:
        return pod_terms(pod), ""
    except ConfigError as error:
        return (), str(error)


def _digest(pod: Pod, requests: dict[str, int], unlisted: tuple[str, ...]) -> bytes:
    """SHA3-384 over what is read of the pod: its identity, metadata, spec and resolved requests."""
    meta = pod.metadata
    read = (
        meta.uid,
        meta.namespace,
        meta.name,
        meta.labels,
        meta.annotations,
        pod.spec,
        requests,
        unlisted,
        pod.is_terminating,
    )
    return hashlib.sha3_384(_encoder.encode(read)).digest()
