"""`herz audit reconcile`: a journal beside what the cluster and its API server say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from herz.commit.audit.reconcile import Binding, Reconciliation
from herz.errors import ConfigError
from herz.front.cli.declared import Option
from herz.front.cli.failure import Exit
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import Output, OutputOption, checked_name
from herz.front.cli.printing import print_answer
from herz.model.decode import decode
from herz.model.objects import Pod
from herz.world.store.where import reader_of

RECONCILE = """Examples:

    kubectl get pods --all-namespaces -o json >pods.json;
    herz audit reconcile --journal DIR --pods pods.json

    herz audit reconcile --journal DIR --pods pods.json --audit-log audit.log
"""
LINE_BYTES_MAX = 16 << 20
"""Bound of one event of an audit log."""


_EVENT_NAMES = {
    "audit_id": "auditID",
    "object_ref": "objectRef",
    "request_object": "requestObject",
    "response_status": "responseStatus",
}


class _List(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw]
    kind: str = ""


class _ObjectRef(msgspec.Struct, frozen=True, rename="camel"):
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    uid: str = ""


class _Request(msgspec.Struct, frozen=True):
    metadata: _Named = _Named()
    target: _Named = _Named()


class _Status(msgspec.Struct, frozen=True):
    code: int = 0


class _Event(msgspec.Struct, frozen=True, rename=_EVENT_NAMES):
    verb: str = ""
    stage: str = ""
    audit_id: str = ""
    object_ref: _ObjectRef | None = None
    request_object: _Request | None = None
    response_status: _Status | None = None


def reconcile(
    *,
    journal: JournalOption,
    pods: Annotated[
        str, Option("--pods", metavar="FILE", help="All pods, as kubectl lists them in JSON.")
    ],
    audit_log: Annotated[
        str | None,
        Option("--audit-log", metavar="FILE", help="The API server's audit log, JSON lines."),
    ] = None,
    scheduler: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Whose pods it must explain; may be repeated."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Compare the journal with the cluster; exit code 1 where they disagree."""
    where = journal_at(journal)
    listed = list(_pods(checked_name(pods, option="--pods")))
    told = (
        None
        if audit_log is None
        else list(_bindings(checked_name(audit_log, option="--audit-log")))
    )
    asked = Reconciliation(reader_of(where).read(), scheduler or ["herz"])
    found = asked.run(listed, told)
    print_answer(
        {
            "pods": found.pods,
            "bound": found.bound,
            "erased": found.erased,
            "findings": [each._asdict() for each in found.findings],
        },
        output,
        title=f"herz audit reconcile {where}: {len(found.findings)} disagreements",
        columns=("pod", "fault", "what", "entry"),
        rows=[
            (each.pod, str(each.fault), each.what, "" if each.entry < 0 else str(each.entry))
            for each in found.findings
        ],
        after=[
            f"{found.pods} bound pods to explain; {found.bound} bindings that the journal confirms",
            *([f"note: {found.erased} entries are erased"] if found.erased else []),
        ],
    )
    return Exit.NO if found.findings else Exit.DONE


def _pods(path: str) -> Iterator[Pod]:
    """The pods of a list, as the journal's projection sees them.

    Raises:
        ConfigError: it is no list of pods.
    """
    fix = "make it with kubectl get pods --all-namespaces -o json"
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=_List)
        items = found.items
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"not a list of pods: {error}", where="--pods", value=path, fix=fix
        ) from error
    for number, item in enumerate(items):
        try:
            pod = decode(Pod, item)
        except ConfigError as error:
            raise error.at(f"--pods items[{number}]") from error
        if not pod.metadata.uid:
            raise ConfigError("a pod without uid", where=f"--pods items[{number}]", fix=fix)
        yield pod


def _bindings(path: str) -> Iterator[Binding]:
    """The bindings that succeeded, of an audit log.

    Raises:
        ConfigError: it is no audit log.
    """
    decoder = msgspec.json.Decoder(_Event)
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES_MAX), b""), 1):
                try:
                    event = decoder.decode(line)
                except (ValueError, RecursionError) as error:
                    raise ConfigError(
                        f"not an event of an audit log: {error}",
                        where=f"--audit-log {path}:{number}",
                        fix="give the API server's log of audit.k8s.io/v1, one JSON object a line",
                    ) from error
                yield from _binding(event)
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where="--audit-log", value=path, fix="name a file"
        ) from error


def _binding(event: _Event) -> Iterator[Binding]:
    ref, status = event.object_ref, event.response_status
    is_binding = ref is not None and (
        (ref.resource, ref.subresource) == ("pods", "binding") or ref.resource == "bindings"
    )
    is_done = event.stage == "ResponseComplete" and status is not None and status.code < 300
    if not is_binding or not is_done or event.verb != "create" or ref is None:
        return
    request = event.request_object or _Request()
    uid, node = ref.uid or request.metadata.uid, request.target.name
    yield Binding(event.audit_id, ref.namespace, ref.name, uid, node)
