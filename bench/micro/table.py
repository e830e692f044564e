"""Figures with their spread, and the machine they come from, for tables of small benches."""

from __future__ import annotations

import os
import platform
from statistics import median


def spread(figures: list[float], digits: int = 0) -> str:
    """Median, lowest and highest."""
    low, high = min(figures), max(figures)
    return f"{median(figures):.{digits}f} [{low:.{digits}f}-{high:.{digits}f}]"


def machine() -> str:
    """Processors, load and Python, in a line."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs, load {load:.1f}, Python {platform.python_version()}"
