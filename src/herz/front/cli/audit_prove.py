"""`herz audit prove`: one decision in one file."""

from __future__ import annotations

from typing import Annotated

from herz.commit.audit.proof import covering, make_proof
from herz.errors import ConfigError
from herz.front import vouched
from herz.front.atomic import checked_target, write_whole
from herz.front.cli.declared import Argument, Option
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import ENTRY_MAX, Output, OutputOption, parsed_integer
from herz.front.cli.printing import print_answer
from herz.world.store.where import indexed, reader_of

PROVE = """Examples:

    herz audit prove 1000 --journal DIR --trust trust.toml --to decision.tlog-proof
"""


def prove(
    decision: Annotated[str, Argument(metavar="DECISION", help="The decision's number.")],
    *,
    journal: JournalOption,
    to: Annotated[str, Option("--to", metavar="FILE", help="The proof's file.")],
    trust: Annotated[
        str | None,
        Option("--trust", metavar="FILE", help="Prove it to who trusts these keys."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write a file that proves one decision to anybody who has the keys, without the journal."""
    where = journal_at(journal)
    target = checked_target(to, option="--to")
    trusted = None if trust is None else vouched.read_trust(trust)
    sequence = parsed_integer(decision, option="DECISION", low=1, high=ENTRY_MAX)
    with indexed(where) as index:
        place = index.decision(sequence)
        if place is None:
            fix = f"give a number from 1 to {index.decisions}"
            raise ConfigError("no such decision", where="DECISION", value=sequence, fix=fix)
        entry = index.entry(place)
        note = covering(index.covering(place.entry), place.entry, trusted)
    reader = reader_of(where)
    checkpoint = vouched.checkpoint_of(note)
    read = vouched.hashes_of(reader, checkpoint.size, checkpoint.root)
    proof = make_proof(place.entry, entry, read, note)
    write_whole(target, proof.data.decode())
    answer = {
        "file": to,
        "decision": sequence,
        "entry": place.entry,
        "size": checkpoint.size,
        "hashes": len(proof.path),
    }
    rows = [(name, str(value)) for name, value in answer.items()]
    print_answer(
        answer,
        output,
        title=f"herz audit prove {decision}",
        columns=("figure", "value"),
        rows=rows,
        after=["it shows the decision whole to everybody who has the file"],
    )
