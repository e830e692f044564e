"""The corpora are read or refused as promised, and the harness bites."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herz.errors import ConfigError
from herz.model import decode, quantity
from herz.model.objects import Pod
from herz.world.apiserver.http.server import ApiServer
from tests.fuzz import served
from tests.fuzz.bases import Bases
from tests.fuzz.campaign import State, Volume, read_states, run_volume, table
from tests.fuzz.engine import Order, Outcome, _outcome, carried_out
from tests.fuzz.fields import Fields
from tests.fuzz.mutate import PREFIXED, Mutator
from tests.fuzz.planted import EXECUTIONS_MAX, PLANTED, QUICK, SAID
from tests.fuzz.shapes import EDGES_MAX, MANY, _reason, begin, shape_of, shapes
from tests.fuzz.targets import SURFACES, SlowError, run
from tests.fuzz.toml_text import toml_of
from tests.fuzz.words import kinds, words

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


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The edges that an engine was told of."""
    monkeypatch.setattr("tests.fuzz.shapes._engines", [])
    edges = iter(range(EDGES_MAX))
    found: list[int] = []
    begin(lambda: next(edges), found.append)
    return found


def test_what_was_read_and_why_it_was_refused_are_told_to_the_engine(
    reached: list[int],
) -> None:
    """An entry that is decoded in C takes the same branches of ours, whatever it says."""
    one = b'\x0c{"actor":"a","is_held":true,"ranges":[[1,2]],"reason":"r","time_ns":1}'
    seen = [set(_reached(reached, data)) for data in (one, one.replace(b"true", b"false"))]
    assert len(seen[0] ^ seen[1]) == 2, "held, and not held"
    more = set(_reached(reached, one.replace(b"[[1,2]]", b"[[1,2],[4,5]]")))
    assert more - seen[0], "two ranges are another edge than one"
    refused = [_reached(reached, one + b" " * count) for count in (1, 2)]
    assert refused[0] == refused[1], "a refusal counts by its reason"
    assert set(refused[0]).isdisjoint(seen[0])
    unknown = [_reached(reached, b'\x0c{"%s":1}' % name) for name in (b"x", b"y`z", b"y\\nz")]
    assert unknown[0] == unknown[1] == unknown[2] != refused[0], "not by the input's own words"


def test_what_a_manifest_says_of_a_pod_is_told_to_the_engine(reached: list[int]) -> None:
    """Fields that no branch of ours asks for are read in C as well."""
    head = b"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
    pod = head + b"spec: {hostNetwork: %s, containers: %s}\n"
    one, two = b"[{name: a}]", b"[{name: a}, {name: b}]"
    given = ((b"false", one), (b"true", one), (b"true", two), (b"true", two))
    seen = [set(_reached(reached, pod % each, "manifests")) for each in given]
    assert len(seen[0] ^ seen[1]) == 2
    assert seen[1] != seen[2] == seen[3]


def test_values_are_told_apart_by_few_kinds() -> None:
    numbers = [0, 1, 2, 3, 7, 0.5, 2**31, 2**70, -1, -2.5, True, False, None]
    kinds_ = ["0", "1", "+", "+", "+", "+", "++", "++", "-", "-", "True", "False", "None"]
    assert [shape_of(number) for number in numbers] == kinds_
    assert [shape_of(0.0), shape_of(1.0)] == ["0", "1"]
    assert len({shape_of([0] * count) for count in range(10)}) == 5, "none to three, and more"
    assert shape_of("") != shape_of("a") == shape_of("b") == shape_of(b"b")


