"""The differential oracle: what kube-scheduler 1.36's own code answered, case by case.

The folder isn't part of the repository. `HERZ_KUBE_ORACLE` names it; by default it lies beside the
checkout. Where it is absent the tests that need it are skipped.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_DEFAULT = _ROOT.parent / "shared" / "data" / "kube_oracle"

Case = dict[str, Any]


def folder() -> Path | None:
    """The oracle's folder, or None where there is none."""
    path = Path(os.environ.get("HERZ_KUBE_ORACLE", _DEFAULT))
    return path if path.is_dir() else None


def lines(family: str) -> Iterator[bytes]:
    """The raw JSON lines of one family; skips the calling test where they are absent."""
    base = folder()
    path = None if base is None else base / f"{family}.jsonl.gz"
    if path is None or not path.is_file():
        pytest.skip(f"the oracle family {family} is not here (set HERZ_KUBE_ORACLE)")
    with gzip.open(path, "rb") as stream:
        yield from stream


def cases(family: str) -> Iterator[Case]:
    """The decoded cases of one family, in order; skips the calling test where they are absent."""
    for line in lines(family):
        case: Case = json.loads(line)
        yield case
