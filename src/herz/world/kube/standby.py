"""What a replica keeps ready while another leads: all kinds but those that a new leader reads anew.

Nodes and pods are not kept. A leader begins from lists of them that were read after its lease
began, and to make of them what the machine knows takes longer than to read them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from herz.model.objects import KubernetesObject, Node, Pod
from herz.world.kube.informer import Informer
from herz.world.kube.kinds import Watched
from herz.world.kube.transport import Transport

ANEW: Final = (Node, Pod)


class Kept(NamedTuple):
    """An informer that runs.

    Args:
        informer: whoever leads takes it over with `Informer.hand_over`.
        running: ends only by being cancelled, or by a bug, which it then raises.
    """

    informer: Informer
    running: asyncio.Task[None]


class Standby:
    """Keeps the informers of these kinds synced; nobody is told yet."""

    def __init__(self, transport: Transport, kinds: Sequence[Watched]) -> None:
        self._informers = [
            Informer(kind, transport, self) for kind in kinds if kind.kind not in ANEW
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Kept, ...]]:
        """The informers, while this lasts."""
        kept = tuple(Kept(one, asyncio.ensure_future(one.run())) for one in self._informers)
        try:
            yield kept
        finally:
            for one in kept:
                one.running.cancel()
            await asyncio.gather(*(one.running for one in kept), return_exceptions=True)

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        """See `herz.world.kube.informer.Sink`: the informer itself remembers it."""

    def deleted(self, thing: KubernetesObject) -> None:
        """See `herz.world.kube.informer.Sink`."""

    def freshness_changed(self) -> None:
        """See `herz.world.kube.informer.Sink`."""