def test_what_is_nested_freely_has_an_end() -> None:
    value: object = "a"
    for _ in range(50):
        value = {"a": [value]}
    assert len(set(shapes("free", value))) < 10


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Invalid enum value 'ab'", "Invalid enum value 'an unknown field'"),
        ("Object contains unknown field `ab`", "Object contains unknown field `a'b\ncd`"),
        ("can't decode byte 0xc3 in position 1: end", "can't decode byte 0x80 in position 25: end"),
        ("Invalid enum value 'ab'", "Invalid enum value 'a\\'"),
        ("Cannot declare ('a',) twice (at line 1, column 2)", "Cannot declare ('b', 'c)') twice"),
        ("Illegal character '\\x00' (at line 1, column 2)", 'Illegal character "\'"'),
        ("found undefined alias 'a'", "found undefined alias 'b\\'\\\"c'"),
        (
            "Cannot mutate immutable namespace ('a',) (at end of document)",
            "Cannot mutate immutable namespace ('b', 'c', 'd') (at line 3, column 1)",
        ),
        ("Expected `int`, got `str` - at `$.a`", "Expected `int`, got `str` - at `$.b[]`"),
    ],
)
def test_a_readers_reason_holds_nothing_of_the_input(one: str, other: str) -> None:
    assert _reason(msgspec.ValidationError(one)) == _reason(msgspec.ValidationError(other))
    more = "Expected `str`, got `int`"
    assert _reason(msgspec.ValidationError(one)) != _reason(msgspec.ValidationError(more))


def _reached(reached: list[int], data: bytes, surface: str = "journals") -> list[int]:
    reached.clear()
    run(surface, data)
    return list(reached)


def test_an_answer_counts_by_what_it_is_not_by_what_it_quotes(
    reached: list[int],
) -> None:
    """A watch's lines are writes of their own, with the names that the input has given."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    pod = b'1f\r\n{"type":"ADDED","object":{"metadata":{"name":"%s"}}}\r\n'
    seen = []
    for sent in (
        *([head, pod % b"a"], [head, pod % b"b", pod % b"HTTP/1.1 500"], [head + pod % b"a"]),
        *([head, pod.replace(b"ADDED", b"ERROR")], [head, head], [head.replace(b"200", b"410")]),
    ):
        reached.clear()
        served._show(b"GET /api/v1/pods HTTP/1.1", sent)
        seen.append(frozenset(reached))
    assert len({*seen[:3]}) == 1, "as many writes, and such words, as may be"
    assert len({*seen}) == 4, "another event, another number of answers, another status"
    counts = []
    for status in (b"200", b"409"):
        shown = []
        for reason in (b"Conflict", b"Expired"):
            reached.clear()
            served._show(b"", [b'HTTP/1.1 %s A\r\n\r\n{"reason":"%s"}' % (status, reason)])
            shown.append(frozenset(reached))
        counts.append(len({*shown}))
    assert counts == [1, 2], "an object's reason is the input's, a refusal's is the server's"


def test_every_surface_has_a_planted_bug() -> None:
    assert set(PLANTED) == set(SURFACES)


PLANTED_AND_RUN = """
from tests.fuzz.engine import CORPUS
from tests.fuzz.planted import PLANTED
from tests.fuzz.targets import run
for surface, plant in PLANTED.items():
    plant()
    for file in sorted((CORPUS / surface).iterdir()):
        print(surface, file.name, flush=True)
        run(surface, file.read_bytes())
"""


def test_no_input_of_the_corpus_meets_a_planted_bug() -> None:
    """Else finding it would show nothing."""
    command = [sys.executable, "-c", PLANTED_AND_RUN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-100:] + done.stderr[-2000:]


def test_a_planted_bug_of_a_server_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server says no more than that it failed; its log says why."""
    real = ApiServer._body

    async def broken(self: ApiServer, request: Any) -> bytes:
        await real(self, request)
        raise KeyError("planted")

    monkeypatch.setattr(ApiServer, "_body", broken)
    pod = b"\x80POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: a\r\n"
    with pytest.raises(AssertionError, match=SAID):
        run("servers", pod + b"Authorization: Bearer t\r\nContent-Length: 2\r\n\r\n{}")


def test_a_change_gives_an_object_a_field_that_it_may_have() -> None:
    fields = Fields(kinds("manifests"), words("manifests"))
    dice = random.Random(1)
    for node in ({"containers": [{"name": "c"}]}, {"kind": ["Pod"], "containers": []}):
        told: set[str] = set()
        refused = 0
        for _ in range(200):
            changed: dict[str, Any] = {**node}
            fields.put(changed, dice)
            told |= changed.keys() - node.keys()
            pod = {"metadata": {"name": "a"}, "spec": {**changed, "containers": [{"name": "c"}]}}
            try:
                decode.decode(Pod, json.dumps(pod).encode())
            except ConfigError:
                refused += 1
        assert {"hostNetwork", "nodeName", "tolerations"} <= told
        assert 0 < refused < 20, "few are to be refused"
    only: dict[str, Any] = {"kind": "Pod"}
    fields.put(only, dice)
    assert only.keys() <= {"kind", "apiVersion", "metadata", "spec", "status"}, "its kind says more"


