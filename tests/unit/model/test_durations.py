"""Go's durations: what is read, what is refused, and that what is written is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.errors import ConfigError
from herz.model.durations import duration_ns, duration_text

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("15s", 15 * SECOND),
        ("+15s", 15 * SECOND),
        ("1m30s", 90 * SECOND),
        ("1.5h", 5400 * SECOND),
        (".5s", SECOND // 2),
        ("1.s", SECOND),
        ("2ms", 2_000_000),
        ("3us", 3_000),
        ("3\u00b5s", 3_000),
        ("3\u03bcs", 3_000),
        ("7ns", 7),
        ("1.9ns", 1),
        ("-2s", -2 * SECOND),
        ("1h1m1s1ms1us1ns", 3661 * SECOND + 1_001_001),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    ["", "15", "s", "1 s", "1S", "1d", ".s", "1e3s", "1m 30s", "--1s", "\u0661s", "9" * 30 + "h"],
)
def test_what_is_no_duration_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        duration_ns(text)
    assert caught.value.value == text
    assert "1m30s" in caught.value.fix


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1\u00b5s"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (245 * SECOND, "4m5s"),
        (245 * SECOND + 1_000_000, "4m5.001s"),
        (18_367_001_000_000, "5h6m7.001s"),
        (3600 * SECOND, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(ns: int, text: str) -> None:
    assert duration_text(ns) == text


@given(st.integers(0, (1 << 63) - 1))
def test_what_is_written_is_read_back(ns: int) -> None:
    assert duration_ns(duration_text(ns)) == ns
