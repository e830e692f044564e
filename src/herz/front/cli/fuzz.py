"""`herz fuzz`: find what breaks a comparator or a rule before a cluster does."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec

from herz.errors import ConfigError
from herz.front.atomic import write_whole
from herz.front.cli.declared import Argument, Option
from herz.front.cli.failure import Exit
from herz.front.cli.options import Output, OutputOption, checked_name, parsed_integer, parsed_seed
from herz.front.cli.printing import print_answer
from herz.front.fuzz.rules import RuleReport, RuleWish, fuzz_rule
from herz.front.fuzz.run import Fault, Report, Wish, fuzz_comparator, replay
from herz.intake.fuzz import Flaw

SECONDS_MAX = 7 * 86_400

COMPARATOR = """Examples:

    herz fuzz comparator my_rules.py:by_age

    herz fuzz comparator my_rules:MyOrder --seconds 60 --seed 7 --output json

    herz fuzz comparator my_rules.py:by_size --type "tuple[int, str]" --hostile

    herz fuzz comparator my_rules.py:by_age --replay herz-fuzz/my_rules-by_age-0.json
"""


PLUGIN = """Examples:

    herz fuzz plugin my_rules.py:NoSpotForBatch

    herz fuzz plugin my_rules:PreferCold --args '{"hottest": 45}' --seconds 60 --output json

    herz fuzz plugin my_rules.py:NoSpotForBatch --seed 0 --case 17
"""


def plugin(
    name: Annotated[str, Argument(metavar="MODULE:CLASS|FILE.py:CLASS", help="The rule.")],
    *,
    args: Annotated[str, Option(metavar="JSON", help="The rule's arguments.")] = "{}",
    seconds: Annotated[str, Option(metavar="N", help="How long to look.")] = "10",
    seed: Annotated[str, Option(metavar="N", help="Of all chance.")] = "0",
    case: Annotated[
        str | None, Option(metavar="N", help="Only this case, as a report names it.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Hold a rule to its contract: types, ranges, rows, purity, declared reads, what-ifs, cost.

    Exit code 1 when a clause is broken, 0 when none is.
    """
    wish = RuleWish(
        target=checked_name(name, option="PLUGIN"),
        args=_arguments(args),
        seconds=float(parsed_integer(seconds, option="--seconds", low=1, high=SECONDS_MAX)),
        seed=parsed_seed(seed),
        only=None if case is None else parsed_integer(case, option="--case", low=0, high=1 << 40),
    )
    report = fuzz_rule(wish, _progress(output))
    _print_rule(report, output)
    return Exit.DONE if report.is_sound else Exit.NO


