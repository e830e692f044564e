"""`herz simulate`: run a scenario in virtual time and show what happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

from herz import app
from herz.app import Wrap
from herz.checking import check_start
from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.entry import Check
from herz.commit.audit.journaled import STATE_EVERY
from herz.commit.audit.signing import LogSigner
from herz.errors import ConfigError
from herz.front.answer import answer, notes, table_rows
from herz.front.atomic import checked_target, write_whole
from herz.front.cli.audit_keys import PassphraseFd, PassphraseFile, secret
from herz.front.cli.declared import Argument, Option
from herz.front.cli.journals import FORM, new_journal
from herz.front.cli.options import (
    Garbage,
    Output,
    OutputOption,
    checked_data,
    checked_name,
    parsed_integer,
    parsed_load,
    parsed_runs,
    parsed_seed,
)
from herz.front.cli.printing import print_answer
from herz.front.cli.progress import shown_progress
from herz.front.cli.run_options import Collector
from herz.front.report import render
from herz.front.trusting import log_signer
from herz.journaling import Resumption, written
from herz.world.collecting import Automatic, BetweenSteps, GarbageCollector
from herz.world.sim.result import Summary
from herz.world.store.where import Where

STATE_EVERY_MAX = 10**9
Resume = Annotated[
    bool, Option("--resume", help="Go on in the journal of the same run, after a kill.")
]

EXAMPLE = """Examples:

    herz simulate

    herz simulate basic-5000 --seed 7 --output json

    herz simulate openb --data DIR --list default --load 1.3 --runs 10 --policy bestfit

    herz simulate shop --report shop.html

    herz simulate shop --journal DIR

    herz simulate shop --journal DIR --resume

    herz simulate shop --journal DIR --key log.key --passphrase-file pass
"""


def simulate(
    scenario: Annotated[
        str, Argument(help="A built-in scenario's name, or a path to one.")
    ] = "shop",
    *,
    policy: Annotated[
        str,
        Option(metavar="NAME|FILE", help="A built-in policy, or a file: all its profiles."),
    ] = "default",
    seed: Annotated[str, Option(metavar="N", help="Seed of the first run.")] = "0",
    runs: Annotated[str, Option(metavar="K", help="How many runs, each with the next seed.")] = "1",
    data: Annotated[
        str | None, Option(metavar="DIR", help="Folder of the trace, where one is replayed.")
    ] = None,
    list_name: Annotated[
        str | None, Option("--list", metavar="NAME", help="Which pod list of the trace.")
    ] = None,
    load: Annotated[
        str | None,
        Option(metavar="X", help="Arriving load over capacity, such as 1.3."),
    ] = None,
    output: OutputOption = Output.TABLE,
    report: Annotated[str | None, Option(metavar="FILE.html", help="Write an HTML report.")] = None,
    journal: Annotated[
        str | None,
        Option(metavar=FORM, help="Write a journal: every input, every decision."),
    ] = None,
    state_every: Annotated[
        str, Option(metavar="N", help="Decisions from one state to the next in it.")
    ] = str(STATE_EVERY),
    resume: Resume = False,
    key: Annotated[
        str | None, Option(metavar="FILE", help="Sign its checkpoints with this log's keys.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    collector: Collector = Garbage.BETWEEN_STEPS,
) -> None:
    """Run a scenario in virtual time: the same code that drives a live cluster."""
    target = None if report is None else checked_target(report, option="--report")
    count, checked = parsed_runs(runs), checked_name(policy, option="--policy")
    every = parsed_integer(state_every, option="--state-every", low=1, high=STATE_EVERY_MAX)
    where = None if journal is None else new_journal(journal, count)
    signer = _signer(key, where, passphrase_file, passphrase_fd)
    again = _resumption(where) if resume else None
    check = check_start(app.load_policies(checked))
    with (
        shown_progress(is_table=output is Output.TABLE) as progress,
        nullcontext() if where is None else _written(where, every, signer, again, check) as wrap,
    ):
        summary = app.run_simulation(
            scenario=checked_name(scenario, option="SCENARIO"),
            policy=checked,
            seed=parsed_seed(seed),
            runs=count,
            data=None if data is None else checked_data(data),
            list_name=None if list_name is None else checked_name(list_name, option="--list"),
            load=None if load is None else parsed_load(load),
            progress=progress,
            wrap=wrap,
            garbage=_MAKERS[collector],
        )
    if target is not None:
        # Before the answer is printed: a failed write must not follow a printed success.
        write_whole(target, render(summary))
    _print(summary, target, where, output, again)


def _between_steps() -> GarbageCollector:
    # A scenario's load leaves next to nothing, which is not worth a full collection each run.
    return BetweenSteps(is_loaded=False)


_MAKERS: Mapping[Garbage, Callable[[], GarbageCollector]] = {
    Garbage.BETWEEN_STEPS: _between_steps,
    Garbage.DEFAULT: Automatic,
}


def _resumption(where: Where | None) -> Resumption:
    if where is None:
        fix = "give --journal, too, or leave --resume out"
        raise ConfigError("there is no journal to go on with", where="--resume", fix=fix)
    return Resumption()


def _signer(
    key: str | None, where: Where | None, file: str | None, descriptor: str | None
) -> LogSigner | None:
    """Who signs the journal's checkpoints; None where nobody was named."""
    if key is None:
        return None
    if where is None:
        fix = "give --journal, too, or leave --key out"
        raise ConfigError("there is no journal to sign", where="--key", value=key, fix=fix)
    return log_signer(checked_name(key, option="--key"), secret(file, descriptor))


def _written(
    where: Where,
    state_every: int,
    signer: LogSigner | None,
    again: Resumption | None,
    check: Check,
) -> AbstractContextManager[Wrap]:
    """A journal under its signer's name."""
    if signer is None:
        return written(where, state_every=state_every, resumption=again, check=check)

    def notary(checkpoint: Checkpoint) -> bytes:
        return signer.sign(checkpoint.text).data

    return written(
        where,
        origin=signer.origin,
        notary=notary,
        state_every=state_every,
        resumption=again,
        check=check,
    )


def _print(
    summary: Summary,
    target: Path | None,
    where: Where | None,
    output: Output,
    again: Resumption | None,
) -> None:
    """Print the answer."""
    after = [f"note: {note}" for note in notes(summary)]
    if target is not None:
        after.append(f"report: {target}")
    if where is not None:
        after.append(f"journal: {where}")
    if again is not None:
        after.append(f"note: {again.repeated} entries were there, and are the same")
        after += [f"note: {again.recovered}"] if again.recovered else []
    print_answer(
        answer(summary, None if target is None else str(target)),
        output,
        title=f"herz simulate {summary.scenario}",
        columns=("figure", "value", "spread"),
        rows=[(row.figure, row.value, row.spread) for row in table_rows(summary)],
        after=after,
    )
