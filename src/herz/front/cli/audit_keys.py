"""`herz audit key` and `herz audit sign`: the keys of logs and witnesses, and their checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from herz.commit.audit.checkpoint import parse_checkpoint, parse_signed
from herz.commit.audit.note import KeyKind, NoteKey, is_key_name
from herz.errors import ConfigError
from herz.front import trusting, vouched
from herz.front.cli.declared import Argument, Option
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import Output, OutputOption, checked_name, parsed_integer
from herz.front.cli.printing import print_answer
from herz.front.trusting import Secret
from herz.world.signer.keyfile import Head, Use, open_key_file, read_head
from herz.world.signer.tpm import HANDLE_DEFAULT

CREATE = """Examples:

    herz audit key create log.key --name herz.example/shop --passphrase-file pass

    herz audit key create w1.key --name witness.example/w1 --witness --passphrase-fd 3 3<pass

    herz audit key create log.key --name herz.example/shop --tpm device:/dev/tpmrm0
    --passphrase-file pass
"""
SHOW = "Example: herz audit key show log.key --output json"
ROTATE = """Example:

    herz audit key rotate log.key new.key --journal DIR --actor ops --reason yearly
    --passphrase-file pass
"""
SUCCEED = """Example:

    herz audit key succeed new.key --journal NEW --after last.note --trust old-trust.toml
    --actor ops --reason "the key was stolen" --passphrase-file pass
"""
SIGN = "Example: herz audit sign --journal DIR --key log.key --passphrase-file pass"
DESCRIPTOR_MAX = 1_048_576


KeyOption = Annotated[str, Option("--key", metavar="FILE", help="The key file.")]
PassphraseFile = Annotated[
    str | None,
    Option("--passphrase-file", metavar="FILE", help="A secret file with the passphrase."),
]
PassphraseFd = Annotated[
    str | None,
    Option("--passphrase-fd", metavar="N", help="An open file descriptor to read it from."),
]


def create(
    file: Annotated[str, Argument(metavar="FILE", help="The key file to make.")],
    *,
    name: Annotated[str, Option(metavar="NAME", help="The log's or the witness' name.")],
    is_witness: Annotated[bool, Option("--witness", help="A witness' key, not a log's.")] = False,
    tpm: Annotated[str, Option(metavar="TCTI", help="Make the P-384 key in this TPM 2.0.")] = "",
    tpm_handle: Annotated[
        str, Option(metavar="HANDLE", help="Where the TPM keeps it.")
    ] = f"{HANDLE_DEFAULT:#x}",
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make new keys in an encrypted file, for a log Ed25519 and P-384, for a witness Ed25519."""
    if not is_key_name(name):
        fix = "give one without spaces and plus, such as herz.example/shop"
        raise ConfigError("not a name for a key", where="--name", value=name, fix=fix)
    if is_witness and tpm:
        fix = "a witness has one Ed25519 key, which no TPM holds: leave --tpm out"
        raise ConfigError("a witness without a TPM", where="--tpm", value=tpm, fix=fix)
    made = trusting.create_keys(
        Path(checked_name(file, option="FILE")),
        name=name,
        use="witness" if is_witness else "log",
        secret=secret(passphrase_file, passphrase_fd),
        tpm=tpm,
        handle=_handle(tpm_handle),
    )
    _print_keys(f"herz audit key create {file}", made.head, output)


