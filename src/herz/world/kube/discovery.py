"""What the API server is, and what it serves: asked once, before anything is watched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from herz.errors import WorldError
from herz.world.kube.informer import UNREADABLE, said
from herz.world.kube.kinds import Watched
from herz.world.kube.transport import NoAnswerError, Transport

MINOR_MIN: Final = 34
MINOR_MAX: Final = 36
"""Kubernetes 1.34 to 1.36 are supported; newer ones are tried, and that is said."""
_SECONDS: Final = 10.0
_WAIT_SECONDS: Final = (0.5, 10.0)

_log = logging.getLogger("herz.kube")


class _Version(msgspec.Struct, frozen=True):
    major: str = ""
    minor: str = ""
    gitVersion: str = ""  # noqa: N815


class _Resource(msgspec.Struct, frozen=True):
    name: str = ""
    verbs: list[str] = []


class _Resources(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


async def reached(transport: Transport, tell: Callable[[str], None], *, waits: bool = True) -> str:
    """The server's version, once it answers.

    Args:
        transport: to it.
        tell: shows a person what is waited for.
        waits: whether to try again while it cannot be reached.

    Raises:
        WorldError: it does not answer and is not waited for; it is not to be trusted, refuses us,
            is no Kubernetes, or is an older one than is supported.
    """
    wait, told = _WAIT_SECONDS[0], ""
    while True:  # Bound: `waits`; a person, or what supervises us, ends it.
        try:
            reply = await transport.request("GET", "/version", timeout_seconds=_SECONDS)
            if reply.status not in (429, 500, 502, 503, 504):
                break
            what = f"{transport.address}: {reply.status} {said(reply)}"
        except NoAnswerError as error:
            if not error.is_retryable:
                raise
            what = str(error)
        if not waits:
            raise WorldError(what, is_retryable=True)
        if what != told:
            tell(f"waiting for the API server: {what}")
            told = what
        await asyncio.sleep(wait)
        wait = min(wait * 2, _WAIT_SECONDS[1])
    if reply.status in (401, 403):
        raise WorldError(f"{transport.address} refuses us: {reply.status} {said(reply)}")
    return _checked_version(transport.address, reply.status, reply.body, tell)


def _checked_version(address: str, status: int, body: bytes, tell: Callable[[str], None]) -> str:
    try:
        version = msgspec.json.decode(body, type=_Version)
        minor = int("".join(one for one in version.minor if one.isdigit()))
    except UNREADABLE as error:
        what = f"{address} is no Kubernetes API server: /version answers {status} {body[:80]!r}"
        raise WorldError(what) from error
    named = version.gitVersion or f"{version.major}.{version.minor}"
    if version.major != "1" or minor < MINOR_MIN:
        what = f"{address} is Kubernetes {named}; 1.{MINOR_MIN} to 1.{MINOR_MAX} are supported"
        raise WorldError(what)
    if minor > MINOR_MAX:
        tell(f"Kubernetes {named} is newer than 1.{MINOR_MAX}, the newest that was tested")
    return named


async def served(
    transport: Transport, kinds: Sequence[Watched]
) -> tuple[tuple[Watched, ...], tuple[Watched, ...]]:
    """Which of the kinds the server has, and which it has not.

    Raises:
        WorldError: a kind that is needed is absent, or discovery does not answer.
    """
    found: dict[str, frozenset[str]] = {}
    for root in dict.fromkeys(kind.root for kind in kinds):
        reply = await transport.request("GET", root, timeout_seconds=_SECONDS)
        if reply.status == 404:
            found[root] = frozenset()
            continue
        if reply.status != 200:
            raise WorldError(f"{transport.address}{root}: {reply.status} {said(reply)}")
        try:
            listed = msgspec.json.decode(reply.body, type=_Resources)
        except UNREADABLE as error:
            raise WorldError(f"{transport.address}{root}: no list of resources: {error}") from error
        found[root] = frozenset(one.name for one in listed.resources if "watch" in one.verbs)
    present = tuple(kind for kind in kinds if kind.plural in found[kind.root])
    absent = tuple(kind for kind in kinds if kind.plural not in found[kind.root])
    for kind in absent:
        if kind.is_needed:
            raise WorldError(f"{transport.address} serves no {kind.path}")
    return present, absent


async def permitted(transport: Transport, kinds: Sequence[Watched]) -> None:
    """Check that each kind may be listed.

    Raises:
        WorldError: one may not, or there is no answer.
    """
    refused = []
    for kind in kinds:
        query = {**kind.selector, "limit": "1"}
        reply = await transport.request("GET", kind.path, query=query, timeout_seconds=_SECONDS)
        if reply.status in (401, 403):
            refused.append(f"{kind.path}: {said(reply)}")
    if refused:
        raise WorldError(f"{transport.address} does not let us read {'; '.join(refused)}")
