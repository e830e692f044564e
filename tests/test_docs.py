"""The docs hold: commands run, files in them parse and work, links lead somewhere.

A fenced block may name a file after its language (`toml spot.toml`). Files of one page are put
into one temporary folder, and the page's `herz` commands run there.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest
import yaml

from herz import app, builtin, engine
from herz.config import (
    BackoffPolicy,
    OrderPolicy,
    PluginEntry,
    Policies,
    Policy,
    QueuePolicy,
    StarvationPolicy,
    is_configuration,
    parse_policies,
    parse_policy,
)
from herz.model.effects import Bind, Effect, PatchPodStatus
from herz.model.events import Event, ObjectApplied
from herz.model.meta import ObjectMeta
from herz.model.objects import Container, Node, NodeStatus, Pod, PodSpec, ResourceRequirements
from herz.plugin import ReasonBook
from herz.profiles import profiles_of, queue_settings
from herz.world.sim.catalogue import load_scenario

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.as_posix()
)

HOWTO = ROOT / "docs" / "howto" / "write-a-plugin.md"


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    file: str
    text: str

    @property
    def label(self) -> str:
        """The page and the block's first line, for the test's name."""
        return f"{self.page.name}:{self.file or self.text.splitlines()[0]}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = re.findall(
        r"^```(\w*) ?([^\n]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S
    )
    return [Block(page, language, file.strip(), text) for language, file, text in found]


ALL = [block for page in PAGES for block in blocks(page)]


def commands(page: Path) -> list[str]:
    """The commands of a page's console blocks, without prompt and comment."""
    lines = [
        line.removeprefix("$ ").partition("  #")[0].strip()
        for block in blocks(page)
        if block.language in ("console", "sh")
        for line in block.text.splitlines()
        if block.language == "sh" or line.startswith("$ ")
    ]
    return [line for line in lines if line]


COMMANDS = [(page, command) for page in PAGES for command in commands(page)]


def is_policy(block: Block) -> bool:
    """Whether a block of data has the keys of a policy."""
    is_data = block.language in ("toml", "yaml") and "plugins" in block.text
    return is_data and not is_configuration(block.text.encode())


# ---- links and commands ---------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            path, _, _ = target.partition("#")
            assert (page.parent / path).exists(), f"{page.name}: {target}"


def test_files_named_in_code_marks_exist() -> None:
    roots = ("src/", "docs/", "tests/", "crates/", "bench/")
    for page in PAGES:
        for name in re.findall(r"`([\w./-]+\.\w+)`", page.read_text(encoding="utf-8")):
            assert not name.startswith(roots) or (ROOT / name).exists(), f"{page.name}: {name}"


def test_make_targets_exist_and_are_told() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.M))
    assert {"setup", "run", "test", "check", "bench", "lock", "fmt", "clean", "ci"} <= targets
    told = [command for _, command in COMMANDS if command.startswith("make ")]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told += re.findall(r"`(make [a-z0-9-]+)", text)
    assert {command.split()[1] for command in told} - targets == set()
    assert targets - {command.split()[1] for command in told} == set(), "not in CONTRIBUTING.md"


def test_make_without_a_target_lists_all_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, check=True, text=True)
    assert "setup" in done.stdout
    assert "clean" in done.stdout


