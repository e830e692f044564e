"""What docs/style.md asks and a machine can see. Each check is shown to fail on a bad example."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

NOT_OURS = {".git", ".venv", "target", "build", "__pycache__", ".hypothesis"}
CODE = {".py", ".pyi", ".rs"}
TEXT = {*CODE, ".md", ".toml", ".lock", ".txt", ".yaml", ".yml", ".css", ".js", ".json", ".sh", ""}

DECIDING = (
    *("intake", "place", "commit", "model", "cycle.py", "preempting.py", "plugin"),
    *(f"knowledge/sla/{name}.py" for name in ("features", "forest", "calibration", "model")),
)
"""The parts of src/herz from which a decision follows."""
OUTSIDE = {
    *("asyncio", "datetime", "io", "locale", "multiprocessing", "os", "platform", "random"),
    *("secrets", "select", "selectors", "signal", "socket", "subprocess", "sys", "tempfile"),
    *("threading", "time", "uuid", "zoneinfo"),
}
"""Modules through which a clock, chance, an environment or a race would reach a decision."""

Problems = list[str]
Check = Callable[[str], Problems]


def files(*roots: str, suffixes: set[str] = TEXT) -> list[Path]:
    """The repository's own files below the roots, sorted."""
    found: list[Path] = []
    for root in roots:
        start = ROOT / root
        found += [start] if start.is_file() else []
        for folder, below, names in os.walk(start):
            below[:] = [name for name in below if name not in NOT_OURS and name[-6:] != "_cache"]
            found += [Path(folder, name) for name in names]
    return sorted(path for path in found if path.suffix in suffixes)


def run(check: Check, paths: list[Path]) -> Problems:
    """The problems of all files, with their places."""
    assert paths, "nothing was looked at"
    return [
        f"{path.relative_to(ROOT)}: {problem}"
        for path in paths
        for problem in check(path.read_text(encoding="utf-8"))
    ]


def matching(pattern: str, text: str) -> Problems:
    """The lines in which the pattern is found."""
    expression = re.compile(pattern)
    lines = enumerate(text.splitlines(), 1)
    return [f"line {at}: {line.strip()[:80]}" for at, line in lines if expression.search(line)]


# ---- size -----------------------------------------------------------------------------------


def long_file(text: str) -> Problems:
    """More than FILE_LINES_MAX lines."""
    count = len(text.splitlines())
    return [f"{count} lines"] if count > FILE_LINES_MAX else []


def wide_lines(text: str) -> Problems:
    """Lines of more than COLUMNS_MAX characters."""
    lines = enumerate(text.splitlines(), 1)
    return [f"line {number}: {len(line)}" for number, line in lines if len(line) > COLUMNS_MAX]


def long_python_functions(text: str) -> Problems:
    """Functions of more than FUNCTION_LINES_MAX lines, docstring included."""
    problems = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                problems.append(f"{node.name}: {count} lines")
    return problems


def long_rust_functions(text: str) -> Problems:
    """The same in Rust: rustfmt puts the closing brace below the `fn` line's first character."""
    head = re.compile(r'^(\s*)(?:pub(?:\([^)]*\))? |const |async |unsafe |extern "C" )*fn (\w+)')
    lines = text.splitlines()
    problems = []
    for start, line in enumerate(lines):
        match = head.match(line)
        if match is None or line.rstrip().endswith((";", "}")):
            continue
        ends = (at for at in range(start, len(lines)) if lines[at] == match[1] + "}")
        count = next(ends, start) - start + 1
        if count > FUNCTION_LINES_MAX:
            problems.append(f"{match[2]}: {count} lines")
    return problems


# ---- what stays out -------------------------------------------------------------------------


def unfinished(text: str) -> Problems:
    """Notes to come back, and code that says that it is not there."""
    notes = r"\b(TO[D]O|FIX[M]E|XX[X])\b"
    return matching(rf"{notes}|\b(todo|unimplemented)!|NotImplemented[E]rror", text)