@pytest.mark.parametrize(
    ("surface", "node", "more"),
    [
        ("scenarios", {"name": "n", "zones": []}, {"taints", "images", "vary"}),
        ("scenarios", {"at": "1m", "kind": "drain"}, {"until", "from", "allocatable"}),
        ("configuration", {"scoringStrategy": {}}, {"ignoredResources"}),
        ("configuration", {"schedulerName": "a"}, {"plugins", "pluginConfig"}),
        ("configuration", {"batch_max": 1}, {"backoff", "starvation"}),
    ],
)
def test_tables_and_arguments_are_known_by_their_fields(
    surface: str, node: dict[str, Any], more: set[str]
) -> None:
    fields, told = Fields(kinds(surface), words(surface)), set[str]()
    for seed in range(200):
        changed = {**node}
        fields.put(changed, random.Random(seed))
        told |= changed.keys()
    assert more <= told


def test_fields_get_their_kinds_of_value_in_turn() -> None:
    """By chance alone, the last of a thousand kinds would take a million changes."""
    fields, told = Fields(kinds("configuration"), words("configuration")), set[str]()
    dice = random.Random(2)
    for _ in range(3_000):
        node: dict[str, Any] = {"urlPrefix": "u", "managedResources": []}
        fields.put(node, dice)
        told |= {f"{name} {shape_of(value)}" for name, value in node.items()}
    for kind in ("-", "0", "1", "+", "++"):
        assert f"weight {kind}" in told
    assert {f"managedResources of {count}" for count in range(MANY + 1)} <= told
    misfits: list[Any] = [None, 1, "", [], {}]
    assert {f"enableHTTPS {shape_of(one)}" for one in misfits} <= told
    assert {"enableHTTPS True", "enableHTTPS False", "urlPrefix empty", "urlPrefix text"} <= told


def test_a_field_of_one_input_may_come_into_another() -> None:
    """One of each kind of value is kept: of many containers the one input, of one the other."""
    fields = Fields(kinds("manifests"), words("manifests"))
    many = [{"name": name} for name in "xyz"]
    for containers in (many, [{"name": "x"}], [{"name": "w"}]):
        fields.see([({"containers": containers}, "containers")], random.Random(1))
    fields.see([({"containers": [{"name": "c" * 600}]}, "containers")], random.Random(1))
    fields.see([({"unknown": 1}, "unknown"), ([1], 0), ({}, None)], random.Random(1))
    found = []
    for seed in range(400):
        node: dict[str, Any] = {"hostNetwork": True, "nodeName": "n"}
        fields.put(node, random.Random(seed))
        found.append(node.get("containers"))
        assert "unknown" not in node
    assert many in found
    assert [{"name": "w"}] in found
    assert [{"name": "x"}] not in found, "the last of its kind counts"


def test_an_input_that_was_read_is_changed_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    bases, dice = Bases(), random.Random(1)
    assert bases.instead_of(b"refused", dice) == b"refused", "there is none that was read"
    bases.was_read(b"read")
    assert {bases.instead_of(b"read", dice) for _ in range(20)} == {b"read"}
    assert bases.instead_of(b"read", dice) == b"read"
    given = [bases.instead_of(b"refused", dice) for _ in range(100)]
    assert 30 < given.count(b"read") < 70
    assert given.count(b"read") + given.count(b"refused") == 100
    monkeypatch.setattr("tests.fuzz.bases._READ_MAX", 1)
    bases.was_read(b"another")
    assert {bases.instead_of(b"read", dice) for _ in range(20)} == {b"read"}, "it is known"
    assert bases.is_read(b"read")
    assert not bases.is_read(b"refused")


def test_a_surface_says_whether_it_read_an_input_and_that_is_changed() -> None:
    assert run("quantities", b"7")
    assert not run("quantities", b"\xff")
    mutator = Mutator("quantities", lambda data: data)
    mutator.bases.was_read(b"12345678")
    mutator(b"12345678", 100, 0)
    made = [mutator(b"...", 100, seed) for seed in range(200)]
    assert sum(any(str(digit).encode() in one for digit in range(3, 8)) for one in made) > 60


