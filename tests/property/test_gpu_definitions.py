"""The packing rules against their definitions, written plainly, on random clusters and mixes."""

from __future__ import annotations

from itertools import product
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz._native import expected_rest
from herz.model.mix import MixEdition, PodShape
from herz.place.packing.loss import CPU_BIN, GPU_BIN, RATE_MAX, SCALE, STOP, LossTables
from herz.place.plugins.gpu_fragmentation import GpuFragmentation, typical_arguments
from herz.place.plugins.herz_pack import ZERO, HerzPack
from tests.unit.place.plugins.gpu_cases import Case, node

MODELS = ("", "A", "B")
SHARES = (50, 110, 300, 500, 810, 1000)

shapes = st.builds(
    PodShape,
    st.integers(0, 20_000),
    st.integers(1, 3),
    st.sampled_from(SHARES),
    st.sampled_from(((), ("A",), ("A", "B"))),
) | st.builds(PodShape, st.integers(0, 20_000), st.just(0), st.just(0))
mixes = st.dictionaries(shapes, st.integers(1, 50), min_size=1, max_size=6)
machines = st.tuples(
    st.integers(1, 24), st.sampled_from(MODELS), st.lists(st.sampled_from((0, *SHARES)), max_size=4)
)
clusters = st.lists(machines, min_size=1, max_size=4)
Free = list[tuple[int, str, list[int]]]


def _case(cluster: Free, *rules: str, mix: dict[PodShape, int]) -> Case:
    nodes = tuple(
        node(f"n{i}", cpu, len(used), model) for i, (cpu, model, used) in enumerate(cluster)
    )
    given = {"GpuFragmentation": typical_arguments(mix.items())}
    case = Case(nodes, *rules, args=given)
    for i, (_, _, used) in enumerate(cluster):
        for device, milli in enumerate(used):
            if milli:
                case.put(case.pod(f"u{i}-{device}", milli, cpu="0"), f"n{i}", device)
    return case


def _allowed(shape: PodShape, model: str) -> bool:
    return not shape.models or model in shape.models


def _lost(free: list[int], cpu: int, model: str, mix: dict[PodShape, int]) -> int:
    lost = 0
    for shape, count in mix.items():
        is_served = (
            shape.gpu_count > 0
            and _allowed(shape, model)
            and cpu >= shape.cpu_milli
            and sum(left >= shape.gpu_milli for left in free) >= shape.gpu_count
        )
        lost += count * sum(left for left in free if not is_served or left < shape.gpu_milli)
    return lost


@pytest.mark.slow
@given(clusters, mixes, st.sampled_from(SHARES), st.integers(0, 3), st.integers(0, 8))
@settings(max_examples=60)
def test_fgd_scores_the_drop_of_fragmentation(
    cluster: Free, mix: dict[PodShape, int], milli: int, count: int, cores: int
) -> None:
    case = _case(cluster, "GpuFragmentation", "NodeResourcesFit", "GpuShare", mix=mix)
    rule = case.rules[0]
    assert isinstance(rule, GpuFragmentation)
    pod = case.pod("p", milli if count else 0, count, cpu=str(cores))
    view = case.cluster.view
    points = rule.score(rule.prepare_score(pod, view), view, slice(None))
    typical = {
        PodShape(one["cpuMilli"], one["gpuCount"], one["gpuMilli"], tuple(one["models"])): one[
            "count"
        ]
        for one in typical_arguments(mix.items())["typical"]
    }
    thresholds = rule._typical._thresholds.tolist() if rule._typical else []
    for i, (cpu, model, used) in enumerate(cluster):
        free = [1000 - milli for milli in used]
        enough = sorted((left, d) for d, left in enumerate(free) if left >= milli)
        if cpu < cores or len(enough) < count:
            continue
        tries = [[d] for _, d in enough] if count == 1 else [[d for _, d in enough[:count]]]
        best = []
        for chosen in tries:
            after = [left - milli * (d in chosen) for d, left in enumerate(free)]
            drop = _lost(free, cpu * 1000, model, typical)
            drop -= _lost(after, (cpu - cores) * 1000, model, typical)
            best.append((-sum(drop >= least for least in thresholds), sorted(chosen)))
        expected, devices = min(best)
        assert points[case.row(f"n{i}")] == -expected
        if count:
            assert rule.choose(pod, view, case.row(f"n{i}")) == tuple(devices)