def silenced(text: str) -> Problems:
    """Checks that are switched off without naming which."""
    types = r"#\s*type:\s*ignore(?!\[[a-z])"
    lint = r"#\s*no[q]a(?!: ?[A-Z]+\d)"
    return matching(rf"{types}|{lint}|pragma: no[ ]cover|allow\(dead[_]code", text)


def places_of_one_machine(text: str) -> Problems:
    """Absolute paths of somebody's machine, and hosts of package registries."""
    paths = r"(?:^|[^\w.-])/(?:work|farm|root|home/\w+|Users/\w+)/"
    hosts = r"pypi\.org|pythonhosted\.org|crates\.io|--(?:extra-)?index[-]url|--find[-]links"
    return matching(f"{paths}|{hosts}", text)


def addresses(text: str) -> Problems:
    """Addresses of any kind: a lock has names, versions and hashes."""
    return matching(r"\w+://|^-", text)


def asserts_off(text: str) -> Problems:
    """Ways to run without asserts."""
    return matching(r"python[\d.]*\s+(?:-\w\s+)*-O|PYTHONOPTIMIZE", text)


def sleeps(text: str) -> Problems:
    """Calls of a sleep, but for the zero that only yields."""
    problems = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        is_zero = [getattr(argument, "value", None) for argument in node.args] == [0]
        if name == "sleep" and not is_zero:
            problems.append(f"line {node.lineno}: sleeps")
    return problems


def undocumented_unsafe(text: str) -> Problems:
    """`unsafe` without a SAFETY comment in the three lines above."""
    lines = text.splitlines()
    return [
        f"line {number + 1}: unsafe"
        for number, line in enumerate(lines)
        if re.search(r"\bunsafe\s*(\{|impl|fn|extern)", line.partition("//")[0])
        and not any("// SAFETY:" in above for above in lines[max(0, number - 3) : number + 1])
    ]


# ---- determinism ----------------------------------------------------------------------------


def outside_reached(text: str) -> Problems:
    """Imports and names by which a clock, chance, the environment or a file is reached."""
    problems = matching(r"(?<!return )\bhash\(", text)  # changes with PYTHONHASHSEED
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module)):
                names = [module]
            case ast.Attribute(attr="random") | ast.Name(id="open" | "input" | "__debug__"):
                problems.append(f"line {node.lineno}: {ast.unparse(node)}")
                continue
            case _:
                continue
        reached = [name for name in names if OUTSIDE.intersection(name.split("."))]
        problems += [f"line {node.lineno}: imports {name}" for name in reached]
    return problems


_ORDERLESS = {"sorted", "set", "frozenset", "sum", "any", "all", "min", "max", "len", "Counter"}
_ORDERED = {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed", "join"}


def set_order_shown(text: str) -> Problems:
    """Loops, lists and texts made in a set's order.

    Seen are set literals, comprehensions, calls and operators, and local names bound to one.
    """
    problems: Problems = []
    for scope in _scopes(ast.parse(text)):
        nodes = list(_within(scope))
        known: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.Assign) and _is_set(node.value, known):
                known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and _says_set(node):
                known.add(ast.unparse(node.target))
        hidden = {id(inner) for node in nodes for inner in _orderless_arguments(node)}
        for node in nodes:
            shown = [] if id(node) in hidden else _iterated(node)
            problems += [
                f"line {each.lineno}: {ast.unparse(each)[:60]} in a set's order"
                for each in shown
                if _is_set(each, known)
            ]
    return problems


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """The scope's nodes in source order, without those of functions inside it."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _within(node)


def _says_set(node: ast.AnnAssign) -> bool:
    return re.match(r"(frozen)?set\b", ast.unparse(node.annotation)) is not None


def _is_set(node: ast.AST, known: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in known
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            verbs = ("union", "intersection", "difference", "symmetric_difference", "copy")
            return attr in verbs and (_is_set(value, known) or ast.unparse(value) == "set")
        case ast.BinOp(left=left, right=right, op=ast.BitOr() | ast.BitAnd() | ast.Sub()):
            return _is_set(left, known) or _is_set(right, known)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_set(body, known) or _is_set(orelse, known)
    return False


def _orderless_arguments(node: ast.AST) -> list[ast.AST]:
    """What the call takes without showing its order, such as the generator in `sorted(…)`."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args) if name in _ORDERLESS:
            return list(args)
    return []


