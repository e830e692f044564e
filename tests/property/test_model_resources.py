"""Laws of requests: more containers never ask for less, and no request ever goes missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from herz.model.objects import (
    Container,
    Pod,
    PodSpec,
    RawQuantity,
    ResourceMap,
    ResourceRequirements,
)
from herz.model.resources import CPU, MEMORY, pod_requests, pod_requests_nonzero

_AMOUNTS: st.SearchStrategy[RawQuantity] = st.sampled_from(
    ["0", "1", "100m", "1500m", "7n", "2Gi", "1e3"]
)
_MAPS: st.SearchStrategy[ResourceMap] = st.dictionaries(
    st.sampled_from([CPU, MEMORY, "example.com/gpu"]), _AMOUNTS, max_size=3
)


@st.composite
def _containers(draw: st.DrawFn) -> Container:
    resources = ResourceRequirements(requests=draw(_MAPS))
    policy = draw(st.sampled_from([None, "Always"]))
    return Container(name="c", resources=resources, restart_policy=policy)


_LISTS = st.lists(_containers(), min_size=1, max_size=3).map(tuple)
_STARTS = st.lists(_containers(), max_size=3).map(tuple)


def _pod(containers: tuple[Container, ...], init: tuple[Container, ...] = ()) -> Pod:
    return Pod(spec=PodSpec(containers=containers, init_containers=init))


@given(_LISTS, _STARTS, _containers())
def test_one_container_more_never_lowers_a_request(
    containers: tuple[Container, ...], init: tuple[Container, ...], more: Container
) -> None:
    before = pod_requests(_pod(containers, init))
    for after in (
        pod_requests(_pod((*containers, more), init)),
        pod_requests(_pod(containers, (*init, more))),
    ):
        assert all(after[name] >= amount for name, amount in before.items())


@given(_LISTS, _STARTS)
def test_order_of_containers_changes_nothing(
    containers: tuple[Container, ...], init: tuple[Container, ...]
) -> None:
    assert pod_requests(_pod(containers, init)) == pod_requests(_pod(containers[::-1], init))


@given(_LISTS, _STARTS)
def test_scoring_never_counts_less_than_is_asked(
    containers: tuple[Container, ...], init: tuple[Container, ...]
) -> None:
    pod = _pod(containers, init)
    asked = pod_requests(pod)
    cpu_milli, memory_bytes = pod_requests_nonzero(pod)
    assert cpu_milli >= asked.get(CPU, 0)
    assert memory_bytes >= asked.get(MEMORY, 0)


@given(_LISTS, _STARTS)
def test_every_resource_asked_for_is_counted(
    containers: tuple[Container, ...], init: tuple[Container, ...]
) -> None:
    names = {name for item in (*containers, *init) for name in item.resources.requests}
    assert set(pod_requests(_pod(containers, init))) == names
