"""`herz audit witness` and `herz audit cosign`: to be a witness, and to ask witnesses."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from herz.commit.audit.signing import Cosigner
from herz.commit.audit.witness import WitnessServer
from herz.errors import ConfigError
from herz.front import trusting, vouched
from herz.front.cli.audit_keys import KeyOption, PassphraseFd, PassphraseFile, print_note, secret
from herz.front.cli.declared import Option
from herz.front.cli.failure import Exit, failure_of
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import Output, OutputOption, checked_name, parsed_integer
from herz.world.signer.keyfile import open_key_file
from herz.world.witness.memory import SqliteMemory

WITNESS = """Example:

    herz audit witness --key w1.key --trust logs.toml --memory w1.sqlite --passphrase-file pass
"""
COSIGN = "Example: herz audit cosign --journal DIR --trust trust.toml"
PORT_DEFAULT = "7380"


def witness(
    *,
    key_file: KeyOption,
    trust: Annotated[str, Option("--trust", metavar="FILE", help="The logs that it cosigns.")],
    memory: Annotated[
        str, Option("--memory", metavar="FILE", help="What it remembers; never lose it.")
    ],
    host: Annotated[str, Option(metavar="ADDRESS", help="Where it listens.")] = "127.0.0.1",
    port: Annotated[str, Option(metavar="PORT", help="0: one that is free.")] = PORT_DEFAULT,
    passphrase_file: PassphraseFile = None,
    passphrase_fd: PassphraseFd = None,
) -> None:
    """Cosign checkpoints of logs that only grow, until interrupted (C2SP tlog-witness).

    A witness under the administrator of the log does not count.
    """
    # Imported here: aiohttp would make every other command slower to start.
    from herz.world.witness.server import Witness  # noqa: PLC0415

    number = parsed_integer(port, option="--port", low=0, high=65_535)
    logs = vouched.read_trust(trust)
    opened = open_key_file(
        Path(checked_name(key_file, option="--key")),
        secret(passphrase_file, passphrase_fd).read(),
        use="witness",
    )
    cosigner = Cosigner(opened.head.name, opened.soft_keys()[0])
    if any(each.key.public == cosigner.key.public for each in logs.logs):
        raise ConfigError(
            "a log's own key", where="--key", value=key_file, fix="make another for the witness"
        )
    kept = SqliteMemory(Path(checked_name(memory, option="--memory")))
    try:
        server = WitnessServer(cosigner, logs, kept)
        listener = Witness(server.answer, server.latest)
        asyncio.run(_serve(listener.start, listener.stop, host, number, cosigner.key.text))
    finally:
        kept.close()


Start = Callable[[str, int], Awaitable[tuple[str, int]]]
Stop = Callable[[], Awaitable[None]]


async def _serve(start: Start, stop: Stop, host: str, port: int, key: str) -> None:
    """Listen until SIGINT or SIGTERM."""
    ended = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    address, number = await start(host, port)
    # One line, so that who started it can wait for it.
    sys.stdout.write(f"witness {key} listens on http://{address}:{number}\n")
    sys.stdout.flush()
    try:
        await ended.wait()
    finally:
        await stop()


def cosign(
    *,
    journal: JournalOption,
    trust: Annotated[
        str, Option("--trust", metavar="FILE", help="The witnesses, with their addresses.")
    ],
    output: OutputOption = Output.TABLE,
) -> int:
    """Have the largest checkpoint cosigned, and keep what the witnesses give.

    Exit code 1 where a witness has cosigned another history, 3 where fewer than the quorum answer.
    """
    trusted = vouched.read_trust(trust)
    where = journal_at(journal)
    note, asked = trusting.cosign_journal(where, trusted)
    failures = [failure_of(each.error) for each in asked if each.error is not None]
    print_note(
        f"herz audit cosign {where}",
        note.data,
        output,
        more=tuple(f"warning: {failure.what}" for failure in failures),
    )
    if any(failure.exit_code is Exit.NO for failure in failures):
        return Exit.NO
    got = {each.key.name for each in note.verified(w.key for w in trusted.witnesses)}
    return Exit.DONE if len(got) >= trusted.quorum else Exit.OUTSIDE
