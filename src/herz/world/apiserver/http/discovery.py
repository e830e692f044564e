"""What is served, as clients ask for it: groups, versions, resources, verbs; all from `KINDS`."""

from __future__ import annotations

from typing import Any

from herz.world.apiserver.http.forms import media_types
from herz.world.apiserver.objects.kinds import KINDS, VERSIONS, Kind

Content = dict[str, Any]

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0+herz",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The Kubernetes whose protocol is spoken."""
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_PARTS: dict[str, tuple[str, str, str, list[str]]] = {
    "status": ("", "", "", ["get", "patch", "update"]),
    "finalize": ("", "", "", ["update"]),
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "binding": ("", "v1", "Binding", ["create"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
}
"""Group, version and kind of a subresource's objects, empty for the resource's own; verbs."""
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def aggregated_version(accept: str) -> str:
    """The version of the aggregated form that the client takes; empty where it takes none."""
    for _, pairs in media_types(accept):
        if pairs.get("as") == "APIGroupDiscoveryList" and pairs.get("v") in ("v2", "v2beta1"):
            return pairs["v"]
        if "as" not in pairs:
            return ""
    return ""


def core_versions(address: str) -> Content:
    """The answer to `/api`."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def groups() -> Content:
    """The answer to `/apis`."""
    named = [_group(name) for name in sorted(VERSIONS) if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}


def group(name: str) -> Content | None:
    """The answer to `/apis/GROUP`; None where it is not served."""
    if not name or name not in VERSIONS:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


def resources(name: str, version: str) -> Content | None:
    """The answer to `/api/v1` and `/apis/GROUP/VERSION`; None where it is not served."""
    if VERSIONS.get(name) != version:
        return None
    found = []
    for kind in _of_group(name):
        entry: Content = {
            "name": kind.resource,
            "singularName": kind.singular,
            "namespaced": kind.is_namespaced,
            "kind": kind.name,
            "verbs": _VERBS,
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        found.append(entry)
        for part, (part_group, part_version, part_kind, verbs) in _parts(kind):
            entry = {"name": f"{kind.resource}/{part}", "singularName": ""}
            entry |= {"namespaced": kind.is_namespaced, "kind": part_kind, "verbs": verbs}
            if (part_group, part_version) != (kind.group, kind.version):
                entry |= {"group": part_group, "version": part_version}
            found.append(entry)
    api_version = f"{name}/{version}" if name else version
    head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version}
    return {**head, "resources": found}


def aggregated(version: str, *, is_core: bool) -> Content:
    """The answer to `/api` or `/apis` that has everything at once."""
    names = [""] if is_core else sorted(name for name in VERSIONS if name)
    items = []
    for name in names:
        shown: Content = {"metadata": {"name": name, "creationTimestamp": None}}
        if not name:
            shown = {"metadata": {"creationTimestamp": None}}
        found = [_aggregated_resource(kind) for kind in _of_group(name)]
        entry = {"version": VERSIONS[name], "resources": found, "freshness": "Current"}
        items.append({**shown, "versions": [entry]})
    api_version = f"apidiscovery.k8s.io/{version}"
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}}
    return {**head, "items": items}


def _group(name: str) -> Content:
    version = {"groupVersion": f"{name}/{VERSIONS[name]}", "version": VERSIONS[name]}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _of_group(name: str) -> list[Kind]:
    return [kind for kind in KINDS if kind.group == name]


def _parts(kind: Kind) -> list[tuple[str, tuple[str, str, str, list[str]]]]:
    """The subresources that are served, with whose objects they take."""
    found = []
    for part in kind.subresources:
        known = _PARTS.get(part)
        if known is not None:
            own = (kind.group, kind.version, kind.name, known[3])
            found.append((part, known if known[2] else own))
    return found


def _aggregated_resource(kind: Kind) -> Content:
    entry: Content = {
        "resource": kind.resource,
        "responseKind": _kind(kind.group, kind.version, kind.name),
        "scope": "Namespaced" if kind.is_namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _VERBS,
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    parts = [
        {"subresource": part, "responseKind": _kind(*names[:3]), "verbs": names[3]}
        for part, names in _parts(kind)
    ]
    if parts:
        entry["subresources"] = parts
    return entry


def _kind(group_name: str, version: str, name: str) -> Content:
    return {"group": group_name, "version": version, "kind": name}
