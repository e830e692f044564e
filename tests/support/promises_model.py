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
            machines=("simulated",),
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


def arguments(model: Model | None = None) -> dict[str, Any]:
    """What a rule is given that has this model."""
    data = (model or made_model()).dump()
    return {"model": "model.json", "modelData": base64.b64encode(data).decode()}


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
