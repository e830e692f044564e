"""`herz run`: schedule the pods of a live cluster, until it is stopped."""

from __future__ import annotations

import getpass
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from herz.front.cli import run_options as options
from herz.front.cli.declared import Option
from herz.front.cli.journals import journal_at
from herz.front.cli.options import Garbage, Output, OutputOption, checked_name, parsed_integer
from herz.front.cli.printing import print_answer

if TYPE_CHECKING:
    from herz.config import Configuration
    from herz.front.cli.deciding import Deciding
    from herz.journaling import Change
    from herz.world.kube.driver import Driver
    from herz.world.kube.endpoints import Serving
    from herz.world.kube.guard import Guarded
    from herz.world.store.where import Where

EXAMPLE = """Examples:

    herz run

    herz run --kubeconfig ./cluster/kubeconfig --scheduler-name herz --journal ./journal

    herz run --config kube-scheduler.yaml --scheduler-name default-scheduler

    herz run --journal ./journal --key log.key --passphrase-file pass --proof-mode strict

    herz run --shadow --pods 1000 --journal ./shadow
"""


def run(
    *,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    config: options.Config = None,
    scheduler_name: options.SchedulerName = None,
    journal: options.Journal = None,
    key: options.Key = None,
    passphrase_file: options.PassphraseFile = None,
    trust: options.Trust = None,
    proof_mode: options.ProofMode = None,
    metrics: options.Metrics = None,
    actor: options.Actor = None,
    reason: options.Reason = None,
    no_wait: options.NoWait = False,
    shadow: options.Shadow = False,
    pods: options.Pods = None,
    leader_elect: options.LeaderElect = False,
    lease_namespace: options.LeaseNamespace = None,
    lease_name: options.LeaseName = None,
    lease_duration: options.LeaseDuration = None,
    renew_deadline: options.RenewDeadline = None,
    retry_period: options.RetryPeriod = None,
    bind_address: options.BindAddress = "0.0.0.0",
    secure_port: options.SecurePort = "",
    tls_cert_file: options.CertFile = "",
    tls_private_key_file: options.KeyFile = "",
    metrics_token_file: options.TokenFile = "",
    logging_format: options.LoggingFormat = "text",
    otlp_endpoint: options.OtlpEndpoint = None,
    collector: options.Collector = Garbage.BETWEEN_STEPS,
    while_open: Annotated[str | None, Option(is_hidden=True)] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Schedule pods of a live cluster. Ctrl-C ends it: binds under way are finished first."""
    chosen = None if config is None else checked_name(config, option="--config")
    names = tuple(checked_name(name, option="--scheduler-name") for name in scheduler_name or ())
    where = (None if kubeconfig is None else Path(kubeconfig), context)
    # Imported as it is needed: a guard decides nothing, and must soon be back when it was killed.
    if shadow or pods is not None:
        from herz.front.cli import shadowing  # noqa: PLC0415

        asked = shadowing.Asked(
            *(chosen, names, *where, not no_wait, pods, output),
            journal=None if journal is None else live_journal(journal),
            change=_change(actor, reason),
            refused=(key, leader_elect or None, metrics),
        )
        return shadowing.run_shadow(asked, is_asked=shadow)
    from herz.front.cli import guarding  # noqa: PLC0415

    kept, guard = live_journal(journal), guarding.guarded()
    election = guarding.election(
        is_on=leader_elect,
        names=(lease_namespace, lease_name),
        times=(lease_duration, renew_deadline, retry_period),
        configuration=_configuration(chosen) if leader_elect and guard is None else None,
    )
    files = (tls_cert_file, tls_private_key_file, metrics_token_file)
    served = guarding.serving(bind_address, secure_port, files)
    guarding.log_as(logging_format)
    if election is not None and guard is None:
        return guarding.run_guard(guarding.Guarding(election, served, *where, kept, not no_wait))
    more = _More((key, passphrase_file, trust, proof_mode), metrics, otlp_endpoint, collector)
    place = (*where, kept, _change(actor, reason), not no_wait)
    return _schedule((chosen, names), place, (guard, served), more, _held(while_open), output)


class _More(NamedTuple):
    """What a scheduler may have beside its work, as it was typed."""

    proving: tuple[str | None, str | None, str | None, str | None]
    metrics: str | None
    otlp_endpoint: str | None
    collector: Garbage


def _schedule(
    decides: tuple[str | None, tuple[str, ...]],
    place: tuple[Path | None, str | None, Where, Change, bool],
    shown: tuple[Guarded | None, Serving | None],
    more: _More,
    held: int | None,
    output: Output,
) -> int:
    from herz.front.cli import (  # noqa: PLC0415
        deciding,
        driving,
        guarding,
        metering,
        operating,
        proving,
        tracing,
    )

    what = deciding.deciding(*decides)
    settings = driving.Live(
        *(what, *place, guarding.tell),
        started=lambda driver, version: _started(driver, version, what, place[2], output),
        operations=operating.operations(*shown, what),
        garbage=more.collector,
        proving=proving.proving(*more.proving),
        metrics=metering.metrics_settings(more.metrics),
        spans=tracing.spans(more.otlp_endpoint),
    )
    return driving.run(settings, held)


def _configuration(chosen: str | None) -> Configuration | None:
    if chosen is None:
        return None
    from herz.front.cli import deciding  # noqa: PLC0415

    return deciding.configuration(chosen)


def _change(actor: str | None, reason: str | None) -> Change:
    """Who starts it: as told, or the user of this process."""
    from herz.journaling import Change  # noqa: PLC0415

    if actor is None:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # A container's user has no name.
            user = str(os.getuid())
        actor = f"{user}@{platform.node()}"
    why = "started with it" if reason is None else checked_name(reason, option="--reason")
    return Change(checked_name(actor, option="--actor"), why, time.time_ns())


def _held(text: str | None) -> int | None:
    """The descriptor that is open while whoever started this lives."""
    if text is None:
        return None
    return parsed_integer(text, option="--while-open", low=3, high=1 << 20)


def _started(driver: Driver, version: str, what: Deciding, kept: Where, output: Output) -> None:
    answer = {
        "server": driver.address,
        "version": version,
        "scheduler names": ", ".join(what.names),
        "policy": f"{what.policy.name} {what.policy.digest}",
        "journal": str(kept),
        "nodes": driver.counted("nodes"),
        "pods": driver.counted("pods"),
        "process": os.getpid(),
    }
    print_answer(
        answer,
        output,
        title="herz run",
        columns=("what", "value"),
        rows=[(name, str(value)) for name, value in answer.items()],
        after=["Ctrl-C stops it; the journal goes on with the next start."],
    )


def live_journal(text: str | None) -> Where:
    """Where the journal is; without a name, below the user's own data."""
    if text is not None:
        where = journal_at(text)
        return where.absolute() if isinstance(where, Path) else where
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "herz" / "journal"
