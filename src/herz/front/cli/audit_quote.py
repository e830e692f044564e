"""`herz audit quote` and `herz audit quote-check`: what a TPM says of the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from herz.commit.audit.checkpoint import parse_signed
from herz.errors import ConfigError
from herz.front import quoting
from herz.front.atomic import checked_target, write_whole
from herz.front.cli.failure import Exit
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import Output, checked_name
from herz.front.cli.printing import print_answer
from herz.front.trusting import read_file

QUOTE = """Examples:

    herz audit quote --journal DIR --tpm device:/dev/tpmrm0 --create --to now.quote

    herz audit quote --journal DIR --tpm device:/dev/tpmrm0 --to later.quote
"""
CHECK = "Example: herz audit quote-check now.quote --key BASE64"

OutputOption = Annotated[Output, typer.Option(help="Form of the answer.")]


def quote(
    *,
    journal: JournalOption,
    tpm: Annotated[str, typer.Option(metavar="TCTI", help="How the TPM 2.0 is reached.")],
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="The quote's file.")],
    tpm_handle: Annotated[
        str, typer.Option(metavar="HANDLE", help="Where the TPM keeps the attestation key.")
    ] = f"{quoting.HANDLE:#x}",
    create: Annotated[bool, typer.Option("--create", help="Make the attestation key now.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a TPM state its PCRs 0 to 7 and 10, bound to the journal's last checkpoint."""
    where = journal_at(journal)
    target = checked_target(to, option="--to")
    made = quoting.make_quote(
        where,
        checked_name(tpm, option="--tpm"),
        _handle(tpm_handle),
        is_new=create,
    )
    write_whole(target, made.data)
    size = parse_signed(made.checkpoint.encode())[0].size
    print_answer(
        {"file": to, "size": size, "key": made.key, "keeper": made.keeper},
        output,
        title=f"herz audit quote {where}",
        columns=("figure", "value"),
        rows=[("entries", str(size)), ("keeper", made.keeper), ("file", to)],
        after=[f"the attestation key, to be remembered elsewhere: {made.key}"],
    )


def quote_check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The quote's file.")],
    *,
    key: Annotated[
        str | None, typer.Option(metavar="BASE64", help="The attestation key that you remembered.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Check a quote offline; exit code 1 where it does not verify, or nobody named its key."""
    found = quoting.read_quote(read_file(file, option="FILE"))
    stated = quoting.checked(found, key)
    size = parse_signed(found.checkpoint.encode())[0].size
    verdict = "verifies" if key else "internally consistent; whose key it is was not said"
    print_answer(
        {
            "verdict": verdict,
            "size": size,
            "pcrs": list(stated.pcrs),
            "pcr_digest": stated.digest.hex(),
            "resets": stated.resets[0],
            "restarts": stated.resets[1],
            "firmware": f"{stated.firmware:x}",
            "keeper": found.keeper,
        },
        output,
        title=f"herz audit quote-check {file}",
        columns=("figure", "value"),
        rows=[
            ("verdict", verdict),
            ("entries", str(size)),
            ("PCRs", ", ".join(map(str, stated.pcrs))),
            ("digest over them", stated.digest.hex()),
            ("resets, restarts", f"{stated.resets[0]}, {stated.resets[1]}"),
            ("keeper, by its own word", found.keeper),
        ],
        after=["note: that the key is a genuine TPM's is for its certificate: not checked"],
    )
    return Exit.DONE if key else Exit.NO


def _handle(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        fix = f"such as {quoting.HANDLE:#x}"
        raise ConfigError("not a handle", where="--tpm-handle", value=text, fix=fix) from error
