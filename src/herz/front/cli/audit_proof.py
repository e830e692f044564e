"""`herz audit prove` and `herz audit check`: one decision in one file, and whether it holds."""

from __future__ import annotations

from typing import Annotated, Any

from herz.commit.audit.entry import decode, leaf_kind
from herz.commit.audit.proof import check_proof, covering, make_proof
from herz.commit.audit.trust import Vouched
from herz.errors import ConfigError
from herz.front import vouched
from herz.front.atomic import checked_target, write_whole
from herz.front.cli.declared import Argument, Option
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import ENTRY_MAX, Output, OutputOption, parsed_integer
from herz.front.cli.printing import print_answer
from herz.model.journal import Kind
from herz.model.record import Record
from herz.world.store.where import indexed, reader_of

PROVE = """Examples:

    herz audit prove 1000 --journal DIR --trust trust.toml --to decision.tlog-proof
"""
CHECK = "Example: herz audit check decision.tlog-proof --trust trust.toml"


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
    reader = reader_of(where)
    note = covering(reader.notes(), place.entry, trusted)
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


def check(
    file: Annotated[str, Argument(metavar="FILE", help="What herz audit prove wrote.")],
    *,
    trust: Annotated[str, Option("--trust", metavar="FILE", help="Whose keys count.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a proof with nothing but the keys; exit code 1 where it does not hold."""
    trusted = vouched.read_trust(trust)
    proof, found = check_proof(vouched.read_file(file, option="FILE"), trusted)
    kind = leaf_kind(proof.leaf)
    content = decode(kind, proof.payload)
    told = {
        "kind": kind.name.lower(),
        "entry": proof.index,
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "by": found.by,
        "witnesses": [{"name": name, "time_s": time_s} for name, time_s in found.witnesses],
        "payload": proof.payload.decode(),
    }
    rows = [("verdict", "holds"), *_decided(kind, content)]
    rows += [(name, str(told[name])) for name in ("entry", "origin", "size", "by")]
    print_answer(
        told,
        output,
        title=f"herz audit check {file}",
        columns=("figure", "value"),
        rows=rows,
        after=_limits(found),
    )


def _decided(kind: Kind, content: Any) -> list[tuple[str, str]]:
    if kind is not Kind.RECORD or not isinstance(content, Record):
        return []
    pod = content.pod
    return [
        ("decision", str(content.sequence)),
        ("pod", f"{pod.namespace}/{pod.name}"),
        ("decided", str(content.decided)),
        ("node", content.node),
    ]


def _limits(vouched: Vouched) -> list[str]:
    """What the proof does not say."""
    if not vouched.witnesses:
        return ["no witness vouches: who has the log's key can have made this at any time"]
    first = min(time_s for _, time_s in vouched.witnesses)
    return [f"logged before {first} s since 1970, by the clock of a witness"]
