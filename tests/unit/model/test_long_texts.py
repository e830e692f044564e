"""Texts that are long in one way are read in one pass, or refused."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable

import pytest

from herz.config.kubescheduler import is_configuration
from herz.errors import ConfigError
from herz.front.logs import without_credentials
from herz.model.toml_text import DOTS_MAX, parse_toml
from herz.model.yaml_text import DEPTH_MAX, documents


def _log(text: str) -> None:
    without_credentials(None, "info", {"event": text})


@pytest.mark.parametrize(
    ("read", "unit"),
    [
        (lambda text: is_configuration(text.encode()), "\n"),
        (lambda text: is_configuration(text.encode()), "{ "),
        (_log, "eyJ-"),
        (_log, "-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_a_text_of_100_kb_takes_no_second(read: Callable[[str], None], unit: str) -> None:
    """Reading it took from 6 s to minutes while its patterns began anew at each place."""
    began = time.process_time_ns()
    read(unit * (100_000 // len(unit)))
    assert time.process_time_ns() - began < 10**9


def test_a_private_key_that_is_cut_off_is_hidden_to_the_end() -> None:
    event = {"event": "a -----BEGIN PRIVATE KEY-----\nMIGH"}
    assert "MIGH" not in str(without_credentials(None, "info", event))


@pytest.mark.parametrize("deep", ["- " * 32_000, "? " * 32_000, "a: " + "[" * 50_000])
def test_yaml_that_is_nested_too_deeply_is_refused(deep: str) -> None:
    """libyaml's composer would overflow the stack, and with it end the process."""
    with pytest.raises(ConfigError, match="nested too deeply"):
        list(documents(deep.encode()))


def test_yaml_that_is_nested_as_deeply_as_is_allowed_is_read() -> None:
    (document,) = documents(("- " * DEPTH_MAX + "a").encode())
    depth, value = 0, document.value
    while isinstance(value, list):
        depth, value = depth + 1, value[0]
    assert (depth, value) == (DEPTH_MAX, "a")
    assert next(iter(documents(b"a: [" + b"[], " * 1_000 + b"]"))).value == {"a": [[]] * 1_000}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (".".join("a" * (DOTS_MAX + 2)) + " = 1", r"1000 dots \(at line 1\)"),
        ("a = " + "[" * 50_000, "nested too deeply"),
    ],
)
def test_toml_that_would_take_long_is_refused(text: str, what: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match=what):
        parse_toml(text)


def test_half_of_a_character_in_a_manifest_is_refused() -> None:
    with pytest.raises(ConfigError, match="half of a character"):
        list(documents(b'{"a": "\\ud83d"}'))
    (document,) = documents(b'{"a": "\\ud83d\\ude00"}')
    assert document.value == {"a": "\U0001f600"}
