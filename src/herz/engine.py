"""What decides besides policy and events, as one digest, and what people need to have it again."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Final

import numpy as np

from herz.commit.audit.entry import Engine

ENTRY_POINT_GROUP: Final = "herz.plugins"
PACKAGES: Final = ("commit", "config", "intake", "knowledge", "model", "place", "plugin")
WIRING: Final = (
    "app.py",
    "builtin.py",
    "cycle.py",
    "engine.py",
    "errors.py",
    "loading.py",
    "ordering.py",
    "preempting.py",
    "profiles.py",
    "promising.py",
)
"""The sources from which a decision follows."""
LOCKED: Final = ("msgspec", "numpy", "pyyaml")
"""Packages of the lock file that decisions go through."""
IMAGE_VARIABLE: Final = "HERZ_IMAGE"
"""Names the container image that this process runs in, for people; no decision reads it."""


@cache
def third_party() -> Mapping[str, EntryPoint]:
    """Rules that other packages offer in the entry point group `herz.plugins`, by name."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def parts() -> Mapping[str, str]:
    """What decides besides policy and events, part by part, as SHA3-384, hex.

    Cost: reads the decision packages' sources and the native module.
    """
    home = Path(__file__).parent
    found = {
        "native": _digest_of(home, sorted(home.glob("_native*.so"))),
        "wiring": _digest_of(home, [home / name for name in WIRING]),
    }
    for package in PACKAGES:
        files = sorted((home / package).rglob("*.py"))
        found[package] = _digest_of(home, [file for file in files if not _only_tells(file, home)])
    labels = {"herz": version("herz"), "numpy": np.__version__, "python": platform.python_version()}
    labels["rules"] = "".join(f"{'='.join(rule)}\0" for rule in _rules())
    for name, label in labels.items():
        found[name] = hashlib.sha3_384(label.encode()).hexdigest()
    return dict(sorted(found.items()))


@cache
def engine_digest() -> str:
    """One digest over all parts, made once a process."""
    lines = "".join(f"{name} {digest}\n" for name, digest in parts().items())
    return hashlib.sha3_384(lines.encode()).hexdigest()


def engine() -> Engine:
    """The engine, as a journal's start names it."""
    return Engine(
        digest=engine_digest(),
        herz=version("herz"),
        image=os.environ.get(IMAGE_VARIABLE, ""),
        packages=tuple((name, version(name)) for name in LOCKED),
        parts=tuple(parts().items()),
        python=platform.python_version(),
        rules=_rules(),
    )


def _only_tells(file: Path, home: Path) -> bool:
    """Whether the source is of the journal, the fuzzer or a model's learning: of no decision."""
    if "fuzz" in file.relative_to(home).parts:
        return True
    is_journal = file.parent == home / "commit" / "audit" and file.name != "chain.py"
    return is_journal or file.is_relative_to(home / "knowledge" / "sla" / "learning")


def _digest_of(home: Path, files: list[Path]) -> str:
    whole = hashlib.sha3_384()
    for file in files:
        whole.update(file.relative_to(home).as_posix().encode() + b"\0")
        whole.update(hashlib.sha3_384(file.read_bytes()).digest())
    return whole.hexdigest()


def _rules() -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (name, point.value, point.dist.version if point.dist is not None else "")
        for name, point in sorted(third_party().items())
    )
