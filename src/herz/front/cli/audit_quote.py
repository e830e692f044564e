"""`herz audit quote` and `herz audit quote-check`: what a TPM says of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from herz.commit.audit.checkpoint import parse_signed
from herz.errors import ConfigError
from herz.front import quoting
from herz.front.atomic import checked_target, write_whole
from herz.front.cli.audit_keys import PassphraseFd, PassphraseFile, secret
from herz.front.cli.declared import Argument, Option
from herz.front.cli.failure import Exit
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import Output, OutputOption, checked_name
from herz.front.cli.printing import print_answer
from herz.front.vouched import read_file
from herz.world.signer.keyfile import open_key_file

QUOTE = """Examples:

    herz audit quote --journal DIR --key quote.key --create --tpm device:/dev/tpmrm0 --to now.quote

    herz audit quote --journal DIR --key quote.key --passphrase-file pass --to later.quote
"""
CHECK = "Example: herz audit quote-check now.quote --key BASE64"


def quote(
    *,
    journal: JournalOption,
    key_file: Annotated[
        str, Option("--key", metavar="FILE", help="What the TPM asks before it quotes.")
    ],
    to: Annotated[str, Option("--to", metavar="FILE", help="The quote's file.")],
    create: Annotated[
        bool, Option("--create", help="Make the attestation key and its file now.")
    ] = False,
    tpm: Annotated[str | None, Option(metavar="TCTI", help="With --create: the TPM 2.0.")] = None,
    tpm_handle: Annotated[
        str, Option(metavar="HANDLE", help="With --create: where the TPM keeps the key.")
    ] = f"{quoting.HANDLE:#x}",
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a TPM state its PCRs 0 to 7 and 10, bound to the journal's last checkpoint."""
    where = journal_at(journal)
    target = checked_target(to, option="--to")
    path = Path(checked_name(key_file, option="--key"))
    if create != (tpm is not None):
        fix = "give both, to make the attestation key, or neither"
        raise ConfigError("--create and --tpm belong together", where="--tpm", fix=fix)
    handle, passphrase = _handle(tpm_handle), secret(passphrase_file, passphrase_fd).read()
    if tpm is not None:
        tcti = checked_name(tpm, option="--tpm")
        quoting.create_quote_key(where, path, tcti, handle, passphrase)
    made = quoting.make_quote(where, open_key_file(path, passphrase, use="quote"))
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
    file: Annotated[str, Argument(metavar="FILE", help="The quote's file.")],
    *,
    key: Annotated[
        str | None, Option(metavar="BASE64", help="The attestation key that you remembered.")
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
