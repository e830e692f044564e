"""A model of a promise over all nodes, beside xgboost's own prediction on one thread.

    python -m bench.micro.bench_sla_model [MODEL]

Without a model's file it learns one of made-up load tests. All take turns in one run; told are
the median of all turns and the ratio. The rows lie within the model's ranges, drawn from a seed.

Before a rule asks, it makes a service's rows of the nodes' states, which is told besides. Two
floors show what the machine allows: to read the rows' numbers once, and to compare 16 bits for
each row and question as memcmp does in the first cache.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import numpy as np
import xgboost

from herz.knowledge.sla.features import MISSING
from herz.knowledge.sla.forest import LEAF, MARGIN
from herz.knowledge.sla.model import Model, load
from herz.knowledge.sla.profiles import PRIOR
from herz.knowledge.sla.state import FEATURES, SERVICE, STRAINS, with_service
from tests.support.promises import small_model

NODES = 5000
CHANGED = NODES // 100
TURNS = 200
BYTES = 12 << 10
"""Two blocks of them fit the first cache."""


def main() -> None:
    """Print one line a measurement."""
    data = Path(sys.argv[1]).read_bytes() if sys.argv[1:] else small_model().dump()
    model = load(data)
    chance = np.random.Generator(np.random.PCG64(0))
    scope = model.body.scope
    rows = chance.integers(scope.lows, np.array(scope.highs) + 1, (NODES, len(scope.lows)))
    ratio = (model.targets[0] + model.targets[1]) // 2
    booster = as_xgboost(model)
    floats = np.column_stack([rows, np.full(NODES, ratio)]).astype(np.float32)
    check_same(model, rows, ratio, booster, floats)
    forest = model.body.forest
    trees, questions = len(forest.roots), sum(column != LEAF for column in forest.feature)
    print(
        f"{len(data) / 1e3:.0f} kB: {trees} trees, {questions} questions, "
        f"{len(forest.feature) - questions} leaves, {len(model.features)} features; {NODES} nodes"
    )
    few, few_floats = np.ascontiguousarray(rows[:CHANGED]), floats[:CHANGED].copy()
    states = chance.integers(0, 10_000, (len(FEATURES) - len(STRAINS) - len(SERVICE), NODES)).T
    block = bytes(range(256)) * (BYTES // 256)
    other, blocks = bytearray(block), 2 * NODES * questions // BYTES
    times = in_turn(
        {
            "xgboost, all": lambda: booster.inplace_predict(floats, predict_type="margin"),
            "herz, all": lambda: model.predict(rows, ratio),
            "xgboost, 1 %": lambda: booster.inplace_predict(few_floats, predict_type="margin"),
            "herz, 1 %": lambda: model.predict(few, ratio),
            "rows made, all": lambda: with_service(states, PRIOR),
            "floor, read": rows.max,
            "floor, compare": lambda: [block == other for _ in range(blocks)],
        }
    )
    for name, spent in times.items():
        each = median(spent) / trees / (CHANGED if "%" in name else NODES)
        shown = f"{median(spent) / 1e6:8.3f} ms  (best {min(spent) / 1e6:.3f})"
        print(f"{name:14} {shown}  {each:7.3f} ns a row and tree")
    for share in ("all", "1 %"):
        pairs = zip(times[f"xgboost, {share}"], times[f"herz, {share}"], strict=True)
        print(f"herz is {median(a / b for a, b in pairs):.1f} times as fast, {share}")


def in_turn(work: dict[str, Callable[[], object]]) -> dict[str, list[int]]:
    """Nanoseconds of each, turn by turn."""
    found: dict[str, list[int]] = {name: [] for name in work}
    for _ in range(TURNS):
        for name, act in work.items():
            begun = perf_counter_ns()
            act()
            found[name].append(perf_counter_ns() - begun)
    return found


def as_xgboost(model: Model) -> xgboost.Booster:
    """The same trees for xgboost, on one thread."""
    forest = model.body.forest
    width = len(model.features) + 1
    # A booster of the right shape, whose trees are then replaced by the model's.
    blank = xgboost.DMatrix(np.zeros((2, width), np.float32), label=np.array([0.0, 1.0]), nthread=1)
    settings = {"objective": "binary:logistic", "base_score": 0.5, "max_depth": 1, "nthread": 1}

    whole = json.loads(bytes(xgboost.train(settings, blank, 1).save_raw("json")))
    booster = whole["learner"]["gradient_booster"]["model"]
    booster["trees"] = [_tree(model, at) for at in range(len(forest.roots))]
    booster["tree_info"] = [0] * len(forest.roots)
    booster["iteration_indptr"] = list(range(len(forest.roots) + 1))
    booster["gbtree_model_param"]["num_trees"] = str(len(forest.roots))
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        Path(file.name).write_text(json.dumps(whole), encoding="utf-8")
        made = xgboost.Booster({"nthread": 1})
        made.load_model(file.name)
    made.set_param({"nthread": 1})
    return made


def _tree(model: Model, number: int) -> dict[str, object]:
    """One tree in xgboost's JSON."""
    forest = model.body.forest
    start = forest.roots[number]
    end = (*forest.roots, len(forest.feature))[number + 1]
    nodes = range(start, end)
    is_leaf = [forest.feature[node] == LEAF for node in nodes]
    parents = [2**31 - 1] * len(nodes)
    for node in nodes:
        for below in (forest.left[node], forest.right[node]):
            if below != node:
                parents[below - start] = node - start

    def child(node: int, to: int) -> int:
        return -1 if is_leaf[node - start] else to - start

    size = len(nodes)
    return {
        "base_weights": [0.0] * size,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": [forest.missing_left[node] for node in nodes],
        "id": number,
        "left_children": [child(node, forest.left[node]) for node in nodes],
        "loss_changes": [0.0] * size,
        "parents": parents,
        "right_children": [child(node, forest.right[node]) for node in nodes],
        "split_conditions": [
            forest.value[node] / MARGIN if is_leaf[node - start] else float(forest.threshold[node])
            for node in nodes
        ],
        "split_indices": [max(0, forest.feature[node]) for node in nodes],
        "split_type": [0] * size,
        "sum_hessian": [1.0] * size,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(len(model.features) + 1),
            "num_nodes": str(size),
            "size_leaf_vector": "1",
        },
    }


def check_same(
    model: Model,
    rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    ratio: int,
    booster: xgboost.Booster,
    floats: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> None:
    """Both answer the same: what is measured is the same work."""
    theirs = booster.inplace_predict(floats, predict_type="margin")
    column = [rows[:, at] for at, _ in model.body.line.weights]
    ours = (model.margins(rows, ratio) - model.body.line.margins(column, ratio)) / MARGIN
    assert not (rows == MISSING).any()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


if __name__ == "__main__":
    main()
