"""One run of a scenario under a policy, and the digest of all that is frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.sla.oracle import Oracle
from herz import app, builtin
from herz.config import Policy
from herz.world.sim.catalogue import FOLDER, load_scenario
from herz.world.sim.checkers import DecisionSink
from herz.world.sim.collect import VerdictSink
from herz.world.sim.driver import Driver
from herz.world.sim.promises.monitor import Outcome
from herz.world.sim.promises.truth import Truth
from herz.world.sim.result import DigestSink, PromiseResult

SCENARIOS: Final = ("sla-shop", "sla-dense", "sla-mix")
EVALUATION: Final = tuple(range(10_000, 10_020))
"""The seeds of the table; no model may have seen one."""
LEARNING: Final = tuple(range(12))
"""The seeds that models learn from."""
FROZEN: Final = "sha256:366286dc903199f3952405061a45f6c72b53e620600062273e810e82eaf751af"
"""What `frozen` gave before any learned policy ran."""
FROZEN_MEASURED: Final = "sha256:c25b4976b48a1a966be428d36bc8caa85160e8fefa738bfa564441207109bb29"
"""The same of the variant with measured curves (`bench.sla.measured`), with its file."""


def run(
    scenario: str,
    policy: Policy,
    seed: int,
    *,
    is_collecting: bool = False,
    make_truth: Callable[..., Truth] = Truth,
) -> tuple[PromiseResult, list[Outcome], str]:
    """What became of the promises, training rows where asked for, and the decisions' digest."""
    sinks = (DigestSink(), VerdictSink(), DecisionSink())
    drivers: list[Driver] = []
    oracle = Oracle.maker(lambda: drivers[0].monitor)
    known = {**builtin.PLUGINS, Oracle.name: oracle}
    machine = app.build_machine(policy, seed, sinks, known=known)
    driver = Driver(load_scenario(scenario), seed, machine, sinks)
    drivers.append(driver)
    driver.is_collecting = is_collecting
    driver.make_truth = make_truth
    driver.run()
    assert driver.monitor is not None, f"{scenario} has no [truth]"
    outcomes = [*driver.monitor.outcomes, *driver.monitor.job_outcomes()]
    return driver.monitor.result(), outcomes, sinks[0].hexdigest()


def frozen() -> str:
    """SHA-256 over the scenarios, the truth's code, and the seeds: what no policy may move."""
    home = FOLDER.parent / "promises"
    files = [FOLDER / f"{name}.toml" for name in SCENARIOS]
    files += sorted(path for path in home.glob("*.py") if path.name != "monitor.py")
    whole = hashlib.sha256(repr((SCENARIOS, EVALUATION, LEARNING)).encode())
    for path in files:
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(_read(path)).digest())
    return f"sha256:{whole.hexdigest()}"


def _read(path: Path) -> bytes:
    return path.read_bytes()
