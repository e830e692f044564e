"""A model made by hand, for tests of what asks it: log-odds fall with what loads a node."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from herz.knowledge.sla.calibration import platt
from herz.knowledge.sla.forest import Forest
from herz.knowledge.sla.model import Body, Line, Manifest, Model, Scope
from herz.knowledge.sla.state import ANCHORS, FEATURES, NAMES
from herz.model.decode import convert
from herz.model.objects import NodeSignals, ServiceProfile

STEEP = (1 << 36) // 500
"""A unit of log-odds for 500 basis points of expected load."""


def made_model(**changes: Any) -> Model:
    """P is 0.5 where expected memory bandwidth is 5,000 basis points, at a target of 4 quiets."""
    columns = [NAMES.index(name) for name in ANCHORS]
    width = len(FEATURES)
    body = Body(
        kind="latency",
        feature_set="counters",
        features=FEATURES,
        scope=Scope(
            services=("online", "streaming"),
            machines=("", "simulated"),
            ratio_low=0,
            ratio_high=4_000,
            lows=(0,) * width,
            highs=(12_000,) * width,
            reach=1_024,
            required=tuple(columns),
            given=(),
        ),
        line=Line(
            bias=STEEP * 5_000 - 4 * (1 << 36),
            ratio=(1 << 36) // 355,
            weights=((columns[1], -STEEP),),
        ),
        forest=Forest(
            roots=(0,),
            feature=(-1,),
            threshold=(0,),
            left=(0,),
            right=(0,),
            missing_left=(0,),
            value=(0,),
        ),
        calibration=platt(1.0, 0.0),
        manifest=Manifest(
            objective="p99_ms<=100",
            quiet_ns=25_000_000,
            base_rate=6_000,
            rows=1,
            groups=1,
            sessions=1,
        ),
    )
    return Model(msgspec.structs.replace(body, **changes))


def made_of(kind: str, sla_class: str) -> Model:
    """The same for another kind of promise, learned from one class."""
    body = made_model().body
    high = 0 if kind == "completion" else body.scope.ratio_high
    scope = msgspec.structs.replace(body.scope, services=(sla_class,), ratio_high=high)
    # A completion's target is always ratio 0: as much is given as a target of 4 quiets gives.
    line = msgspec.structs.replace(body.line, bias=STEEP * 5_000)
    return made_model(kind=kind, scope=scope, line=line if not high else body.line)


def arguments(model: Model | None = None) -> dict[str, Any]:
    """What a rule is given that has this model."""
    data = (model or made_model()).dump()
    return {"model": "model.json", "modelData": base64.b64encode(data).decode()}


def several(*models: Model | None) -> dict[str, Any]:
    """What a rule is given that has these models; None: its file cannot be read."""
    data = [b"" if one is None else one.dump() for one in models]
    names = [f"model-{number}" for number in range(len(models))]
    return {"model": names, "modelData": [base64.b64encode(one).decode() for one in data]}


def profile(
    name: str, *, sla_class: str = "online", quiet_us: int = 25_000, **traits: int
) -> ServiceProfile:
    """The profile of the pods with the label `app`."""
    content = {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "slaClass": sla_class},
        "status": {"samples": 100, "quietMicroseconds": quiet_us, "traits": traits},
    }
    return convert(ServiceProfile, content)


def sample(node: str, **signals: int) -> NodeSignals:
    """A whole sample of a node on which nothing is; and these."""
    quiet = {
        "cpu_utilisation": 1_000,
        "bandwidth_utilisation": 500,
        "io_utilisation": 100,
        "network_utilisation": 100,
        "run_queue_wait": 200,
        "cpu_pressure": 100,
        "network_jitter": 50,
        "requested_cpu": 0,
    }
    status = {"featureSet": "counters", "signals": {**quiet, **signals}}
    return convert(NodeSignals, {"metadata": {"name": node}, "status": status})
