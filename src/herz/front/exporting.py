"""A journal for others: decisions as CSV, JSON lines or Parquet; its files; the log's tiles."""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from herz.commit.audit.entry import opened
from herz.errors import ConfigError, WorldError
from herz.front.atomic import checked_target
from herz.front.publishing import published
from herz.model.journal import Kind
from herz.model.outcomes import BindFinished
from herz.model.record import Record
from herz.ports import Journal
from herz.world.store.copying import copied
from herz.world.store.evidence import Evidence

ROWS_AT_ONCE: Final = 10_000
"""Bound: rows of Parquet in memory."""


class Format(StrEnum):
    """Forms of an export."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    FILES = "files"
    TILES = "tiles"


FOLDERS: Final = (Format.FILES, Format.TILES)
"""The forms that are written into a folder."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One decision.

    Args:
        entry: its index in the journal.
        sequence: its number.
        time_ns: when, by the driver's clock.
        namespace: of the pod.
        name: of the pod.
        uid: of the pod.
        decided: place, unschedulable, preempt, wait or error.
        node: the chosen node.
        outcome: what the API last answered to the bind: bound, refused, unknown; or empty.
        resource_version: of the pod that the API confirmed; or empty.
        code: the HTTP status of the last answer that was no yes; 0: none.
        repeats: the number of the record that it repeats; 0: none.
        message: why nothing was placed.
        policy: name and digest.
        snapshot: digest of what was read.
        digest: SHA3-384 of the record.
    """

    entry: int
    sequence: int
    time_ns: int
    namespace: str
    name: str
    uid: str
    decided: str
    node: str
    outcome: str
    resource_version: str
    code: int
    repeats: int
    message: str
    policy: str
    snapshot: str
    digest: str


def rows(journal: Journal) -> Iterator[Row]:
    """Every decision of the journal that is not erased, in order.

    Raises:
        AuditError: an entry is damaged.
    """
    answers: dict[int, BindFinished] = {}
    for _, entry in journal.read():
        if entry.leaf[1] == Kind.OUTCOME and not entry.is_erased:
            content = opened(entry)[1]
            if isinstance(content, BindFinished):
                answers[content.decision] = content
    for index, entry in journal.read():
        if entry.leaf[1] != Kind.RECORD or entry.is_erased:
            continue
        record = opened(entry)[1]
        assert isinstance(record, Record), "as its kind says"
        answer = answers.get(record.sequence)
        yield Row(
            entry=index,
            sequence=record.sequence,
            time_ns=int(record.time_ns),
            namespace=record.pod.namespace,
            name=record.pod.name,
            uid=record.pod.uid,
            decided=str(record.decided),
            node=record.node,
            outcome="" if answer is None else str(answer.outcome),
            resource_version="" if answer is None else answer.resource_version or "",
            code=0 if answer is None else answer.code or 0,
            repeats=record.repeats,
            message=record.message,
            policy=f"{record.policy.name} {record.policy.digest}",
            snapshot=record.snapshot,
            digest=hashlib.sha3_384(entry.payload).hexdigest(),
        )


def export(journal: Evidence, form: Format, to: str | None, *, with_payloads: bool = False) -> int:
    """Write the decisions, or the whole journal.

    Args:
        journal: whose.
        form: in which form.
        to: the file, or the folder; None for stdout, which is for text.
        with_payloads: whether tiles come with what their leaves commit to.

    Returns:
        How many decisions there were; of a whole journal, how many entries.

    Raises:
        ConfigError: file or folder cannot be written, what the form needs is not installed, or
            there is no checkpoint for the tiles.
        AuditError: an entry is damaged.
        WorldError: the disk refused.
    """
    if with_payloads and form is not Format.TILES:
        fix = "leave it out: the other forms hold payloads anyway"
        raise ConfigError("only for tiles", where="--with-payloads", value=str(form), fix=fix)
    if form in FOLDERS:
        if not to:
            raise ConfigError("a folder is needed", where="--to", fix=f"name one: --to {form}")
        if form is Format.FILES:
            return copied(journal, Path(to))
        return published(journal, Path(to), with_payloads=with_payloads)
    if form is Format.PARQUET:
        if to is None:
            fix = "name a file: --to decisions.parquet"
            raise ConfigError("Parquet on stdout", where="--to", fix=fix)
        return _parquet(rows(journal), checked_target(to, option="--to"))
    with _opened(to) as file:
        return (_csv if form is Format.CSV else _jsonl)(rows(journal), file)


@contextmanager
def _opened(to: str | None) -> Iterator[IO[str]]:
    if to is None:
        yield sys.stdout
        return
    path = checked_target(to, option="--to")
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}") from error


def _csv(found: Iterable[Row], file: IO[str]) -> int:
    writer, count = csv.writer(file), 0
    writer.writerow(Row.__struct_fields__)
    for row in found:
        writer.writerow(msgspec.structs.astuple(row))
        count += 1
    return count


def _jsonl(found: Iterable[Row], file: IO[str]) -> int:
    count = 0
    for row in found:
        file.write(msgspec.json.encode(row).decode() + "\n")
        count += 1
    return count


def _parquet(found: Iterable[Row], path: Path) -> int:
    try:
        # Imported here: an optional package, which takes half a second to load.
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        fix = "install it: pip install pyarrow"
        raise ConfigError("pyarrow is not installed", where="--format parquet", fix=fix) from error
    kinds: dict[str, Any] = {"int": pyarrow.int64(), "str": pyarrow.string()}
    fields = [(field.name, kinds[field.type.__name__]) for field in msgspec.structs.fields(Row)]
    schema, count = pyarrow.schema(fields), 0
    with parquet.ParquetWriter(path, schema) as writer:
        held: list[dict[str, Any]] = []
        for row in found:
            count += 1
            held.append(msgspec.structs.asdict(row))
            if len(held) == ROWS_AT_ONCE:
                writer.write_table(pyarrow.Table.from_pylist(held, schema))
                held.clear()
        writer.write_table(pyarrow.Table.from_pylist(held, schema))
    return count
