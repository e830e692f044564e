"""The integer model: what it answers, that it is xgboost's answer, and what a file may hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.errors import ConfigError
from herz.knowledge.sla.features import MISSING
from herz.knowledge.sla.forest import MARGIN
from herz.knowledge.sla.learning.training import fit_parts, forest_of, line_odds, ratios_learned
from herz.knowledge.sla.model import ABSTAINS, Model, load, strongest
from tests.support.promises import OBJECTIVE, dataset, dataset_of, model_of, small_model

pytest.importorskip("xgboost", reason="the extra `sla` is not installed")

MODEL = small_model()
DATA = dataset()
RATIO = MODEL.ratio_of(OBJECTIVE.target_ns)


def test_probabilities_tell_kept_from_broken_promises() -> None:
    found = MODEL.predict(DATA.rows, RATIO)
    kept = DATA.kept(OBJECTIVE.target_ns)
    assert found.dtype == np.int64
    assert found[kept].mean() > 8000
    assert found[~kept].mean() < 4000


@pytest.mark.parametrize("kind", ["latency", "delay", "completion"])
def test_answer_is_within_a_basis_point_of_xgboosts_own(kind: str) -> None:
    # The same trees twice: as xgboost's own floats, and as the integers that decide.
    timed = (DATA, OBJECTIVE, MODEL)
    data, objective, model = timed if kind == "latency" else (*dataset_of(kind), model_of(kind))
    assert model.kind == kind
    quiet = model.body.manifest.quiet_ns
    rounds = len(model.body.forest.roots)
    fitted = fit_parts(data, ratios_learned(objective, quiet), quiet, rounds)
    assert forest_of(fitted.booster, rounds) == model.body.forest
    holed = data.rows.copy()
    holed[::3, 4] = MISSING
    for rows in (data.rows, holed):
        middle = model.ratio_of(objective.target_ns)
        for ratio in (model.targets[0], middle, model.targets[1]):
            ratios = np.full(len(rows), ratio)
            theirs = fitted.margins(rows, ratios, rounds)
            ours = model.margins(rows, ratio)
            np.testing.assert_allclose(ours / MARGIN, theirs, atol=rounds / MARGIN + 1e-5)
            table = model.body.calibration
            exact = np.rint(theirs * MARGIN).astype(np.int64)
            assert np.abs(table.probabilities(ours) - table.probabilities(exact)).max() <= 1
            _same_ranks(ours, theirs)


def test_completion_has_one_target_and_tells_who_completes() -> None:
    (data, objective), model = dataset_of("completion"), model_of("completion")
    assert model.targets == (0, 0)
    assert model.ratio_of(objective.target_ns) == 0
    found, is_known = model.decide(data.rows, 0)
    kept = data.kept(objective.target_ns)
    assert found[kept].mean() > 8000
    assert found[~kept].mean() < 4000
    assert is_known.mean() > 0.9
    # Nothing was learned of the target: the forest never asks for it.
    assert len(model.features) not in model.body.forest.feature


def _same_ranks(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> None:
    """Wherever xgboost tells two rows apart by more than rounding, so do we, and alike."""
    order = np.argsort(theirs, kind="stable")
    apart = np.diff(theirs[order]) > 1e-4
    assert apart.sum() > 20
    assert (np.diff(ours[order])[apart] > 0).all()


@settings(max_examples=50)
@given(st.data())
def test_probability_never_falls_as_the_target_rises(data: st.DataObject) -> None:
    width = len(MODEL.features)
    values = st.integers(-20_000, 20_000) | st.just(MISSING)
    row = np.array([data.draw(st.lists(values, min_size=width, max_size=width))], np.int64)
    low, high = MODEL.targets
    one, two = sorted(data.draw(st.integers(low - 9, high + 9)) for _ in range(2))
    assert MODEL.margins(row, one) <= MODEL.margins(row, two)
    assert MODEL.decide(row, one)[0] <= MODEL.decide(row, two)[0]


def test_contributions_add_up_to_the_margin() -> None:
    for row in DATA.rows[:20]:
        parts = MODEL.contributions(row, RATIO)
        (margin,) = MODEL.margins(row[None], RATIO)
        assert abs(sum(parts.values()) - margin) <= len(parts)
    names = [name for name, _ in strongest(parts)]
    assert len(names) == 3
    assert all(abs(parts[names[0]]) >= abs(part) for n, part in parts.items() if n != "base")


@settings(max_examples=30)
@given(st.data())
def test_native_forest_goes_the_way_of_each_row(data: st.DataObject) -> None:
    # The way through the trees, node by node in Python, is the definition.
    body = MODEL.body
    width, scope = len(MODEL.features), body.scope
    near = st.integers(-3000, 9000) | st.just(MISSING) | st.integers(-(2**63), 2**63 - 1)
    count = data.draw(st.sampled_from([1, 127, 129]))
    rows = np.resize(DATA.rows, (count, width))
    for _ in range(20):
        rows[data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, width - 1))] = (
            data.draw(near)
        )
    sums, known = MODEL._forest.answer(rows, RATIO)
    clipped = scope.clipped(rows)
    strict, required = list(scope.given), list(scope.required)
    for at in range(0, count, 16):
        way = body.forest.path(np.append(clipped[at], RATIO))
        assert sums[at] == body.forest.expected + sum(change for _, change in way)
        row = rows[at]
        there = row != MISSING
        inside = (row >= scope.lows) & (row <= scope.highs)
        expected = (
            there[required].all()
            and (inside | ~there)[strict].all()
            and scope.beyond(row[None])[0] <= scope.reach
        )
        assert known[at] == expected
    # So are the line and the table beside it.
    margins = sums + body.line.margins(MODEL._anchors(rows), RATIO)
    probability, seen = MODEL._forest.share(rows, RATIO)
    assert (probability == body.calibration.probabilities(margins)).all()
    assert (seen == known).all()


def test_native_forest_takes_whole_rows_one_after_the_other() -> None:
    rows = np.asfortranarray(DATA.rows)
    assert (MODEL.predict(rows, RATIO) == MODEL.predict(DATA.rows, RATIO)).all()
    with pytest.raises(ValueError, match="one after the other"):
        MODEL._forest.share(rows, RATIO)
    with pytest.raises(ValueError, match="width"):
        MODEL._forest.answer(rows[:, 1:], RATIO)


def test_model_abstains_beyond_what_it_has_seen() -> None:
    row = DATA.rows[:1].copy()
    assert MODEL.predict(row, RATIO) != ABSTAINS
    assert MODEL.predict(row, MODEL.targets[1] + 1) == ABSTAINS
    assert MODEL.predict(row, MODEL.targets[0] - 1) == ABSTAINS
    for change in ({"probe_p99": MISSING}, {"memory_read": 10**6}):
        other = row.copy()
        for name, value in change.items():
            other[0, [spec.name for spec in MODEL.features].index(name)] = value
        assert MODEL.predict(other, RATIO) == ABSTAINS
        (probability,), (is_known,) = MODEL.decide(other, RATIO)
        assert not is_known
        assert probability <= MODEL.body.manifest.base_rate


def test_missing_values_of_other_features_are_answered() -> None:
    row = DATA.rows[:1].copy()
    row[0, 4:10] = MISSING
    assert 0 <= MODEL.predict(row, RATIO)[0] <= 10_000


# ---- the file -------------------------------------------------------------------------------


def test_file_gives_the_same_model() -> None:
    data = MODEL.dump()
    again = load(data)
    assert again.dump() == data
    assert again.digest == MODEL.digest
    assert MODEL.digest.startswith("sha256:")
    assert (again.predict(DATA.rows, RATIO) == MODEL.predict(DATA.rows, RATIO)).all()


def _changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file after a change, with a digest that fits it."""
    whole = json.loads(MODEL.dump())
    change(whole["body"])
    # Raw text of the body: the digest must be of these very bytes.
    body = msgspec.json.encode(whole["body"])
    whole["digest"] = "sha256:" + hashlib.sha256(body).hexdigest()
    return msgspec.json.encode(whole)


