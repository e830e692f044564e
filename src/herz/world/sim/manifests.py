"""Kubernetes manifests as a scenario: the nodes and pods of a file or a folder, all there at once.

Objects are read by `herz.model.manifest` and completed as the API server would. A pod that has a
node already runs there; one without a `schedulerName` asks for `default-scheduler`.
"""

from __future__ import annotations

import random
from pathlib import Path

from msgspec.structs import replace

from herz.errors import ConfigError
from herz.model.manifest import Manifest, complete, read_manifests
from herz.model.objects import KubernetesObject, Node, Pod
from herz.world.sim.scenario import CLASS_LABEL, HOUR_NS, Content, Limits, PodArrival, Scenario

SUFFIXES = (".yaml", ".yml", ".json")
FILES_MAX = 10_000
FILE_BYTES_MAX = 256 << 20


def manifest_scenario(path: Path) -> Scenario:
    """The scenario of a file, or of all manifests in a folder (not below it), by file name.

    Raises:
        ConfigError: a file can't be read or is wrong, an object is there twice, or there is no
            node.
    """
    given: list[Manifest] = []
    for file in _files(path):
        given.extend(read_manifests(_bytes(file), source=str(file)))
    manifests = complete(given)
    nodes = tuple(_with_uid(item.object) for item in manifests if isinstance(item.object, Node))
    pods = [item for item in manifests if isinstance(item.object, Pod)]
    others = tuple(item.object for item in manifests if not isinstance(item.object, Node | Pod))
    if not nodes:
        fix = "add manifests of kind Node, or use a TOML scenario"
        raise ConfigError("no node", where=str(path), fix=fix)
    _check_places(pods, {node.name for node in nodes})
    arrivals = tuple(_arrival(index, item) for index, item in enumerate(pods))
    classes = dict.fromkeys(arrival.class_name for arrival in arrivals)
    waiting = (one.pod.spec for one in arrivals if not one.pod.is_assigned)
    names = dict.fromkeys(spec.scheduler_name for spec in waiting)

    def open_(generator: random.Random) -> Content:
        del generator  # Manifests leave nothing to chance.
        return Content(
            nodes=nodes,
            arrivals=iter(arrivals),
            pods_expected=len(arrivals),
            objects=_with_uids(others),
            notes=(f"{len(nodes)} nodes, {len(arrivals)} pods and {len(others)} other objects",),
        )

    return Scenario(
        name=path.name,
        description=f"manifests of {path}",
        open=open_,
        limits=Limits(time_ns_max=2 * HOUR_NS),
        classes=tuple(classes) or ("default",),
        schedulers=tuple(names),
        # Rules that the independent check doesn't know (volumes, unknown fields) may keep a pod.
        is_every_fit_expected=False,
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not files:
        fix = f"put files there that end in {', '.join(SUFFIXES)}"
        raise ConfigError("no manifest in the folder", where=str(path), fix=fix)
    if len(files) > FILES_MAX:
        fix = f"stay below {FILES_MAX} files"
        raise ConfigError("too many files", where=str(path), value=len(files), fix=fix)
    return files


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            fix = f"stay below {FILE_BYTES_MAX} bytes"
            raise ConfigError("the file is too long", where=str(file), fix=fix)
        return file.read_bytes()
    except OSError as error:
        fix = "check the path"
        raise ConfigError(f"can't be read: {error.strerror}", where=str(file), fix=fix) from error


def _arrival(index: int, item: Manifest) -> PodArrival:
    pod = item.object
    assert isinstance(pod, Pod), item.where
    if not pod.metadata.uid:
        uid = f"00000000-0000-4000-8000-{index:012x}"
        pod = replace(pod, metadata=replace(pod.metadata, uid=uid))
    return PodArrival(
        time_ns=0,
        pod=pod,
        class_name=pod.metadata.labels.get(CLASS_LABEL, "default"),
        unlisted=item.unlisted,
    )


def _check_places(pods: list[Manifest], names: set[str]) -> None:
    for item in pods:
        assert isinstance(item.object, Pod), item.where
        place = item.object.spec.node_name
        if place and place not in names:
            where = f"{item.where} spec.nodeName"
            fix = "add the node's manifest, or take the name away"
            raise ConfigError("no such node", where=where, value=place, fix=fix)


def _with_uid(node: Node) -> Node:
    if node.metadata.uid:
        return node
    return replace(node, metadata=replace(node.metadata, uid=f"node-{node.name}"))


def _with_uids(things: tuple[KubernetesObject, ...]) -> tuple[KubernetesObject, ...]:
    made = []
    for index, thing in enumerate(things):
        meta = thing.metadata
        named = meta if meta.uid else replace(meta, uid=f"object-{index}")
        made.append(replace(thing, metadata=named))
    return tuple(made)
