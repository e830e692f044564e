"""`herz sla`: its commands."""

from __future__ import annotations

import typer

from herz.front.cli import sla, sla_profile


def add_to(herz: typer.Typer) -> None:
    """See `herz.front.cli.commands`."""
    group = sla.sla
    group.command("train", epilog=sla.TRAIN)(sla.train)
    group.command("evaluate", epilog=sla.EVALUATE)(sla.evaluate)
    group.command("predict", epilog=sla.PREDICT)(sla.predict)
    group.command("card", epilog=sla.CARD)(sla.card)
    group.command("profile", epilog=sla_profile.EXAMPLE)(sla_profile.profile)
    herz.add_typer(group, name="sla")
