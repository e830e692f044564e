"""Logs: a line each in both forms, with fields, and never with credentials."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from herz.front.logs import HIDDEN, Form, configure

SECRET = "s3cr3t-of-the-cluster"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJoZXJ6In0.c2lnbmF0dXJl"


@pytest.fixture
def kept() -> Iterator[None]:
    """The logging of the test process is as it was before."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(form: Form, level: int = logging.INFO) -> io.StringIO:
    stream = io.StringIO()
    configure(form, level, stream)
    return stream


@pytest.mark.usefixtures("kept")
def test_a_line_of_json_has_its_fields() -> None:
    stream = lines("json")
    structlog.get_logger("herz.guard").info("lease acquired", term=3)
    logging.getLogger("herz.apiserver").warning("slow: %d", 7)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["term"], first["level"]) == ("lease acquired", 3, "info")
    assert first["logger"] == "herz.guard"
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["logger"]) == ("slow: 7", "herz.apiserver")


@pytest.mark.usefixtures("kept")
def test_a_line_of_text_is_one_line() -> None:
    stream = lines("text")
    structlog.get_logger("herz").error("two\nlines", why="a b")
    (line,) = stream.getvalue().splitlines()
    assert 'level=error logger=herz event=two\\nlines why="a b"' in line


@pytest.mark.usefixtures("kept")
def test_the_level_is_kept() -> None:
    stream = lines("json", logging.WARNING)
    structlog.get_logger("herz").info("quiet")
    assert not stream.getvalue()


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("form", ["json", "text"])
def test_credentials_are_never_shown(form: Form) -> None:
    stream = lines(form)
    log = structlog.get_logger("herz")
    log.info("asked", token=SECRET, headers={"Authorization": f"Bearer {SECRET}", "Host": "h"})
    log.info(f"refused: Authorization: Bearer {SECRET}")
    log.info(
        "read", text=JWT, nested=[{"client_private_key": SECRET}], raw=f"Basic {SECRET}".encode()
    )
    logging.getLogger("aiohttp").error("sent Bearer %s", SECRET)
    try:
        raise ValueError(f"Bearer {SECRET}")
    except ValueError as error:
        log.exception("failed", error=error)
    text = stream.getvalue()
    assert SECRET not in text
    assert JWT not in text
    assert text.count(HIDDEN) >= 7
