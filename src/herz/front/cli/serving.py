"""The process of `herz up`: a cluster that runs until a signal ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from herz.front.cli.options import Output
from herz.front.cli.printing import print_answer
from herz.world.apiserver.embedded import Embedded, Settings, start_embedded
from herz.world.apiserver.kubelets import Shape


def serve(
    *,
    folder: Path,
    host: str,
    port: int,
    is_open: bool,
    nodes: int,
    cpu: str,
    memory: str,
    output: Output,
) -> None:
    """Start the cluster, say where it is, and run it until SIGINT or SIGTERM.

    Raises:
        ConfigError: a quantity is none, or the address is not this machine's own.
        WorldError: the folder or the address cannot be used.
    """
    shape = Shape(nodes, cpu=cpu, memory=memory)
    settings = Settings(folder, host=host, port=port, is_open=is_open, nodes=shape)
    asyncio.run(_serve(settings, output))


async def _serve(settings: Settings, output: Output) -> None:
    """Run the cluster until SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    cluster = await start_embedded(settings)
    try:
        _tell(cluster, output)
        await end.wait()
    finally:
        await cluster.stop()


def _tell(cluster: Embedded, output: Output) -> None:
    settings = cluster.settings
    shape = settings.nodes
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    answer = {
        "kubeconfig": str(cluster.kubeconfig),
        "server": f"https://{host}:{cluster.port}",
        "data": str(settings.folder),
        "nodes": 0 if shape is None else shape.count,
        "process": os.getpid(),
    }
    print_answer(
        answer,
        output,
        title="herz up",
        columns=("what", "value"),
        rows=[(name, str(value)) for name, value in answer.items()],
        after=[
            f"export KUBECONFIG={cluster.kubeconfig}",
            "No scheduler runs: pods stay pending until somebody binds them.",
            "Ctrl-C stops it; everything is kept for the next start.",
        ],
    )
