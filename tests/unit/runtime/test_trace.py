"""Traces: their structure, what is in them, what is lost; folded stacks."""

from __future__ import annotations

import gc
import json
import os
import re
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from herz import runtime
from herz.runtime import Channel, go, run, sleep, yield_now

Shown = list[dict[str, Any]]


def read(path: Path) -> tuple[Shown, dict[str, Any]]:
    """The events of a trace file and what it says of itself, checked against the format."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    events: Shown = whole["traceEvents"]
    for event in events:
        assert event["ph"] in "XMisf"
        assert isinstance(event["pid"], int)
        if event["ph"] != "M":
            assert isinstance(event["tid"], int)
            assert event["ts"] > 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
    check_tracks(events)
    check_arrows(events)
    return events, whole["otherData"]


def check_tracks(events: Shown) -> None:
    """Slices of a track come one after the other, and each track has a name."""
    named = {event["tid"] for event in events if event.get("name") == "thread_name"}
    ends: dict[int, float] = {}
    slices = [event for event in events if event["ph"] == "X"]
    for event in sorted(slices, key=lambda each: (each["tid"], each["ts"])):
        track = event["tid"]
        assert track in named
        # Half a nanosecond for the last digit of the numbers.
        assert event["ts"] >= ends.get(track, 0) - 0.000_5, event
        ends[track] = event["ts"] + event["dur"]


def check_arrows(events: Shown) -> None:
    """Each arrow has one start and one end, in this order, and ends at a step."""
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert starts.keys() == ends.keys()
    steps = {(event["tid"], event["ts"]) for event in events if event["ph"] == "X"}
    for number, end in ends.items():
        assert starts[number]["ts"] <= end["ts"]
        assert (end["tid"], end["ts"]) in steps


def steps_of(events: Shown, name: str) -> Shown:
    """The steps of a task."""
    return [event for event in events if event["ph"] == "X" and event["name"] == name]


def test_each_step_is_a_slice_with_the_task_s_name(tmp_path: Path) -> None:
    async def main() -> None:
        with runtime.trace(tmp_path / "t.json"):
            await go(turns(), name="turner")
            await go(turns())
            await go(int)

    async def turns() -> None:
        for _ in range(50):
            await yield_now()

    run(main())
    events, about = read(tmp_path / "t.json")
    assert about["lost events"] == 0
    # 50 yields end 50 steps, and one more step ends the task.
    assert len(steps_of(events, "turner")) == 51
    unnamed = {event["name"] for event in events if event.get("cat") == "step"}
    (name,) = (name for name in unnamed if name.endswith("turns (task-3)"))
    assert len(steps_of(events, name)) == 51
    (function,) = steps_of(events, "int (task-4)")
    assert function["cat"] == "function"
    assert function["tid"] != 0


def test_a_wake_up_points_to_the_step_that_came_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        channel: Channel[int] = Channel()

        async def receive() -> None:
            await channel.receive()

        receiver = go(receive(), name="receiver")
        await yield_now()
        with runtime.trace(tmp_path / "t.json"):
            await yield_now()
            await channel.send(1)
            await receiver

    run(main())
    events, _ = read(tmp_path / "t.json")
    (step,) = steps_of(events, "receiver")
    arrows = {e["id"]: e["ts"] for e in events if e["ph"] == "f" and e["ts"] == step["ts"]}
    (wake,) = (event for event in events if event["ph"] == "s" and event["id"] in arrows)
    waking = [
        each
        for each in steps_of(events, next(e["name"] for e in events if "main" in e["name"]))
        if each["ts"] <= wake["ts"] <= each["ts"] + each["dur"]
    ]
    assert len(waking) == 1, "it was sent from inside a step of main"


def test_a_hand_off_a_timer_and_a_collection_are_marked(tmp_path: Path) -> None:
    reader, writer = os.pipe()

    async def blocked() -> None:
        os.read(reader, 1)

    async def main() -> None:
        with runtime.trace(tmp_path / "t.json"):
            blocking = go(blocked(), name="blocker")
            await sleep(0.001)
            gc.collect()
            os.write(writer, b"x")
            await blocking
            while runtime.stats()["detached"]:
                await sleep(0.000_1)

    run(main())
    events, _ = read(tmp_path / "t.json")
    marks = {event["name"]: event for event in events if event["ph"] == "i"}
    # On a busy machine other steps may be detached, too.
    hand_offs = [event for event in events if event["name"] == "hand-off"]
    (hand_off,) = [event for event in hand_offs if event["args"]["task"] == "blocker"]
    (step,) = steps_of(events, "blocker")
    assert step["tid"] == hand_off["tid"]
    assert step["ts"] <= hand_off["ts"] <= step["ts"] + step["dur"]
    assert int(marks["timer"]["args"]["late, ns"]) >= 0
    collections = steps_of(events, "garbage collection")
    assert collections
    assert {event["tid"] for event in collections} & {0, 1} == set()
    os.close(reader)
    os.close(writer)


def test_what_is_above_the_bound_is_lost_and_counted(tmp_path: Path) -> None:
    async def main() -> None:
        with runtime.trace(tmp_path / "t.json", events=100):
            for _ in range(1_000):
                await yield_now()

    run(main())
    events, about = read(tmp_path / "t.json")
    slices = [event for event in events if event["ph"] == "X"]
    assert len(slices) == 100
    assert about["lost events"] >= 899, "the step that ends the trace is no event yet"
    assert all(event["name"].endswith("(task-1)") for event in slices), "the last ones are kept"


def test_a_trace_begins_with_its_block_and_ends_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        async def named() -> None:
            await yield_now()

        await go(named(), name="before")

        async def raise_inside() -> None:
            with runtime.trace(tmp_path / "t.json"):
                await go(named(), name="inside")
                raise KeyError

        with pytest.raises(KeyError):
            await raise_inside()
        await go(named(), name="after")
        with runtime.trace(tmp_path / "second.json"):
            await go(named(), name="second")

    run(main())
    for file, expected in (("t.json", "inside"), ("second.json", "second")):
        events, _ = read(tmp_path / file)
        names = {event["name"] for event in events if event.get("cat") == "step"}
        assert expected in names
        assert names & {"before", "after", "inside", "second"} == {expected}


def enter(block: AbstractContextManager[None]) -> None:
    """Must not get into the block."""
    with block:
        pytest.fail("the block began")


def test_a_trace_that_cannot_be_is_refused_before_its_block(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            enter(runtime.trace(tmp_path / "no" / "t.json"))
        with pytest.raises(ValueError, match="events must be at least 1, not 0"):
            enter(runtime.trace(tmp_path / "t.json", events=0))
        with (
            runtime.trace(tmp_path / "t.json"),
            pytest.raises(RuntimeError, match="traced already"),
        ):
            enter(runtime.trace(tmp_path / "u.json"))

    run(main())
    with pytest.raises(RuntimeError, match="no herz runtime runs"):
        enter(runtime.trace(tmp_path / "t.json"))


# ---- flame graphs ------------------------------------------------------------------------------

FOLDED = re.compile(r"(?P<stack>[^;]+(?:;[^;]+)*) (?P<us>\d+)")


def test_folded_stacks_have_the_time_of_each_running_stack(tmp_path: Path) -> None:
    def spin(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    async def much() -> None:
        spin(0.3)

    async def little() -> None:
        spin(0.06)

    async def idle() -> None:
        await sleep(0.3)

    async def main() -> None:
        idling = go(idle(), name="idle")
        with runtime.profile(tmp_path / "p.txt"):
            await go(much(), name="much")
            await go(little(), name="little")
        await idling

    run(main())
    spent: dict[str, int] = {}
    for line in (tmp_path / "p.txt").read_text(encoding="utf-8").splitlines():
        found = FOLDED.fullmatch(line)
        assert found is not None, line
        parts = found["stack"].split(";")
        spent[parts[0]] = spent.get(parts[0], 0) + int(found["us"])
        if parts[0] == "much":
            assert parts[1].endswith(".much")
            assert parts[2].endswith(".spin")
    assert "idle" not in spent
    assert spent["much"] > 2 * spent.get("little", 0)
    assert spent["much"] > 100_000


@pytest.mark.parametrize("every_ms", [0, -1.0, float("nan")])
def test_a_profile_without_a_distance_is_refused(tmp_path: Path, every_ms: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="every_ms must be above zero"):
            enter(runtime.profile(tmp_path / "p.txt", every_ms=every_ms))

    run(main())