def show(
    file: Annotated[str, Argument(metavar="FILE", help="The key file.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the public keys, as trust files have them. Needs no passphrase, and checks nothing."""
    head = read_head(Path(checked_name(file, option="FILE")))
    _print_keys(f"herz audit key show {file}", head, output)


def rotate(
    old: Annotated[str, Argument(metavar="OLD", help="The key file that is in force.")],
    new: Annotated[str, Argument(metavar="NEW", help="The key file to be in force.")],
    *,
    journal: JournalOption,
    actor: Annotated[str, Option(metavar="WHO", help="Who does it; stays in the log.")],
    reason: Annotated[str, Option(metavar="WHY", help="Why; stays in the log.")],
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put other keys in force: an entry signed by both, and a checkpoint signed by both."""
    passphrase = secret(passphrase_file, passphrase_fd).read()
    files = [open_key_file(Path(path), passphrase, use="log") for path in (old, new)]
    where = journal_at(journal)
    who, why = (
        checked_name(text, option=option)
        for text, option in ((actor, "--actor"), (reason, "--reason"))
    )
    note, entries = trusting.rotate_keys(where, files[0], files[1], actor=who, reason=why)
    size = parse_checkpoint(note.text).size
    print_answer(
        {
            "size": size,
            "checkpoint": note.data.decode(),
            "keys": [{"old": each.old, "new": each.new} for each in entries],
        },
        output,
        title=f"herz audit key rotate {old} {new}",
        columns=("figure", "value"),
        rows=[("keys", str(len(entries))), ("entries", str(size))],
        after=[
            "for the trust file:",
            *(
                line
                for each in entries
                for line in (
                    *("[[log]]", f'key = "{each.old}"', f"until = {size + 1}"),
                    *("[[log]]", f'key = "{each.new}"', f"from = {size}"),
                )
            ),
        ],
    )


def succeed(
    new: Annotated[str, Argument(metavar="NEW", help="The new log's key file.")],
    *,
    journal: JournalOption,
    last: Annotated[
        str, Option("--after", metavar="FILE", help="The old log's last trusted checkpoint.")
    ],
    trust: Annotated[
        str, Option("--trust", metavar="FILE", help="Whose keys count for that checkpoint.")
    ],
    actor: Annotated[str, Option(metavar="WHO", help="Who does it; stays in the log.")],
    reason: Annotated[str, Option(metavar="WHY", help="Why; stays in the log.")],
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a new log take the place of one whose key was stolen, from a trusted checkpoint on."""
    data, trusted = vouched.read_file(last, option="--after"), vouched.read_trust(trust)
    by = trusted.judge(data)
    opened_keys = open_key_file(Path(new), secret(passphrase_file, passphrase_fd).read(), use="log")
    before = parse_signed(data)[0]
    note, entries = trusting.succeed(
        journal_at(journal),
        opened_keys,
        before,
        actor=checked_name(actor, option="--actor"),
        reason=checked_name(reason, option="--reason"),
    )
    warning = "signed by the log alone: it counts for who remembered it, and for nobody else"
    after = [] if trusted.quorum else [f"note: {warning}"]
    print_answer(
        {
            "follows": before.origin,
            "after": before.size,
            "vouched_by": by,
            "quorum": trusted.quorum,
            "keys": [each.new for each in entries],
            "checkpoint": note.data.decode(),
        },
        output,
        title=f"herz audit key succeed {new}",
        columns=("figure", "value"),
        rows=[
            ("follows", before.origin),
            ("after entries", str(before.size)),
            ("vouched for by", by),
        ],
        after=after,
    )


def sign(
    *,
    journal: JournalOption,
    key_file: KeyOption,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign a checkpoint over all that the journal holds, and keep it there."""
    signer = trusting.log_signer(
        checked_name(key_file, option="--key"), secret(passphrase_file, passphrase_fd)
    )
    where = journal_at(journal)
    print_note(f"herz audit sign {where}", trusting.sign_journal(where, signer).data, output)


def print_note(title: str, data: bytes, output: Output, more: tuple[str, ...] = ()) -> None:
    """A signed checkpoint, whole, so that it can be kept elsewhere."""
    checkpoint, note = parse_signed(data)
    print_answer(
        {"size": checkpoint.size, "checkpoint": data.decode()},
        output,
        title=title,
        columns=("figure", "value"),
        rows=[
            ("origin", checkpoint.origin),
            ("entries", str(checkpoint.size)),
            ("signatures", str(len(note.signatures))),
        ],
        after=[*data.decode().splitlines(), *more],
    )


def secret(file: str | None, descriptor: str | None) -> Secret:
    """Where the passphrase comes from, as the options say."""
    number = None
    if descriptor is not None:
        number = parsed_integer(descriptor, option="--passphrase-fd", low=0, high=DESCRIPTOR_MAX)
    return Secret(file, number)


def _handle(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise ConfigError(
            "not a handle", where="--tpm-handle", value=text, fix=f"such as {HANDLE_DEFAULT:#x}"
        ) from error


_KINDS = {"ed25519": KeyKind.ED25519, "ecdsa-p384-sha3-384": KeyKind.P384}


def _print_keys(title: str, head: Head, output: Output) -> None:
    use: Use = head.use
    rows = []
    for held in head.keys:
        kind = KeyKind.COSIGNATURE if use == "witness" else _KINDS[held.algorithm]
        keeper = f"{held.tpm} {held.handle:#x}" if held.tpm else "key file"
        rows.append((held.algorithm, NoteKey(head.name, kind, held.public).text, keeper))
    print_answer(
        {
            "name": head.name,
            "use": use,
            "keys": [{"algorithm": a, "key": text, "keeper": k} for a, text, k in rows],
        },
        output,
        title=title,
        columns=("algorithm", "kept in"),
        rows=[(algorithm, keeper) for algorithm, _, keeper in rows],
        after=[
            "for a trust file:",
            *(line for _, text, _ in rows for line in (f"[[{use}]]", f'key = "{text}"')),
        ],
    )
