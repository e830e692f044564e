"""What a model of an earlier build answered, it answers still: nothing here is learned anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from herz.knowledge.sla.model import load

HOME = Path(__file__).parents[3] / "data" / "sla"


@pytest.mark.parametrize("name", ["golden", "golden-delay", "golden-completion"])
def test_model_of_an_earlier_build_answers_as_it_did(name: str) -> None:
    model = load((HOME / f"{name}.model").read_bytes())
    golden = json.loads((HOME / f"{name}.json").read_text(encoding="utf-8"))
    assert model.digest == golden["digest"]
    rows = np.array(golden["rows"], np.int64)
    assert len(golden["answers"]) == 3
    for ratio, answers in golden["answers"].items():
        assert model.predict(rows, int(ratio)).tolist() == answers
    _, middle, beyond = golden["answers"].values()
    assert set(beyond) == {-1}
    assert len(set(middle)) > 3
    assert len(set(golden["margins"])) > 8
    ratio = int(list(golden["answers"])[1])
    assert model.margins(rows, ratio).tolist() == golden["margins"]