BAD: dict[str, Callable[[bytes], bytes]] = {
    "not JSON": lambda data: data[: len(data) // 2],
    "not a model of a promise": lambda data: b"{}",
    "another version": lambda data: data.replace(b'"version":1', b'"version":2', 1),
    "corrupt": lambda data: data.replace(b'"reach":', b'"reach":NaN,"x":', 1),
    "changed after it was written": lambda data: data.replace(b'"base_rate":', b'"base_rate":1', 1),
}


@pytest.mark.parametrize("problem", BAD)
def test_file_that_is_no_model_is_refused(problem: str) -> None:
    with pytest.raises(ConfigError, match="not JSON|" + problem) as caught:
        load(BAD[problem](MODEL.dump()))
    assert caught.value.fix


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            body = body[part]  # type: ignore[index]
        body[last] = value  # type: ignore[index]

    return change


WRONG = [
    ("corrupt", _set("line.bias", 1.5)),
    ("corrupt", _set("surprise", 1)),
    ("no node of a tree", _set("forest.left.0", 0)),
    ("no node of a tree", _set("forest.feature.0", 99)),
    ("differ in length", _set("forest.value", [])),
    ("a root that is no node", _set("forest.roots", [-1])),
    ("no table", _set("calibration.knots", [5, 4])),
    ("a column that is no feature", _set("scope.required", [99])),
    ("an anchor that is not required", _set("scope.required", [])),
    ("a feature without a range", _set("scope.lows", [])),
    ("ends before it starts", _set("scope.lows.0", 10**6)),
    ("out of range", _set("line.bias", 1 << 62)),
    ("odds that fall", _set("line.ratio", -1)),
    ("no base rate", _set("manifest.base_rate", -1)),
    ("no quiet indicator", _set("manifest.quiet_ns", 0)),
    ("a reach below zero", _set("scope.reach", -1)),
    ("without quanta", _set("features.0.per_unit", 0)),
    ("two features of one name", _set("features.0.name", "replicas")),
]


@pytest.mark.parametrize(("problem", "change"), WRONG, ids=[problem for problem, _ in WRONG])
def test_parts_that_do_not_fit_are_refused(
    problem: str, change: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(_changed(change))


def test_every_flipped_bit_of_a_file_is_seen() -> None:
    data = MODEL.dump().rstrip(b"\n")
    for at in range(0, len(data), len(data) // 200):
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(ConfigError):
            load(bytes(broken))


def test_rows_of_other_features_are_refused() -> None:
    with pytest.raises(ConfigError, match="rows of other features"):
        MODEL.predict(DATA.rows[:, 1:], RATIO)
    with pytest.raises(ConfigError, match="rows of other features"):
        MODEL.predict(DATA.rows.astype(np.float64), RATIO)


def test_models_of_the_same_rows_are_the_same_bytes() -> None:
    fresh = small_model.__wrapped__("counters+probe")
    assert fresh.dump() == MODEL.dump()


def test_forest_that_falls_with_the_target_is_refused() -> None:
    # The first question about the target: its sides swapped.
    forest = MODEL.body.forest
    column = len(MODEL.features)
    node = next(
        at
        for at, feature in enumerate(forest.feature)
        if feature == column and forest.value[forest.left[at]] < forest.value[forest.right[at]]
    )

    def swap(body: dict[str, Any]) -> None:
        left, right = body["forest"]["left"], body["forest"]["right"]
        left[node], right[node] = right[node], left[node]

    with pytest.raises(ConfigError, match="odds that fall as the target rises"):
        load(_changed(swap))


def test_line_is_the_same_in_training_and_in_deciding() -> None:
    line = MODEL.body.line
    ratios = np.full(len(DATA), RATIO)
    anchors = [DATA.rows[:, column] for column, _ in line.weights]
    assert (line_odds(line, DATA.rows, ratios) * MARGIN == line.margins(anchors, RATIO)).all()


def test_models_are_values() -> None:
    assert isinstance(Model(MODEL.body), Model)
    with pytest.raises(AttributeError):
        MODEL.body.manifest.rows = 1  # type: ignore[misc]