# Its commands need a cluster: tests/e2e/test_adopting.py runs them, in their order.
HERZ = [
    (page, command)
    for page, command in COMMANDS
    if command.startswith("herz ") and page.name != "adopt.md"
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "command"), HERZ, ids=[f"{page.name}:{command}" for page, command in HERZ]
)
def test_command_in_the_docs_runs(page: Path, command: str, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    if "--journal" in command and ("herz simulate" not in command or "--resume" in command):
        # What the page wrote before.
        for earlier in commands(page):
            if "herz simulate" in earlier and "--journal" in earlier and earlier != command:
                herz(shlex.split(earlier)[1:], tmp_path, environment)
    if "--model " in command:
        # Likewise.
        for earlier in commands(page):
            if "herz sla train" in earlier and " -o " in earlier:
                herz(shlex.split(earlier)[1:], tmp_path, environment)
    arguments = shlex.split(command)[1:]
    if arguments[:2] == ["runtime", "top"]:
        arguments = list(dict.fromkeys([*arguments, "--once"]))  # it would go on until Ctrl-C
    if arguments[0] == "up":
        assert until_ctrl_c(arguments, tmp_path, environment) == 0
        return
    with live_runtime(environment):
        done = herz(arguments, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def until_ctrl_c(arguments: list[str], folder: Path, environment: dict[str, str]) -> int:
    """The exit code of a command that goes on until Ctrl-C, which it says itself."""
    command = [sys.executable, "-m", "herz.front.cli", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert any("Ctrl-C" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        return process.wait(20)


def herz(
    arguments: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """The end of a command of ours."""
    return subprocess.run(
        [sys.executable, "-m", "herz.front.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@contextlib.contextmanager
def live_runtime(environment: dict[str, str]) -> Iterator[None]:
    """The process of a reader who looks at one."""
    source = (
        "import sys; from herz.runtime import run\n"
        "run(lambda: (print('ready', flush=True), sys.stdin.read()))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source],
        env={**environment, "HERZ_RUNTIME_INSPECT": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.stdin.close()
    assert process.returncode == 0


def test_docs_have_commands_to_run() -> None:
    assert {page.name for page, _ in HERZ} >= {"README.md", "write-a-plugin.md"}


# ---- data in the docs -----------------------------------------------------------------------

POLICIES = [block for block in ALL if is_policy(block) and block.file != "pyproject.toml"]


@pytest.mark.parametrize("block", POLICIES, ids=lambda block: block.label)
def test_policy_in_the_docs_is_one(block: Block) -> None:
    read: Callable[[str], object] = tomllib.loads if block.language == "toml" else yaml.safe_load
    given: Any = read(block.text)
    found: Policy | Policies = (
        parse_policies(given, where=block.label)
        if "profiles" in given
        else parse_policy(given, where=block.label)
    )
    known = set(builtin.PLUGINS)
    for policy in [profile.policy for profile in profiles_of(found)]:
        if block.page != HOWTO:
            assert {entry.name for entry in policy.plugins} <= known
            app.build_plugins(policy, ReasonBook())
        queue_settings(policy)


def test_docs_have_policies() -> None:
    assert len(POLICIES) >= 3


@pytest.mark.parametrize(
    "block",
    [block for block in ALL if block.language == "toml" and "[scenario]" in block.text],
    ids=lambda block: block.label,
)
def test_scenario_in_the_docs_is_one(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(block.text, encoding="utf-8")
    load_scenario(str(path), data=None, list_name=None, load=None)


@pytest.mark.parametrize(
    "block", [block for block in ALL if block.language == "python"], ids=lambda block: block.label
)
def test_python_in_the_docs_runs(block: Block) -> None:
    exec(compile(block.text, block.label, "exec"), types.ModuleType("docs").__dict__)


POLICY_PAGE = ROOT / "docs" / "reference" / "policy.md"
TABLES: dict[str, type[msgspec.Struct]] = {
    "## Keys": Policy,
    "### Each of `plugins`": PluginEntry,
    "### `queue`": QueuePolicy,
    "### `queue.backoff`": BackoffPolicy,
    "### `queue.order`": OrderPolicy,
    "### `queue.starvation`": StarvationPolicy,
}


@pytest.mark.parametrize("heading", TABLES)
def test_policy_page_has_every_key_and_its_default(heading: str) -> None:
    text = POLICY_PAGE.read_text(encoding="utf-8")
    section = re.split(r"^#", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| *([^|]*?) *\|", section, re.M))
    assert rows == {
        field.name: _default(field) for field in msgspec.structs.fields(TABLES[heading])
    }


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = {} if field.default is msgspec.NODEFAULT else field.default
    is_table = isinstance(value, msgspec.Struct)
    return "" if is_table else f"`{msgspec.json.encode(value).decode()}`"


def test_generated_pages_are_up_to_date() -> None:
    script = ROOT / "docs" / "generate.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_events_page_has_every_event_and_effect() -> None:
    text = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    told = text.partition("## What is not there yet")[0]
    for kind in (*get_args(Event), *get_args(Effect)):
        assert f"`{kind.__name__}`" in told


def test_adrs_are_short_and_complete() -> None:
    for number, page in enumerate(sorted((ROOT / "docs" / "adr").glob("*.md")), 1):
        text = page.read_text(encoding="utf-8")
        assert page.name.startswith(f"{number:04}-")
        assert len(text.splitlines()) <= 60, page.name
        for part in ("Context", "Choice", "What it costs", "What would change our mind"):
            assert f"**{part}.**" in text, f"{page.name}: {part}"


def test_architecture_lists_the_packages_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w.]+)` \|", text, re.M)
    home = ROOT / "src" / "herz"
    there = {path.stem for path in home.iterdir() if path.suffix == ".py" or path.is_dir()}
    there = {name for name in there if not name.startswith("__")} | {"_native"}
    assert {name.partition(".")[0] for name in listed} == there


# ---- the rule that the how-to writes --------------------------------------------------------


def write_files(page: Path, folder: Path) -> None:
    """The files of a page, and the entry points of its pyproject as an installed package's."""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    project = folder / "pyproject.toml"
    if not project.exists():
        return
    given = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    name, version = given["name"].replace("-", "_"), given["version"]
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = []
    for group, points in given["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The how-to's package, installed; gone again afterwards."""
    write_files(HOWTO, tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _forget_packages()
    yield tmp_path
    monkeypatch.undo()
    sys.modules.pop("spot_rules", None)
    _forget_packages()


def _forget_packages() -> None:
    engine.third_party.cache_clear()
    engine.engine_digest.cache_clear()


def node(name: str, **labels: str) -> ObjectApplied:
    """A node with room for eight pods of one core."""
    room: dict[str, str | int] = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    status = NodeStatus(allocatable=room)
    return applied(Node(metadata=ObjectMeta(name=name, labels=labels), status=status))


def pod(name: str, **labels: str) -> ObjectApplied:
    """A pod of one core."""
    meta = ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", labels=labels)
    asks = ResourceRequirements(requests={"cpu": "1", "memory": "1Gi"})
    spec = PodSpec(containers=(Container(name="a", resources=asks),))
    return applied(Pod(metadata=meta, spec=spec))


def applied(thing: Any) -> ObjectApplied:
    """The event that it exists."""
    return ObjectApplied(time_ns=0, object=thing)


def decide(policy: Policy, events: list[ObjectApplied]) -> Mapping[str, str]:
    """By pod, the node it was bound to, or the message why not."""
    machine = app.build_machine(policy, 0, [])
    for event in events:
        machine.apply(event)
    found = {}
    for effect in machine.step(1, 100):
        if isinstance(effect, Bind):
            found[effect.name] = effect.node
        elif isinstance(effect, PatchPodStatus):
            found[effect.name] = effect.message
    return found


SPOT = {"example.com/spot": "true"}


def test_howto_rule_takes_part_in_decisions(installed: Path) -> None:
    policy = app.load_policy(str(installed / "spot-policy.toml"))
    cold, warm = {"example.com/celsius": "18"}, {"example.com/celsius": "30"}
    nodes = [node("cold", **SPOT, **cold), node("warm", **warm), node("silent")]
    found = decide(policy, [*nodes, pod("web"), pod("job", tier="batch")])
    assert found == {"web": "cold", "job": "warm"}


def test_howto_rule_says_why_not(installed: Path) -> None:
    policy = app.load_policy(str(installed / "spot-policy.toml"))
    found = decide(policy, [node("one", **SPOT), pod("job", tier="batch")])
    assert found == {"job": "0/1 nodes are available: 1 node(s) were spot nodes."}


def test_howto_package_is_part_of_the_engine(installed: Path) -> None:
    assert set(engine.third_party()) >= {"NoSpotForBatch", "PreferCold"}
    with_it = engine.engine_digest()
    for path in installed.glob("*.dist-info/entry_points.txt"):
        path.write_text("", encoding="utf-8")
    _forget_packages()
    assert engine.engine_digest() != with_it


def test_howto_rules_are_about_ten_lines() -> None:
    (block,) = (block for block in blocks(HOWTO) if block.file == "spot_rules.py")
    for rule in ast.parse(block.text).body:
        if isinstance(rule, ast.ClassDef):
            bodies = [part for part in rule.body if isinstance(part, ast.FunctionDef)]
            assert sum(len(body.body) for body in bodies) <= 10
