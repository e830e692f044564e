"""What a path means: which kind, where, which object, which part of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from herz.world.apiserver.objects.kinds import BY_PATH, VERSIONS, Kind
from herz.world.apiserver.refusal import RefusedError, bad_request, no_such_path, not_done

SEGMENTS_MAX = 12
SEGMENT_LENGTH_MAX = 512
_NOT_SERVED = frozenset(
    (
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "certificates.k8s.io",
        "discovery.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "metrics.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
    )
)
"""Kubernetes' own groups that this server has not: 501, not 404, so that nobody hunts a typo."""
_NOT_SERVED_RESOURCES = frozenset(
    (
        *("componentstatuses", "endpoints", "limitranges", "podtemplates", "resourcequotas"),
        *("controllerrevisions", "cronjobs", "csistoragecapacity", "volumeattributesclasses"),
    )
)
_NOT_SERVED_PARTS = frozenset(
    ("attach", "ephemeralcontainers", "exec", "log", "portforward", "proxy", "resize", "token")
)


@dataclass(frozen=True, slots=True)
class Target:
    """Objects of a kind, one of them, or a part of one.

    Args:
        kind: of the objects.
        namespace: empty for all, and for kinds without namespaces.
        name: empty for all.
        part: the subresource; empty for the object itself.
    """

    kind: Kind
    namespace: str = ""
    name: str = ""
    part: str = ""


def segments(raw_path: str) -> list[str]:
    """The path's segments, decoded once; nothing in them can climb or hide a slash.

    Raises:
        RefusedError: 400 or 404.
    """
    parts = raw_path.strip("/").split("/")
    if len(parts) > SEGMENTS_MAX or any(len(part) > SEGMENT_LENGTH_MAX for part in parts):
        raise no_such_path()
    try:
        decoded = [unquote_to_bytes(part).decode() for part in parts]
    except UnicodeDecodeError as error:
        raise bad_request("the path is no UTF-8") from error
    for part in decoded:
        if part in (".", "..") or "/" in part or "%" in part or not part.isprintable():
            raise bad_request(f"invalid path segment {part[:40]!r}")
    if any(not part for part in decoded):
        raise no_such_path()
    return decoded


def target_of(parts: list[str]) -> Target:
    """What is asked for; `parts` begin with `api` or `apis`.

    Raises:
        RefusedError: 404; 501 for what Kubernetes has and this server has not.
    """
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise _unknown_group(parts)
    if VERSIONS.get(group) != version:
        raise _unknown_group(parts)
    namespace = ""
    is_inside = rest[0] == "namespaces" and len(rest) > 2
    if is_inside and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = BY_PATH.get((group, version, rest[0]))
    if kind is None:
        if rest[0] == "bindings" and not group and namespace and len(rest) == 1:
            return Target(BY_PATH["", "v1", "pods"], namespace, "", "binding")
        if rest[0] in _NOT_SERVED_RESOURCES:
            raise not_done(f"the kind {rest[0]}")
        raise no_such_path()
    if bool(namespace) and not kind.is_namespaced:
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    part = rest[2] if len(rest) > 2 else ""
    if len(rest) > 3 or (name and kind.is_namespaced and not namespace):
        raise not_done(f"{kind.resource}/{part}") if part in _NOT_SERVED_PARTS else no_such_path()
    if part in _NOT_SERVED_PARTS:
        raise not_done(f"{kind.resource}/{part}: no container runs behind its simulated nodes")
    if part and part not in kind.subresources:
        raise no_such_path()
    return Target(kind, namespace, name, part)


def _unknown_group(parts: list[str]) -> RefusedError:
    if parts[0] == "apis" and len(parts) > 1 and parts[1] in _NOT_SERVED:
        return not_done(f"the API group {parts[1]}")
    return no_such_path()
