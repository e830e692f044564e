"""Simple predictors that a model is compared with, trained on the same rows.

`load_only` reads the offered load; `logistic` is the regression on all that was measured, as it
is, and `logistic_probe` on that and the probe's own indicator; `logistic_features` reads the
model's features instead. `probe_p99_alone` ranks by the probe's indicator, untrained: training
serves it for a probability alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from herz.errors import ConfigError
from herz.knowledge.sla.features import MISSING, log_of
from herz.knowledge.sla.learning.dataset import Dataset, Floats, Objective
from herz.knowledge.sla.learning.logistic import Logistic, fit, sigmoid
from herz.knowledge.sla.model import Peer

MICRO: Final = 1_000_000
PROBE: Final = "probe indicator"
LOAD: Final = "offered load"
UNTRAINED: Final = "probe_p99_alone"
"""It ranks by the probe's indicator as it is."""


def train_peers(data: Dataset, objective: Objective, shares: Floats) -> tuple[Peer, ...]:
    """All of them, for the promise at its target; without a probe, those that need none."""
    labels = data.kept(objective.target_ns).astype(np.float64)
    inputs = {
        "load_only": (LOAD,),
        "logistic": data.plain_names,
        UNTRAINED: (PROBE,),
        "logistic_probe": (*data.plain_names, PROBE),
        "logistic_features": tuple(spec.name for spec in data.specs),
    }
    return tuple(
        _as_peer(name, chosen, fit(_inputs(data, chosen), labels, shares))
        for name, chosen in inputs.items()
        if PROBE not in chosen or data.probe_ns.any()
    )


def chances(peer: Peer, data: Dataset) -> Floats:
    """What the peer thinks of each row: the probability that the promise is kept."""
    found = Logistic(*map(_floats, (peer.means, peer.spreads, peer.weights)))
    return sigmoid(found.odds(_inputs(data, peer.inputs)))


def ranks(peer: Peer, data: Dataset) -> Floats:
    """What the peer ranks the rows by, the most promising highest."""
    if peer.name == UNTRAINED:
        return -data.probe_ns.astype(np.float64)
    return chances(peer, data)


def _floats(micro: tuple[int, ...]) -> Floats:
    return np.array(micro, np.float64) / MICRO


def _as_peer(name: str, inputs: tuple[str, ...], found: Logistic) -> Peer:
    parts = (found.means, found.spreads, found.weights)
    means, spreads, weights = (tuple(round(float(x) * MICRO) for x in part) for part in parts)
    return Peer(name, inputs, means, tuple(max(1, each) for each in spreads), weights)


def _inputs(data: Dataset, names: tuple[str, ...]) -> Floats:
    """The named inputs as columns; what is missing is NaN.

    Raises:
        ConfigError: the data lacks one.
    """
    at = {spec.name: column for column, spec in enumerate(data.specs)}
    plain = {name: column for column, name in enumerate(data.plain_names)}
    columns: list[Floats] = []
    for name in names:
        if name == LOAD:
            columns.append(data.load.astype(np.float64))
        elif name == PROBE:
            logs = [log_of(int(each)) if each > 0 else np.nan for each in data.probe_ns]
            columns.append(np.array(logs, np.float64))
        elif name in plain:
            columns.append(data.plain[:, plain[name]])
        elif name not in at:
            fix = "give the columns of the data that the model was trained on"
            raise ConfigError("a column is missing", where="data", value=name, fix=fix)
        else:
            values = data.rows[:, at[name]]
            columns.append(np.where(values == MISSING, np.nan, values.astype(np.float64)))
    return np.column_stack(columns)
