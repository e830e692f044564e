"""The corpora are read or refused as promised, and the harness bites."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.model import quantity
from tests.fuzz.targets import PLANTED, SURFACES, run

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("surface", SURFACES)
def test_the_corpus_is_read_or_refused(surface: str) -> None:
    files = sorted((CORPUS / surface).iterdir())
    assert files
    for file in files:
        run(surface, file.read_bytes())


@pytest.mark.parametrize("surface", SURFACES)
def test_the_corpus_is_understood(surface: str) -> None:
    """Some of it reaches the end: a corpus that is refused whole would find nothing."""
    read = 0
    for file in sorted((CORPUS / surface).iterdir()):
        try:
            SURFACES[surface](file.read_bytes())
        except Exception:
            continue
        read += 1
    assert read >= 1


def test_every_surface_has_a_planted_bug() -> None:
    assert set(PLANTED) == set(SURFACES)


def test_a_bug_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> int:
        raise KeyError(text)

    monkeypatch.setattr(quantity, "quantity_nano", broken)
    with pytest.raises(KeyError):
        run("quantities", b"7")
