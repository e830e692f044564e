"""`herz up`: a cluster on this machine, with simulated nodes, until it is stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from herz import app
from herz.errors import ConfigError
from herz.front.cli.declared import Option
from herz.front.cli.options import Output, OutputOption, checked_name, parsed_integer

EXAMPLE = """Examples:

    herz up

    herz up --nodes 20 --port 7443 --data ./cluster

    herz up --demo --once
"""
PORT = 6443
NODES_MAX = 10_000
NODES = "3"
CPU = "8"


def up(
    *,
    nodes: Annotated[str, Option(metavar="N", help="How many nodes are simulated.")] = NODES,
    cpu: Annotated[str, Option(metavar="QUANTITY", help="CPU of each node.")] = CPU,
    memory: Annotated[str, Option(metavar="QUANTITY", help="Memory of each node.")] = "32Gi",
    port: Annotated[
        str, Option(metavar="P", help="Where the API server listens; 0 takes a free port.")
    ] = str(PORT),
    host: Annotated[
        str, Option(metavar="ADDRESS", help="The address; this machine's own, unless --open.")
    ] = "127.0.0.1",
    is_open: Annotated[
        bool, Option("--open", help="Let --host be an address that others can reach.")
    ] = False,
    data: Annotated[
        str | None,
        Option(metavar="DIR", help="Folder of the cluster; made if it is missing."),
    ] = None,
    no_scheduler: Annotated[
        bool, Option("--no-scheduler", help="Leave the binding of pods to others.")
    ] = False,
    config: Annotated[
        str, Option(metavar="NAME|FILE", help="The scheduler's policy or configuration.")
    ] = "default",
    demo: Annotated[
        bool, Option("--demo", help="Show what the scheduler does, on three nodes.")
    ] = False,
    once: Annotated[
        bool,
        Option("--once", help="End after the demo; without --data, nothing is kept."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start an API server with simulated nodes and a scheduler; say where its kubeconfig is."""
    # Imported here: no other command needs a web server, nor should wait for it to load.
    from herz.front.cli import serving  # noqa: PLC0415
    from herz.world.apiserver.embedded import Settings  # noqa: PLC0415
    from herz.world.apiserver.kubelets import Shape  # noqa: PLC0415

    _check_demo(demo=demo, once=once, no_scheduler=no_scheduler, shape=(nodes, cpu))
    shape = Shape(
        parsed_integer(nodes, option="--nodes", low=0, high=NODES_MAX), cpu=cpu, memory=memory
    )
    number = parsed_integer(port, option="--port", low=0, high=65_535)
    policy = "" if no_scheduler else checked_name(config, option="--config")
    if policy:
        app.load_policies(policy)
    with serving.folder_of(None if once and data is None else _folder(data)) as folder:
        settings = Settings(
            folder,
            host=checked_name(host, option="--host"),
            port=0 if once and port == str(PORT) else number,
            is_open=is_open,
            nodes=shape,
        )
        serving.serve(serving.Serving(settings, policy, demo, once, output))


def _check_demo(*, demo: bool, once: bool, no_scheduler: bool, shape: tuple[str, str]) -> None:
    if once and not demo:
        fix = "add --demo, or leave --once out"
        raise ConfigError("there is no demo to end with", where="--once", fix=fix)
    if demo and no_scheduler:
        raise ConfigError(
            "the demo needs the scheduler", where="--demo", fix="leave --no-scheduler out"
        )
    if demo and shape != (NODES, CPU):
        fix = f"leave --nodes and --cpu out: it is made for {NODES} nodes of {CPU} CPU"
        raise ConfigError("another cluster than the demo's", where="--demo", fix=fix)


def _folder(text: str | None) -> Path:
    """The data folder; without a name, one below the user's own data."""
    if text is not None:
        return Path(checked_name(text, option="--data")).absolute()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "herz" / "cluster"