def test_toml_is_written_as_it_was_read() -> None:
    for file in ("scenarios/tables.bin", "scenarios/full.bin", "configuration/rules.bin"):
        content = tomllib.loads((CORPUS / file).read_text())
        assert tomllib.loads(toml_of(content)) == content
    odd = {
        "a b": {"é\n": [1.5, True, {"": []}]},
        "t": [],
        "m": [{"x": '"'}, {}],
        "d": date(2026, 1, 2),
    }
    assert tomllib.loads(toml_of(odd)) == odd
    assert tomllib.loads(toml_of({"a": None, "b": [None, 1], "c": {"d": None}})) == {
        "b": [1],
        "c": {},
    }


@pytest.mark.parametrize("surface", ["scenarios", "configuration"])
def test_a_change_of_toml_is_read_as_toml(surface: str) -> None:
    """Of a tree's changes hardly one breaks the spelling; those of lines and bytes do."""
    mutator = Mutator(surface, lambda data: data[:-1])
    file = {"scenarios": "full.bin", "configuration": "rules.bin"}[surface]
    data = (CORPUS / surface / file).read_bytes()
    changed = 0
    for seed in range(300):
        with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):
            changed += tomllib.loads(mutator(data, 4096, seed).decode()) != tomllib.loads(
                data.decode()
            )
    assert changed > 120


def test_the_arguments_of_a_policys_rules_are_read() -> None:
    text = '{"name": "p", "plugins": [{"name": "LoadAware", "args": {"thresholdPercent": %s}}]}'
    SURFACES["configuration"]((text % "50").encode())
    with pytest.raises(ConfigError, match="LoadAware"):
        SURFACES["configuration"]((text % '"x"').encode())
    both = '{"profiles": [%s, {"name": "q", "plugins": [{"name": "NodeName", "args": {"a": 1}}]}]}'
    with pytest.raises(ConfigError, match="NodeName"):
        SURFACES["configuration"]((both % (text % "50")).encode())


def test_a_bug_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> int:
        raise KeyError(text)

    monkeypatch.setattr(quantity, "quantity_nano", broken)
    with pytest.raises(KeyError):
        run("quantities", b"7")


def test_an_input_that_takes_more_than_a_second_comes_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CPU time counts, which here passes by itself."""
    times = iter([0, 10**9 + 1])
    monkeypatch.setattr("tests.fuzz.targets.time.thread_time_ns", lambda: next(times))
    with pytest.raises(SlowError, match=r"quantities: 1\.0 s"):
        run("quantities", b"7")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("surface", QUICK)
def test_a_planted_bug_is_found(surface: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the extra fuzz is not installed")
    order = Order(surface, tmp_path / "corpus", EXECUTIONS_MAX, 240, is_planted=True, seed=1)
    assert SAID in carried_out(order).found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_volume_goes_on_where_it_was_left(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the extra fuzz is not installed")
    said: list[str] = []
    first = run_volume(tmp_path, ["quantities"], Volume(2_000, 0, 0), said.append)["quantities"]
    assert first.executions >= 2_000
    assert first.edges > 100
    assert not first.found
    assert len(said) == 1
    kept = read_states(tmp_path, ["quantities"])["quantities"]
    assert kept == first
    more = Volume(2_000, 0, first.executions)
    again = run_volume(tmp_path, ["quantities"], more, said.append)["quantities"]
    assert again == first, "nothing was left to do"
    assert len(said) == 1


@pytest.mark.slow
def test_what_was_found_holds_its_surface_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "quantities" / "found-crash-1"
    bad.parent.mkdir()
    bad.write_bytes(b"7")

    def broken(text: str) -> int:
        raise KeyError(text)

    with monkeypatch.context() as patched:
        patched.setattr(quantity, "quantity_nano", broken)
        state = run_volume(tmp_path, ["quantities"], Volume(1, 0, 1), print)["quantities"]
    assert "KeyError" in state.found
    assert not state.executions
    monkeypatch.setattr("tests.fuzz.campaign.carried_out", _one_execution)
    state = run_volume(tmp_path, ["quantities"], Volume(1, 0, 1), print)["quantities"]
    assert (state.found, state.executions) == ("", 1)
    assert (bad.parent / "corpus" / bad.name).exists(), "it is an input like others from now on"


def _one_execution(order: Order) -> Outcome:
    return Outcome(1, 1, 1, 1, "")


def test_executions_without_a_new_edge_are_counted_over_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round finds the edges of its corpus again, which are not new."""
    rounds = [(100, 7, 60), (1000, 7, 10), (1000, 6, 500), (1000, 8, 400), (1500, 8, 3)]
    outcomes = iter([Outcome(ran, edges, last, 1, "") for ran, edges, last in rounds])
    asked: list[int] = []

    def round_of(order: Order) -> Outcome:
        order.folder.mkdir(parents=True, exist_ok=True)
        asked.append(order.runs)
        return next(outcomes)

    monkeypatch.setattr("tests.fuzz.campaign.carried_out", round_of)
    seen: list[State] = []
    enough = Volume(2_000, 2_100, 0)
    run_volume(
        tmp_path,
        ["quantities"],
        enough,
        lambda _: seen.append(read_states(tmp_path, ["quantities"])["quantities"]),
    )
    assert [state.quiet for state in seen] == [40, 1040, 2040, 600, 2100]
    assert [state.edges for state in seen] == [7, 7, 7, 8, 8]
    assert asked == [2100, 2060, 1060, 1000, 1500], "no fewer than a round is worth"


