"""The page that shows how to test a plugin: its tests pass, and fail where the plugin is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "howto" / "test-your-plugin.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", PAGE, re.M | re.S))


def written(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """A plugin author's own pytest; the entry point is named where Herz is not installed."""
    given = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    given += ["-p", "herz.front.pytest_plugin", "--rootdir", str(folder), "test_my_rules.py"]
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        given, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=55
    )


@pytest.mark.slow
def test_the_page_tests_pass(tmp_path: Path) -> None:
    done = pytest_in(written(tmp_path))
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.slow
def test_they_fail_where_the_plugin_is_broken(tmp_path: Path) -> None:
    file = written(tmp_path) / "my_rules.py"
    text = file.read_text(encoding="utf-8")
    broken = text.replace("created(a) < created(b)", "created(a) <= created(b)")
    broken = broken.replace("reads = Reads.LABELS", "reads = Reads.NOTHING")
    assert broken != text
    file.write_text(broken, encoding="utf-8")
    done = pytest_in(tmp_path)
    assert "2 failed" in done.stdout, done.stdout
    assert "puts a value before itself" in done.stdout
    assert "depends on what it does not declare" in done.stdout
