"""`herz audit check`: whether a proof holds, with nothing but the keys."""

from __future__ import annotations

from typing import Annotated, Any

from herz.commit.audit.entry import decode, leaf_kind
from herz.commit.audit.proof import check_proof
from herz.commit.audit.trust import Vouched
from herz.front import vouched
from herz.front.cli.declared import Argument, Option
from herz.front.cli.options import Output, OutputOption
from herz.front.cli.printing import print_answer
from herz.model.journal import Kind
from herz.model.record import Record

CHECK = "Example: herz audit check decision.tlog-proof --trust trust.toml"


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
