"""Who is measured beside the runtime, and what of it is there."""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Runner = Callable[[Coroutine[Any, Any, float]], float]


@dataclass(frozen=True)
class Peers:
    """The loops that run asyncio's coroutines, and the floor in C where a compiler is there."""

    loops: dict[str, Runner]
    floor: ModuleType | None


def find_loops() -> dict[str, Runner]:
    """The loops that are there, by name."""
    loops: dict[str, Runner] = {"asyncio": asyncio.run}
    if importlib.util.find_spec("uvloop") is not None:
        loops["uvloop"] = importlib.import_module("uvloop").run
    return loops


def find_peers() -> Peers:
    """Looks for uvloop and a C compiler; says what is missing."""
    loops = find_loops()
    if "uvloop" not in loops:
        print("note: uvloop is not installed and is not measured: make bench-runtime installs it")
    return Peers(loops, _build_floor())


def apart(measure: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function gives in a process of its own.

    For what memory tells: what an allocator keeps of one measurement hides what the next one takes.
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(measure, *args, **kwargs).result()


def _build_floor() -> ModuleType | None:
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[:1]
    flags = ["-O3", "-shared", "-fPIC", "-Wall", f"-I{sysconfig.get_paths()['include']}"]
    source = Path(__file__).with_name("floor.c")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "floor.so")
        try:
            command = [*compiler, *flags, str(source), "-o", str(built)]
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"note: the floor is not measured: {error}")
            return None
        spec = importlib.util.spec_from_file_location("floor", built)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def go_run(source: str, *arguments: object) -> str | None:
    """What a Go program of this folder prints; None where Go is not installed."""
    compiler = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if compiler is None:
        print("note: Go is not installed and is not measured")
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program")
        build = [compiler, "build", "-o", str(program), str(Path(__file__).with_name(source))]
        subprocess.run(build, check=True)
        command = [str(program), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