TOLD = """#100\tINITED cov: 90 ft: 91 corp: 3/9b exec/s: 0 rss: 70Mb
#2500\tNEW    cov: 91 ft: 99 corp: 4/12b lim: 4 exec/s: 0 rss: 70Mb L: 3/3 MS: 1 Custom-
#3000\tREDUCE cov: 91 ft: 99 corp: 4/11b lim: 4 exec/s: 0 rss: 70Mb L: 2/3 MS: 1 Custom-
#4096\tpulse  cov: 91 ft: 99 corp: 4/11b lim: 4 exec/s: 0 rss: 70Mb
stat::number_of_executed_units: 5000
"""


def test_what_the_engine_says_is_read(tmp_path: Path) -> None:
    assert _outcome(TOLD, 0, []) == Outcome(4900, 91, 2400, 4, "")
    corpus = "#64\tpulse  cov: 90 ft: 91 corp: 2/9b\n" + TOLD.partition("#2500")[0]
    assert _outcome(corpus + "#900\tDONE   cov: 90 ft: 91 corp: 3/9b\n", 0, []) == Outcome(
        800, 90, 0, 3, ""
    )
    bad = tmp_path / "found-timeout-1"
    bad.write_bytes(b"what took long")
    told = [_outcome(TOLD, 77, [bad]), _outcome(TOLD, None, []), _outcome("no such module", 1, [])]
    assert "found-timeout-1: b'what took long'" in told[0].found
    assert told[1].found.startswith("no end\n")
    assert "no such module" in told[2].found
    assert [one.executions for one in told] == [4900, 4900, 0]


def test_the_table_adds_up() -> None:
    states = {
        "a": State(executions=1000, quiet=5, edges=7, corpus=2, seconds=2),
        "b": State(executions=3),
    }
    text = table(states)
    assert "| a | 1,000 | 5 | 7 | 2 | 500 |\n" in text
    assert "| all | 1,003 |" in text


LONG = 16_384
FILLERS = [
    *(b"\n", b" ", b"a.", b"a-", b"[", b"{", b'{"a":', b",", b"0", b"\\", b'"', b"&", b"a=b&"),
    *(b"%", b"\xff", b"- ", b"? ", b"a: ", b"[a]\n", b"a=1\n", b"\r\n", b"AAAA", b"!", b"(", b"."),
]


@pytest.mark.slow
@pytest.mark.parametrize("surface", SURFACES)
def test_a_long_input_of_one_kind_is_read_in_time_and_to_its_end(surface: str) -> None:
    """Patterns that backtrack, keys of many parts, and nesting that overflows a stack in C."""
    heads = (b"\0", b"\x60", b"\x90", b"\xd0") if surface in PREFIXED else (b"", b"a: ", b"a = ")
    for head in heads:
        for filler in FILLERS:
            run(surface, head + filler * (LONG // len(filler)))