def _device_table(edition: MixEdition, model: str) -> list[int]:
    """T by the formulas of the docs."""
    pods = [(shape, count) for shape, count in edition.shapes if shape.gpu_count]
    asked = sum(n * s.gpu_count * s.gpu_milli for s, n in pods)
    capacity = 1000 * sum(n for _, _, n in edition.free)
    grid = gcd(1000, *(s.gpu_milli for s, _ in pods))
    weights: dict[tuple[int, tuple[str, ...]], int] = {}
    for shape, count in pods:
        # Kinds are the models that nodes have: what a pod names besides is no difference.
        known = tuple(name for name in shape.models if name in {m for m, _, _ in edition.free})
        key = (shape.gpu_milli, known if shape.models else ("*",))
        weights[key] = weights.get(key, 0) + count * shape.gpu_count
    steps: dict[int, int] = {}
    for (milli, models), weight in weights.items():
        rivals = sum(
            n
            for name, left, n in edition.free
            if ("*" in models or name in models)
            and left >= milli
            and (left < 1000 or milli == 1000)
        )
        rate = min(RATE_MAX, STOP * weight * capacity // (max(1, rivals) * asked))
        if "*" in models or model in models:
            steps[milli] = steps.get(milli, 0) + rate
    rest = [0] * 1001
    for r in range(0, 1001, grid):
        fits = [(milli, rate) for milli, rate in steps.items() if milli <= r]
        total = STOP * r * SCALE + sum(rate * rest[r - milli] for milli, rate in fits)
        rest[r] = total // (STOP + sum(rate for _, rate in fits))
    return [rest[r - r % grid] + r % grid * SCALE for r in range(1001)]


@pytest.mark.slow
@given(clusters, mixes)
@settings(max_examples=40)
def test_table_t_is_its_recurrence(cluster: Free, mix: dict[PodShape, int]) -> None:
    edition = _edition(cluster, mix)
    if not any(shape.gpu_count for shape in mix) or not edition.free:
        return
    tables = LossTables(edition)
    for model in {model for model, _, _ in edition.free}:
        found = tables._device[tables.kinds.number(model)].tolist()
        assert found == _device_table(edition, model)


@pytest.mark.slow
@given(clusters, mixes)
@settings(max_examples=30)
def test_table_e_is_its_recurrence(cluster: Free, mix: dict[PodShape, int]) -> None:
    edition = _edition(cluster, mix)
    pods = [(shape, count) for shape, count in mix.items() if shape.gpu_count]
    if not pods or not edition.free:
        return
    tables = LossTables(edition)
    stop = max(1, 16 * sum(count for _, count in pods) // 20)
    for model in {model for model, _, _ in edition.free}:
        found = tables._node[tables._table_of[tables.kinds.number(model)]]
        steps = [
            (
                max(1, (s.gpu_milli * s.gpu_count + 25) // GPU_BIN),
                -(-s.cpu_milli // CPU_BIN),
                16 * n,
            )
            for s, n in pods
            if _allowed(s, model)
        ]
        bound = np.zeros(found.shape, np.int64)
        free = np.zeros(found.shape[0], np.int64)
        for r, c in product(*map(range, found.shape)):
            some = [(g, k, w) for g, k, w in steps if g <= r]
            full = stop * r * GPU_BIN * SCALE
            total = full + sum(w * int(free[r - g]) for g, _, w in some)
            free[r] = total // (stop + sum(w for _, _, w in some))
            some = [(g, k, w) for g, k, w in some if k <= c]
            total = full + sum(w * int(bound[r - g, c - k]) for g, k, w in some)
            bound[r, c] = total // (stop + sum(w for _, _, w in some))
        assert (found == np.maximum(0, bound - free[:, None])).all()


def _edition(cluster: Free, mix: dict[PodShape, int]) -> MixEdition:
    case = _case(cluster, "GpuShare", "HerzPack", mix=mix)
    case.see(16)
    edition = case.cluster.view.mix
    assert edition is not None
    return MixEdition(
        1, tuple(sorted(mix.items())), edition.free, edition.devices_max, edition.cpu_milli_max, b""
    )


@pytest.mark.slow
@given(clusters, mixes, st.sampled_from(SHARES), st.integers(0, 3), st.integers(0, 8))
@settings(max_examples=60)
def test_herz_pack_scores_the_drop_of_the_expected_loss(
    cluster: Free, mix: dict[PodShape, int], milli: int, count: int, cores: int
) -> None:
    case = _case(cluster, "HerzPack", "GpuShare", mix=mix)
    for shape in mix:
        models = shape.models
        case.see(8, shape.gpu_milli, shape.gpu_count, cpu=f"{shape.cpu_milli}m", models=models)
    case.see(8, 500)
    rule, view = case.rules[0], case.cluster.view
    assert isinstance(rule, HerzPack)
    edition = view.mix
    assert edition is not None
    tables = LossTables(edition)
    pod = case.pod("p", milli if count else 0, count, cpu=str(cores))
    points = rule.score(rule.prepare_score(pod, view), view, slice(None))

    def loss(free: list[int], cpu: int, kind: int) -> int:
        on_node = tables.node_loss(*(np.array([x]) for x in (kind, sum(free), cpu)))
        return sum(int(tables._device[kind, left]) for left in free) + int(on_node[0])

    for i, (cpu, model, used) in enumerate(cluster):
        free = [1000 - milli for milli in used]
        if cpu < cores or sum(left >= milli for left in free) < count:
            continue
        row, kind = case.row(f"n{i}"), tables.kinds.number(model)
        devices = rule.choose(pod, view, row) if count else ()
        after = [left - milli * (d in devices) for d, left in enumerate(free)]
        assert len(devices) == count
        assert min(after, default=0) >= 0
        gain = loss(free, 1000 * cpu, kind) - loss(after, 1000 * (cpu - cores), kind)
        assert points[row] == ZERO + gain
        assert 0 <= points[row] <= HerzPack.points_max


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 99), st.integers(0, 10**6))
def test_without_steps_all_of_it_rests(height: int, width: int, stop: int, worth: int) -> None:
    rest = expected_rest(height, width, stop, worth, [])
    assert (rest == worth * np.arange(height)[:, None]).all()
