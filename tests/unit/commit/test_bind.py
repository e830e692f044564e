"""Effects in Kubernetes' words, within the API's limits."""

from __future__ import annotations

import pytest

from herz.commit.bind import NOTE_BYTES_MAX, bind, cut, devices_of, failed, scheduled, warning
from tests.support.machine import World
from tests.support.objects import make_pod

POD = World().read(make_pod("p"))


def test_a_bind_names_its_decision_and_devices_in_sorted_annotations() -> None:
    effect = bind(POD, "a", (2, 0), 41)
    assert effect.annotations == (("herz.dev/decision", "41"), ("herz.dev/gpu-devices", "2,0"))
    assert effect.annotations == tuple(sorted(effect.annotations))
    assert (effect.namespace, effect.name, effect.uid, effect.node) == ("shop", "p", "uid-p", "a")
    assert effect.decision == 41
    assert bind(POD, "a", (), 1).annotations == (("herz.dev/decision", "1"),)


@pytest.mark.parametrize("devices", [(0,), (2, 0), (0, 1, 63)])
def test_devices_are_read_back_as_they_were_written(devices: tuple[int, ...]) -> None:
    assert devices_of(dict(bind(POD, "a", devices, 1).annotations)) == devices


@pytest.mark.parametrize(
    "text", ["", "a", "1,", ",1", "1, 2", "-1", "1.0", "\u0661", "1000", "0x1"]
)
def test_malformed_devices_are_none(text: str) -> None:
    assert devices_of({"herz.dev/gpu-devices": text}) == ()
    assert devices_of({}) == ()


def test_notes_are_cut_at_a_character_within_the_limit() -> None:
    assert cut("x" * NOTE_BYTES_MAX) == "x" * NOTE_BYTES_MAX
    for character in ("x", "é", "€", "\U0001f600"):
        for length in range(NOTE_BYTES_MAX // 4 - 3, NOTE_BYTES_MAX + 3):
            note = "a" + character * length
            short = cut(note)
            assert len(short.encode()) <= NOTE_BYTES_MAX
            if short != note:
                assert len(note.encode()) > NOTE_BYTES_MAX
                assert short.endswith("...")
                assert note.startswith(short[:-3])
                assert len(short.encode()) > NOTE_BYTES_MAX - len(character.encode())


def test_long_messages_stay_whole_in_the_condition_and_are_cut_in_the_event() -> None:
    condition, event = failed(POD, "Unschedulable", "m" * 3000)
    assert condition.message == "m" * 3000
    assert len(event.note) == NOTE_BYTES_MAX
    assert (condition.reason, event.reason) == ("Unschedulable", "FailedScheduling")
    assert (event.type, event.action) == ("Warning", "Scheduling")
    assert warning(POD, "R", "A", "n").note == "n"
    assert scheduled(POD, "a").type == "Normal"