def _arguments(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        fix = "give a JSON object, as the policy's args"
        raise ConfigError(str(error), where="--args", value=text, fix=fix) from error


def _print_rule(report: RuleReport, output: Output) -> None:
    if sys.stderr.isatty() and output is Output.TABLE:
        sys.stderr.write("\r\x1b[K")
    line = f"herz fuzz plugin {report.target} --seed {report.seed} --case {report.case}"
    rows = [("clause", report.clause)] if report.clause else []
    rows += [("" if at else "seen", said) for at, said in enumerate(report.says)]
    rows += [("cases", f"{report.cases:,}")]
    rows += [(f"ns a row, {rows_} rows", str(ns)) for rows_, ns in report.by_row_ns.items()]
    verdict = "keeps its contract" if report.is_sound else f"it {report.clause}"
    verb = {"verdict": "none" if report.is_sound else "fault"}
    print_answer(
        {**verb, **asdict(report), "reproduce": "" if report.is_sound else line},
        output,
        title=f"{report.target}: {verdict}  (seed {report.seed})",
        columns=("", "what"),
        rows=rows,
        after=[] if report.case is None else [f"repeat: {line}"],
    )


def comparator(
    name: Annotated[str, Argument(metavar="MODULE:NAME|FILE.py:NAME", help="What to try.")],
    *,
    type_text: Annotated[
        str | None,
        Option("--type", metavar="T", help="Its arguments' type, where it says none."),
    ] = None,
    hostile: Annotated[
        bool, Option("--hostile", help="Try values outside the type as well; no fault.")
    ] = False,
    seconds: Annotated[str, Option(metavar="N", help="How long to look.")] = "10",
    seed: Annotated[str, Option(metavar="N", help="Of all chance.")] = "0",
    crashes: Annotated[
        str, Option(metavar="DIR", help="Where what is found is written down.")
    ] = "herz-fuzz",
    replay_: Annotated[
        str | None,
        Option("--replay", metavar="FILE", help="Only try what such a file holds."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Look for breaks of strict weak order, exceptions, hidden state and changed arguments.

    Exit code 1 when a fault is found, 0 when none is.
    """
    wish = Wish(
        target=checked_name(name, option="COMPARATOR"),
        type_text=type_text,
        seconds=float(parsed_integer(seconds, option="--seconds", low=1, high=SECONDS_MAX)),
        seed=parsed_seed(seed),
        is_hostile=hostile,
    )
    if replay_ is not None:
        return _replay(wish, Path(replay_), output)
    report = fuzz_comparator(wish, _progress(output))
    log = None if report.fault is None else _write(report, Path(crashes))
    _print(report, log, output)
    return Exit.DONE if report.fault is None else Exit.NO


def _replay(wish: Wish, path: Path, output: Output) -> int:
    try:
        kept = msgspec.json.decode(path.read_bytes())
        told = kept["fault"]
        fault = Fault(Flaw(told["flaw"]), told["says"], told["shown"], told["arguments"])
        fault.setting = told["setting"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "give a file that `herz fuzz comparator` has written"
        raise ConfigError("no crash log", where="--replay", value=str(path), fix=fix) from error
    again = replay(wish, fault)
    answer = {"target": wish.target, "flaw": fault.flaw.value, "is_seen_again": again}
    rows = [("fault", fault.flaw.value), ("seen again", "yes" if again else "no")]
    print_answer(answer, output, title=f"Replay of {path}", columns=("", "value"), rows=rows)
    return Exit.NO if again else Exit.DONE


def _progress(output: Output) -> Any:
    def tell(text: str) -> None:
        if output is Output.TABLE and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[Kfuzz: {text}")
            sys.stderr.flush()

    return tell


def _write(report: Report, folder: Path) -> Path:
    """The crash log: the seed, the counter-example, and a line that repeats it."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(report.target).name)
    path = folder / f"{safe.replace('-py-', '-')}-{report.seed}.json"
    folder.mkdir(parents=True, exist_ok=True)
    line = f"herz fuzz comparator {report.target} --replay {path}"
    content = {**_plain(report), "reproduce": line}
    write_whole(path, json.dumps(content, indent=2) + "\n")
    return path


def _plain(report: Report) -> dict[str, Any]:
    whole = asdict(report)
    return {"verdict": "none" if report.fault is None else "fault", **whole}


def _print(report: Report, log: Path | None, output: Output) -> None:
    if sys.stderr.isatty() and output is Output.TABLE:
        sys.stderr.write("\r\x1b[K")
    after = []
    fault = report.fault
    rows: list[tuple[str, str]] = []
    if fault is not None:
        rows += [("fault", fault.flaw.value)]
        rows += list(zip("abc", fault.shown, strict=False))
        rows += [("" if at else "seen", said) for at, said in enumerate(fault.says)]
        rows += [("fresh process", "the same" if fault.is_confirmed else "not seen again")]
        after = [
            f"written to {log}",
            f"repeat: herz fuzz comparator {report.target} --replay {log}",
        ]
    rows += [(name, f"{count:,}") for name, count in report.tried.items()]
    rows += [("engines", ", ".join(report.engines))] if report.engines else []
    rows += [("outside", f"{one['value']}: {one['says']}") for one in report.robustness]
    rows += [("note", note) for note in report.notes]
    rows += [("cut short", ", ".join(report.cut_short))] if report.cut_short else []
    rows += [("not tried", ", ".join(report.not_tried))] if report.not_tried else []
    verdict = "no fault found" if fault is None else f"it {fault.flaw.value}"
    answer = {**_plain(report), "crash_log": None if log is None else str(log)}
    print_answer(
        answer,
        output,
        title=f"{report.target}: {verdict}  (seed {report.seed})",
        columns=("", "what"),
        rows=rows,
        after=after,
    )
