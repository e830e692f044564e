"""The command tree."""

from __future__ import annotations

import typer

from herz.front.cli import (
    audit,
    audit_erase,
    audit_keys,
    audit_proof,
    audit_quote,
    audit_reconcile,
    audit_witness,
    configuration,
    debugging,
    explain,
    fuzz,
    run,
    runtime,
    settings,
    simulate,
    sla,
    sla_profile,
    sla_trial,
    up,
)

herz = typer.Typer(
    name="herz",
    help="A deterministic, provable, service-level-aware Kubernetes scheduler.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Example: herz simulate shop --report shop.html",
)
herz.command("simulate", epilog=simulate.EXAMPLE)(simulate.simulate)
herz.command("explain", epilog=explain.EXAMPLE)(explain.explain)
herz.command("up", epilog=up.EXAMPLE)(up.up)
herz.command("run", epilog=run.EXAMPLE)(run.run)
herz.command("version", epilog="Example: herz version --output json")(settings.version)
settings.config.command("validate", epilog=configuration.VALIDATE)(configuration.validate)
settings.config.command("show", epilog=configuration.SHOW)(configuration.show)
audit.audit.command("prove", epilog=audit_proof.PROVE)(audit_proof.prove)
audit.audit.command("check", epilog=audit_proof.CHECK)(audit_proof.check)
audit.audit.command("reconcile", epilog=audit_reconcile.RECONCILE)(audit_reconcile.reconcile)
audit.audit.command("sign", epilog=audit_keys.SIGN)(audit_keys.sign)
audit.audit.command("cosign", epilog=audit_witness.COSIGN)(audit_witness.cosign)
audit.audit.command("witness", epilog=audit_witness.WITNESS)(audit_witness.witness)
audit.audit.command("quote", epilog=audit_quote.QUOTE)(audit_quote.quote)
audit.audit.command("quote-check", epilog=audit_quote.CHECK)(audit_quote.quote_check)
audit.audit.add_typer(audit_keys.key, name="key")
audit.audit.command("erase", epilog=audit_erase.ERASE)(audit_erase.erase_command)
audit.audit.command("retain", epilog=audit_erase.RETAIN)(audit_erase.retain_command)
audit.audit.command("hold", epilog=audit_erase.HOLD)(audit_erase.hold_command)
herz.add_typer(audit.audit, name="audit")
herz.add_typer(fuzz.fuzz, name="fuzz")
herz.add_typer(settings.config, name="config")
herz.add_typer(debugging.debug, name="debug")
sla.sla.command("train", epilog=sla.TRAIN)(sla.train)
sla.sla.command("evaluate", epilog=sla.EVALUATE)(sla.evaluate)
sla.sla.command("predict", epilog=sla.PREDICT)(sla.predict)
sla.sla.command("card", epilog=sla.CARD)(sla.card)
sla.sla.command("trial", epilog=sla_trial.TRIAL)(sla_trial.trial)
sla.sla.command("profile", epilog=sla_profile.EXAMPLE)(sla_profile.profile)
herz.add_typer(sla.sla, name="sla")
herz.add_typer(runtime.runtime, name="runtime")
