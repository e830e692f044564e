"""What another policy, or this engine, decides from a journal, beside what the journal says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from herz import app
from herz.commit.audit.crossed import Crossing, Part, changed_parts, crossing
from herz.commit.audit.entry import Start
from herz.commit.audit.otherwise import Otherwise, Pair
from herz.engine import engine
from herz.journaling import machine_by_any, top_of
from herz.ports import Machine, RecordSink
from herz.world.store.where import Where, reader_of


def otherwise(where: Where, policy: str) -> Iterator[Pair]:
    """What another policy would have decided, beside what the journal says, pod by pod.

    Args:
        where: the journal.
        policy: a built-in name, or a path.

    Raises:
        ConfigError: there is no journal, or no such policy.
        AuditError: an entry is damaged or erased.
    """
    reader, chosen = reader_of(where), app.load_policies(policy)

    def make(start: Start, sinks: Sequence[RecordSink]) -> Machine:
        aliases, top = dict(start.aliases), top_of(start)
        return app.build_machine(chosen, start.seed, sinks, aliases=aliases, top=top)

    return Otherwise(make).run(reader.read())


def crossed(where: Where) -> Iterator[tuple[tuple[Part, ...], Pair, Crossing | None]]:
    """What this engine decides where others did, pod by pod: what changed, and the difference.

    Raises:
        ConfigError: there is no journal, or this engine cannot run its policy.
        AuditError: an entry is damaged or erased.
    """
    reader, mine = reader_of(where), engine()
    changed: tuple[Part, ...] = ()

    def make(start: Start, sinks: Sequence[RecordSink]) -> Machine:
        nonlocal changed
        changed = changed_parts(start.engine, mine)
        return machine_by_any(reader, start, sinks)

    for pair in Otherwise(make).run(reader.read()):
        yield changed, pair, crossing(pair, [part.name for part in changed])