def _iterated(node: ast.AST) -> list[ast.expr]:
    """The expressions whose order the node shows."""
    match node:
        case ast.For(iter=it) | ast.AsyncFor(iter=it):
            return [it]
        case ast.ListComp(generators=loops) | ast.GeneratorExp(generators=loops):
            return [loop.iter for loop in loops]
        case ast.DictComp(generators=loops):
            return [loop.iter for loop in loops]
        case ast.Call(func=ast.Name(id=name), args=args) if name in _ORDERED:
            return list(args)
        case ast.Call(func=ast.Attribute(attr="join" | "extend" | "fromiter"), args=args):
            return list(args)
        case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]):
            return [value]
        case ast.Starred(value=value):
            return [value]
    return []


# ---- the repository keeps them --------------------------------------------------------------

PYTHON = {".py", ".pyi"}
BUILD = ["Makefile", ".ci", "pyproject.toml", "Cargo.toml", "deploy"]


def timeless_tests() -> list[Path]:
    """All tests but the task runtime's, where sleeping is the subject."""
    subject = {ROOT / "tests/unit/runtime", ROOT / "tests/soak"}
    tests = files("tests", suffixes={".py"})
    return [path for path in tests if subject.isdisjoint(path.parents)]


def deciding_files() -> list[Path]:
    """The sources that the determinism checks look at."""
    return files(*(f"src/herz/{part}" for part in DECIDING), suffixes={".py"})


SWEEPS: list[tuple[Check, Callable[[], list[Path]]]] = [
    (long_file, lambda: files("src", "crates", "tests", "bench", "docs", suffixes=CODE)),
    (wide_lines, lambda: files("src", "crates", suffixes=CODE)),
    (long_python_functions, lambda: files("src", suffixes=PYTHON)),
    (long_rust_functions, lambda: files("crates", suffixes={".rs"})),
    (unfinished, lambda: files("src", "crates", "tests", "bench", "docs", "README.md")),
    (silenced, lambda: files("src", "crates", "tests", "bench", "docs", suffixes=CODE)),
    (places_of_one_machine, lambda: [p for p in files(".") if p.name != "Cargo.lock"]),
    (addresses, lambda: files("requirements", suffixes={".lock"})),
    (asserts_off, lambda: files(*BUILD)),
    (sleeps, timeless_tests),
    (undocumented_unsafe, lambda: files("crates", suffixes={".rs"})),
    (outside_reached, deciding_files),
    (set_order_shown, deciding_files),
]


@pytest.mark.parametrize(("check", "paths"), SWEEPS, ids=[check.__name__ for check, _ in SWEEPS])
def test_repository_keeps_its_style(check: Check, paths: Callable[[], list[Path]]) -> None:
    assert run(check, paths()) == []


