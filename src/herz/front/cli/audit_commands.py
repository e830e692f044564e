"""`herz audit`: its commands."""

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
)


def add_to(herz: typer.Typer) -> None:
    """See `herz.front.cli.commands`."""
    group = audit.audit
    group.command("prove", epilog=audit_proof.PROVE)(audit_proof.prove)
    group.command("check", epilog=audit_proof.CHECK)(audit_proof.check)
    group.command("reconcile", epilog=audit_reconcile.RECONCILE)(audit_reconcile.reconcile)
    group.command("sign", epilog=audit_keys.SIGN)(audit_keys.sign)
    group.command("cosign", epilog=audit_witness.COSIGN)(audit_witness.cosign)
    group.command("witness", epilog=audit_witness.WITNESS)(audit_witness.witness)
    group.command("quote", epilog=audit_quote.QUOTE)(audit_quote.quote)
    group.command("quote-check", epilog=audit_quote.CHECK)(audit_quote.quote_check)
    group.add_typer(audit_keys.key, name="key")
    group.command("erase", epilog=audit_erase.ERASE)(audit_erase.erase_command)
    group.command("retain", epilog=audit_erase.RETAIN)(audit_erase.retain_command)
    group.command("hold", epilog=audit_erase.HOLD)(audit_erase.hold_command)
    herz.add_typer(group, name="audit")
