"""`herz up`: a cluster on this machine, with simulated nodes, until it is stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from herz.errors import ConfigError
from herz.front.cli.options import Output, checked_name, parsed_integer

EXAMPLE = """Examples:

    herz up --no-scheduler

    herz up --no-scheduler --nodes 20 --port 7443 --data ./cluster
"""
PORT = 6443
NODES_MAX = 10_000


def up(
    *,
    nodes: Annotated[str, typer.Option(metavar="N", help="How many nodes are simulated.")] = "3",
    cpu: Annotated[str, typer.Option(metavar="QUANTITY", help="CPU of each node.")] = "8",
    memory: Annotated[str, typer.Option(metavar="QUANTITY", help="Memory of each node.")] = "32Gi",
    port: Annotated[
        str, typer.Option(metavar="P", help="Where the API server listens; 0 takes a free port.")
    ] = str(PORT),
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address; this machine's own, unless --open.")
    ] = "127.0.0.1",
    is_open: Annotated[
        bool, typer.Option("--open", help="Let --host be an address that others can reach.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of the cluster; made if it is missing."),
    ] = None,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Leave the binding of pods to others.")
    ] = False,
    output: Annotated[Output, typer.Option(help="Form of the answer.")] = Output.TABLE,
) -> None:
    """Start an API server with simulated nodes, and say where its kubeconfig is."""
    if not no_scheduler:
        raise ConfigError(
            "herz up cannot start the scheduler yet, and without one no pod gets a node",
            where="herz up",
            fix="add --no-scheduler, and bind pods from outside",
        )
    # Imported here: no other command needs a web server, nor should wait for it to load.
    from herz.front.cli.serving import serve  # noqa: PLC0415

    serve(
        folder=_folder(data),
        host=checked_name(host, option="--host"),
        port=parsed_integer(port, option="--port", low=0, high=65_535),
        is_open=is_open,
        nodes=parsed_integer(nodes, option="--nodes", low=0, high=NODES_MAX),
        cpu=cpu,
        memory=memory,
        output=output,
    )


def _folder(text: str | None) -> Path:
    """The data folder; without a name, one below the user's own data."""
    if text is not None:
        return Path(checked_name(text, option="--data")).absolute()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "herz" / "cluster"
