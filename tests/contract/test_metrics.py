"""What is asked of a Prometheus server, of the real one and of the small one of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from herz.knowledge.sla.classes import DEFAULTS
from herz.model.service_levels import Indicator
from herz.world.prometheus.client import MetricsError, Prometheus, Settings
from herz.world.prometheus.source import Kept, Pod, Source
from tests.support import prometheus

ResultT = TypeVar("ResultT")


@pytest.fixture(scope="module", params=["small", "real"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server; empty: the small one is started in the test's own loop."""
    if request.param == "small":
        yield ""
        return
    if prometheus.missing():
        pytest.skip(prometheus.missing())
    with prometheus.real(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@asynccontextmanager
async def server(url: str, **settings: Any) -> AsyncIterator[Prometheus]:
    async with prometheus.serving() as own:
        found = Prometheus(Settings(url=url or own, **settings))
        try:
            yield found
        finally:
            await found.close()


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    return asyncio.run(work)


def test_instant_query_gives_labels_and_values(url: str) -> None:
    async def asked() -> dict[str, float]:
        async with server(url) as found:
            return {one.labels["node"]: one.value for one in await found.query("herz_test_cpu")}

    assert run(asked()) == {"n0": 2_500, "n1": 7_500.4, "x": 1}


def test_scalar_is_a_series_without_labels(url: str) -> None:
    async def asked() -> list[tuple[dict[str, str], float]]:
        async with server(url) as found:
            return [(one.labels, one.value) for one in await found.query(prometheus.SCALAR)]

    assert run(asked()) == [({}, 0.5)]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("herz_test_nothing", "metrics-absent"),
        (prometheus.OLD, "metrics-absent"),
        ("herz_test_nan", "metrics-nan"),
        (prometheus.BAD_QUERY, "metrics-refused"),
        (prometheus.MATRIX, "metrics-refused"),
    ],
)
def test_what_gives_nothing_to_go_by_has_a_name(url: str, query: str, name: str) -> None:
    async def asked() -> None:
        async with server(url) as found:
            await found.query(query)

    with pytest.raises(MetricsError) as caught:
        run(asked())
    assert caught.value.name == name
    assert caught.value.is_retryable


def test_samples_are_whole_numbers_of_known_nodes(url: str) -> None:
    signals = {
        "cpu_utilisation": "herz_test_cpu",
        "io_utilisation": "herz_test_holes",
        "network_jitter": "herz_test_nothing",
    }

    async def sampled() -> tuple[dict[str, dict[str, int]], Source]:
        async with server(url, signals=signals) as found:
            source = Source(found)
            things = await source.sample({"n0", "n1", "n2"})
            assert {one.status.feature_set for one in things} == {"psi+schedstat"}
            return {one.metadata.name: one.status.signals for one in things}, source

    told, source = run(sampled())
    assert told == {
        "n0": {"cpu_utilisation": 2_500},
        "n1": {"cpu_utilisation": 7_500},
        "n2": {"io_utilisation": 3},
    }
    assert source.counters == {'herz_metrics_problems_total{reason="metrics-absent"}': 1}
    assert list(source.problems) == ["signal network_jitter"]


def test_outcomes_are_judged_by_the_pods_own_series(url: str) -> None:
    pods = [Pod("shop", "web-1", "u1"), Pod("shop", "web-2", "u2"), Pod("shop", "web-3", "u3")]

    async def judged(query: str, name: str = "online") -> list[Kept]:
        spec = DEFAULTS[name]
        async with server(url) as found:
            # A class as an SLAClass object has it: 100 ms, or a share of 99.5 %.
            changed = type(spec)(objective=spec.objective, indicator=Indicator(query=query))
            return await Source(found).outcomes(name, changed, pods)

    assert run(judged("herz_test_p99")) == [
        Kept("u1", is_kept=True, latency_ns=80_000_000),
        Kept("u2", is_kept=False, latency_ns=250_000_000),
    ]
    of_all = run(judged("herz_test_all", "streaming"))
    assert [(one.uid, one.is_kept) for one in of_all] == [("u1", True), ("u2", True), ("u3", True)]
    assert {one.is_kept for one in run(judged("herz_test_all", "batch"))} == {False}