def test_every_package_says_what_it_is() -> None:
    folders = {path.parent for path in files("src/herz", suffixes={".py"})}
    for folder in sorted(folders):
        start = folder / "__init__.py"
        assert start.is_file(), f"{folder.relative_to(ROOT)} has no __init__.py"
        tree = ast.parse(start.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{start.relative_to(ROOT)} has no docstring"


def test_every_module_says_what_it_is() -> None:
    for path in files("src/herz", suffixes={".py"}):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_locks_pin_and_hash_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = project["dependencies"]
    extras = project["optional-dependencies"]
    asked = {"runtime": runtime, **{name: runtime + more for name, more in extras.items()}}
    for name, requirements in asked.items():
        text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
        entries = text.replace("\\\n", "").splitlines()
        assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
        for requirement in map(Requirement, requirements):
            pinned = re.findall(rf"^{canonicalize_name(requirement.name)}==([^ ;]+)", text, re.M)
            assert pinned, f"{requirement} is not in {name}.lock: run make lock"
            assert all(version in requirement.specifier for version in pinned), requirement


# ---- and each check sees what it is for -----------------------------------------------------

LONG_PYTHON = "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX
LONG_RUST = "impl A {\n    pub fn f() {\n" + "        a();\n" * FUNCTION_LINES_MAX + "    }\n}\n"

BAD: list[tuple[Check, str]] = [
    (long_file, "a\n" * (FILE_LINES_MAX + 1)),
    (wide_lines, "a" * (COLUMNS_MAX + 1)),
    (long_python_functions, LONG_PYTHON),
    (long_rust_functions, LONG_RUST),
    (unfinished, "# " + "TO" + "DO: later"),
    (unfinished, "raise NotImplemented" + "Error"),
    (unfinished, "    to" + "do!()"),
    (silenced, "x = 1  # type: " + "ignore"),
    (silenced, "x = 1  # no" + "qa"),
    (silenced, "#[allow(dead" + "_code)]"),
    (places_of_one_machine, "cd /" + "work/main"),
    (places_of_one_machine, "path = '/" + "home/me/herz'"),
    (places_of_one_machine, "see files.python" + "hosted.org"),
    (places_of_one_machine, "pip install --index" + "-url x"),
    (addresses, "--index" + "-url x"),
    (addresses, "a @ https://example.com/a.whl"),
    (asserts_off, "python3 -" + "O -m herz"),
    (asserts_off, "export PYTHON" + "OPTIMIZE=1"),
    (outside_reached, "if __debug__:\n    f()"),
    (sleeps, "import time\ntime.sl" + "eep(0.1)"),
    (sleeps, "from time import sleep\nsleep(1)"),
    (undocumented_unsafe, "fn f() {\n    unsafe { g() }\n}"),
    (outside_reached, "import time"),
    (outside_reached, "from datetime import datetime"),
    (outside_reached, "from os import environ"),
    (outside_reached, "import os.path"),
    (outside_reached, "import numpy as np\nnp.random.rand()"),
    (outside_reached, "key = hash(name)"),
    (set_order_shown, "for a in {1, 2}: f(a)"),
    (set_order_shown, "for a in set(b): f(a)"),
    (set_order_shown, "x = [f(a) for a in frozenset(b) | c]"),
    (set_order_shown, "def f(b):\n    s = set(b)\n    return list(s)"),
    (set_order_shown, "s: set[str] = g()\nfor a in s: f(a)"),
    (set_order_shown, "x = ', '.join({'a', 'b'})"),
    (set_order_shown, "x = [*{1, 2}]"),
    (set_order_shown, "def f(b):\n    s = {*b}\n    return s.pop()"),
]
GOOD: list[tuple[Check, str]] = [
    (long_python_functions, LONG_PYTHON.removesuffix("    pass\n")),
    (long_rust_functions, LONG_RUST.replace("        a();\n" * 2, "", 1)),
    (long_rust_functions, "fn a() {}\n" + "// b\n" * 99),
    (silenced, "x = 1  # type: " + "ignore[arg-type]\ny = 2  # no" + "qa: E501"),
    (places_of_one_machine, "docs/work/main and /tmp/a"),
    (sleeps, "await asyncio.sleep(0)"),
    (undocumented_unsafe, "// SAFETY: g has no rule.\nunsafe { g() }"),
    (outside_reached, "from herz.model import time_of"),
    (set_order_shown, "x = sorted(set(b))"),
    (set_order_shown, "x = sorted(f(a) for a in set(b))"),
    (set_order_shown, "x = {f(a) for a in set(b)}"),
    (set_order_shown, "x = len({1} | set(b))"),
    (set_order_shown, "for a in sorted(set(b)): f(a)"),
]


@pytest.mark.parametrize(("check", "text"), BAD)
def test_check_sees_the_bad_example(check: Check, text: str) -> None:
    assert check(text)


@pytest.mark.parametrize(("check", "text"), GOOD)
def test_check_passes_the_good_example(check: Check, text: str) -> None:
    assert check(text) == []
