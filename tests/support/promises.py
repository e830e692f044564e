"""Made-up load tests of a service under interference, in the form of `nginx-interference`.

The latency follows from how busy the service's own cores are, and from chance drawn from a seed:
nothing here was measured.
"""

from __future__ import annotations

import csv
import io
import math
import random
from dataclasses import replace
from functools import cache

import numpy as np

from herz.knowledge.sla.learning.dataset import (
    DONE_NS,
    FAILED_NS,
    Dataset,
    Objective,
    parse_objective,
)
from herz.knowledge.sla.learning.interference import read_interference
from herz.knowledge.sla.learning.training import train
from herz.knowledge.sla.model import Model

OBJECTIVE: Objective = parse_objective("p99_ms<=1")
KINDS = ("Baseline0", "1_iBench_CPU_pod", "3_iBench_CPU_pods", "2_iBench_memBW_pods", "1_CPU_1_L3")
LOADS = (100, 500, 1000, 2000)
_PRESSURE = (0.0, 0.4, 2.0, 1.2, 1.0)


def interference_rows(sessions: int = 6, seed: int = 0) -> list[dict[str, str]]:
    """Runs of some sessions, each with every kind of interference at every load."""
    chance = random.Random(seed)
    rows = []
    for session in range(sessions):
        for kind, pressure in enumerate(_PRESSURE):
            felt = pressure * chance.uniform(0.5, 1.6)
            is_near = chance.random() < 0.7  # else the interference sits on the other cores
            for load in LOADS:
                rows.append(_run(session, kind, load, felt, chance, is_near=is_near))
    return rows


def as_csv(rows: list[dict[str, str]]) -> str:
    """The rows as a file."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@cache
def dataset(feature_set: str = "counters+probe", sessions: int = 6, seed: int = 0) -> Dataset:
    """Their outcomes."""
    text = as_csv(interference_rows(sessions, seed))
    return read_interference(text, "made-up.csv", OBJECTIVE, feature_set=feature_set)


@cache
def small_model(feature_set: str = "counters+probe") -> Model:
    """A model of them."""
    return train(dataset(feature_set), OBJECTIVE)


@cache
def dataset_of(kind: str) -> tuple[Dataset, Objective]:
    """The same states, as outcomes of another kind of promise: `delay` or `completion`."""
    data = dataset("counters")
    if kind == "delay":
        return data, parse_objective("delay_p99_ms<=1")
    done = np.where(data.kept(OBJECTIVE.target_ns), DONE_NS, FAILED_NS)
    ones = np.full(len(data), DONE_NS)
    promise = parse_objective("completion>=0.995")
    return replace(data, latency_ns=done, quiet_ns=ones, probe_ns=0 * ones), promise


@cache
def model_of(kind: str) -> Model:
    """A model of them."""
    return train(*dataset_of(kind))


def _run(
    session: int, kind: int, load: int, felt: float, chance: random.Random, *, is_near: bool
) -> dict[str, str]:
    near, far = (felt, 0.1 * felt) if is_near else (0.1 * felt, felt)
    latency = 0.3 * math.exp(0.9 * near + load / 5000 + chance.gauss(0, 0.1))
    row = {
        "FolderID": f"Made_V{session:02d}",
        "Replicas": str(1 + session % 3),
        "Interference_Name": KINDS[kind],
        "Interference_ID": str(kind),
        "Given_RPS": str(load),
        "Errors": "0",
        "P50_Latency": f"{latency / 3:.3f}",
        "P90_Latency": f"{latency / 2:.3f}",
        "P99_Latency": f"{latency:.3f}",
    }
    for core in range(8):
        here = near if core >= 3 else far
        row[f"mean_Core{core}_IPC"] = f"{0.6 + 0.3 * here + chance.gauss(0, 0.03):.6f}"
        row[f"mean_Core{core}_C0res"] = f"{0.5 + 2 * here + load / 4000 + chance.random():.6f}"
        row[f"mean_Core{core}_C1res"] = f"{80 - here:.6f}"
        row[f"mean_Core{core}_L2MISS"] = f"{0.1 + 0.1 * here:.6f}"
        row[f"mean_Core{core}_L3MISS"] = f"{0.02 + 0.05 * here:.6f}"
    for name in ("IPC", "READ", "WRITE", "L2MISS", "L3MISS"):
        row[f"mean_System_{name}"] = f"{1 + felt + chance.gauss(0, 0.05):.6f}"
    return row
