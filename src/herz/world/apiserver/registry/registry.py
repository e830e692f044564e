"""Create and change objects, by the rules of their kinds.

Every method reads the latest state, decides and stages its write without waiting in between: so
each is atomic, and needs no retry. What comes back is as it is stored, and on the disk.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.meta import PriorityClass
from herz.world.apiserver.objects.defaults import admit_pod, apply_defaults, select_own_pods
from herz.world.apiserver.objects.kinds import HERZ_GROUP, Kind
from herz.world.apiserver.objects.rules import check_change, check_new
from herz.world.apiserver.refusal import (
    RefusedError,
    already_exists,
    bad_request,
    cause_of,
    conflict,
    forbidden,
    invalid,
    not_found,
    stale,
)
from herz.world.apiserver.registry.times import now, seconds_text
from herz.world.apiserver.store import Key, Store, Version

Content = dict[str, Any]

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_NAMES_MAX = 8
"""Bound: generated names that are tried before the request is refused."""
_OTHER_NAMESPACE = (
    "the namespace of the provided object does not match the namespace sent on the request"
)
_BASE_LENGTH_MAX = 58
_KEEPS_STATUS = ("Node", "PersistentVolume")
"""Kinds whose status is taken over when they are created."""
_LOOSE_STATUS = ("Pod", "Node")
"""Kinds of which a write to the status may also change labels and annotations."""
_NEEDS_REVISION = ("Lease", "PodDisruptionBudget")
_SERVER_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


class Registry:
    """The verbs.

    Args:
        store: where the objects are.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    # ---- reading ----------------------------------------------------------------------------

    def key(self, kind: Kind, namespace: str, name: str) -> Key:
        """Where the object is stored."""
        return Key(kind.stored, namespace if kind.is_namespaced else "", name)

    def get(self, kind: Kind, namespace: str, name: str) -> Version:
        """The object as it is on the disk.

        Raises:
            RefusedError: 404.
        """
        found = self.store.get(self.key(kind, namespace, name))
        if found is None:
            raise not_found(kind.resource, kind.group, name)
        return found

    def latest(self, kind: Kind, namespace: str, name: str) -> Version:
        """The object with what is being written.

        Raises:
            RefusedError: 404.
        """
        found = self.store.latest(self.key(kind, namespace, name))
        if found is None:
            raise not_found(kind.resource, kind.group, name)
        return found

    # ---- creating ---------------------------------------------------------------------------

    async def create(
        self, kind: Kind, namespace: str, content: Content, *, is_dry: bool = False
    ) -> Content:
        """Make a new object.

        Raises:
            RefusedError: 400, 403, 404 (its namespace), 409 or 422; nothing was made.
        """
        self._check_place(kind, namespace, content)
        content = self._prepared(kind, content)
        key = self._free_key(kind, namespace, content["metadata"])
        content["metadata"]["name"] = key.name
        try:
            content = self._admitted(kind, content)
            check_new(kind, content)
        except ConfigError as error:
            raise self.refused(kind, key.name, error) from error
        if is_dry:
            return content
        return (await self.store.put(key, content)).content

    def refused(self, kind: Kind, name: str, error: ConfigError) -> RefusedError:
        """422, or 403 where admission would have said no."""
        if error.what == "no such PriorityClass":
            why = f"no PriorityClass with name {error.value} was found"
            return forbidden(kind.resource, kind.group, name, why)
        return invalid(kind.name, kind.group, name, [cause_of(error)])

    def _check_place(self, kind: Kind, namespace: str, content: Content) -> None:
        """The namespace is the request's, exists, and is not going away."""
        metadata = content["metadata"]
        if not kind.is_namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.get("namespace", namespace) != namespace:
            raise bad_request(_OTHER_NAMESPACE)
        metadata["namespace"] = namespace
        found = self.store.latest(Key("namespaces", "", namespace))
        if found is None:
            raise not_found("namespaces", "", namespace)
        if "deletionTimestamp" in found.metadata:
            why = (
                f"unable to create new content in namespace {namespace} "
                "because it is being terminated"
            )
            name = metadata.get("name", "")
            cause = {"reason": "NamespaceTerminating", "field": "metadata.namespace"}
            cause["message"] = f"namespace {namespace} is being terminated"
            raise forbidden(kind.resource, kind.group, name, why, [cause])

    def _prepared(self, kind: Kind, content: Content) -> Content:
        """The object with what only the server says about it."""
        metadata = content["metadata"]
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        dropped = (*_SERVER_FIELDS, "selfLink", "managedFields", "generation", "resourceVersion")
        metadata = {name: item for name, item in metadata.items() if name not in dropped}
        metadata["uid"] = str(uuid4())
        metadata["creationTimestamp"] = seconds_text(now())
        if kind.has_generation:
            metadata["generation"] = 1
        rest = {name: item for name, item in content.items() if name not in _FRONT}
        if kind.has_status and kind.name not in _KEEPS_STATUS:
            rest.pop("status", None)
        return {**_front(kind), "metadata": metadata, **rest}

    def _free_key(self, kind: Kind, namespace: str, metadata: Content) -> Key:
        """The place of a new object, named or with a generated name."""
        name = metadata.get("name", "")
        if name:
            key = self.key(kind, namespace, name)
            if self.store.latest(key) is not None:
                raise already_exists(kind.resource, kind.group, name)
            return key
        base = metadata.get("generateName", "")
        if not base:
            cause = {"reason": "FieldValueRequired", "field": "metadata.name"}
            cause["message"] = "Required value: name or generateName is required"
            raise invalid(kind.name, kind.group, "", [cause])
        for _ in range(_NAMES_MAX):
            suffix = "".join(secrets.choice(_SUFFIX) for _ in range(_SUFFIX_LENGTH))
            key = self.key(kind, namespace, base[:_BASE_LENGTH_MAX] + suffix)
            if self.store.latest(key) is None:
                return key
        raise already_exists(kind.resource, kind.group, base)

    def _admitted(self, kind: Kind, content: Content) -> Content:
        """Defaults, and what creation alone adds."""
        apply_defaults(kind, content)
        if kind.qualified == "pods":
            return admit_pod(content, self._priority_classes())
        if kind.qualified == "jobs.batch":
            select_own_pods(content)
        elif kind.qualified == "services":
            self._give_address(content)
        return content

    def _priority_classes(self) -> dict[str, PriorityClass]:
        """The priority classes, with the one that a staged write may have added."""
        found = self.store.items("priorityclasses.scheduling.k8s.io")
        return {item.key.name: convert(PriorityClass, item.content) for item in found}

    def _give_address(self, service: Content) -> None:
        """A cluster address that no other service has; nothing listens there."""
        spec = service["spec"]
        if spec["type"] == "ExternalName":
            return
        if "clusterIP" not in spec:
            taken = {item.content["spec"].get("clusterIP") for item in self.store.items("services")}
            # Bound: a /16 of addresses; the names of one store take far fewer.
            for number in range(1, 65_535):
                address = f"10.96.{number // 256}.{number % 256}"
                if address not in taken:
                    spec["clusterIP"] = address
                    break
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    # ---- changing ---------------------------------------------------------------------------

    async def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        content: Content,
        *,
        subresource: str = "",
        is_dry: bool = False,
    ) -> Content:
        """Put the object in this form; under `status`, its status alone.

        Raises:
            RefusedError: 400, 404, 409 or 422; nothing was changed.
        """
        old = self.latest(kind, namespace, name)
        return await self._change(kind, old, content, subresource=subresource, is_dry=is_dry)

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        apply: Callable[[Content], Content],
        *,
        subresource: str = "",
        is_dry: bool = False,
    ) -> Content:
        """Change the object by a function of its present form.

        Args:
            kind: the object's.
            namespace: its.
            name: its.
            apply: gives the new form; may change what it is given.
            subresource: `status`, or empty.
            is_dry: whether to change nothing.

        Raises:
            RefusedError: 400, 404, 409 or 422; nothing was changed.
        """
        old = self.latest(kind, namespace, name)
        new = apply(old.copy())
        return await self._change(kind, old, new, subresource=subresource, is_dry=is_dry)

    async def _change(
        self, kind: Kind, old: Version, content: Content, *, subresource: str, is_dry: bool
    ) -> Content:
        self._check_identity(kind, old, content["metadata"])
        new = _with_parts(kind, old.content, content, subresource)
        try:
            if not subresource:
                apply_defaults(kind, new)
            check_new(kind, new)
            if not subresource:
                check_change(kind, old.content, new)
        except ConfigError as error:
            raise self.refused(kind, old.key.name, error) from error
        _check_finalizers(kind, old, new)
        return await self.replace(kind, old, new, is_dry=is_dry)

    async def replace(
        self,
        kind: Kind,
        old: Version,
        new: Content,
        *,
        is_dry: bool = False,
        is_counted: bool = True,
    ) -> Content:
        """Write an object over its old form; nothing where they are equal, its end where due.

        Args:
            kind: the object's.
            old: its latest form.
            new: its new one.
            is_dry: whether to change nothing.
            is_counted: whether a change of the spec makes a new generation.
        """
        metadata = new["metadata"]
        metadata["resourceVersion"] = old.metadata["resourceVersion"]
        if new == old.content:
            return old.content
        if is_counted and kind.has_generation and _spec_of(new) != _spec_of(old.content):
            metadata["generation"] = int(old.metadata.get("generation", 0)) + 1
        if is_dry:
            return new
        write = self.store.remove if is_finished(new) else self.store.put
        return (await write(old.key, new)).content

    def _check_identity(self, kind: Kind, old: Version, metadata: Content) -> None:
        """Name, uid and version are those of the object that is there."""
        name = old.key.name
        if metadata.get("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) "
                f"does not match the name on the URL ({name})"
            )
        if kind.is_namespaced and metadata.get("namespace", old.key.namespace) != old.key.namespace:
            raise bad_request(_OTHER_NAMESPACE)
        check_preconditions(kind, old, metadata.get("uid"), None)
        revision = metadata.get("resourceVersion")
        if revision and revision != old.metadata["resourceVersion"]:
            raise stale(kind.resource, kind.group, name)
        if not revision and (kind.name in _NEEDS_REVISION or kind.group == HERZ_GROUP):
            cause = {"reason": "FieldValueInvalid", "field": "metadata.resourceVersion"}
            cause["message"] = "Invalid value: 0: must be specified for an update"
            raise invalid(kind.name, kind.group, name, [cause])


_FRONT = ("apiVersion", "kind", "metadata")


def _front(kind: Kind) -> Content:
    api_version = "v1" if kind.stored == "events" else kind.api_version
    return {"apiVersion": api_version, "kind": kind.name}


def check_preconditions(kind: Kind, old: Version, uid: str | None, revision: str | None) -> None:
    """The object is the one, in the version, that the client means.

    Raises:
        RefusedError: 409.
    """
    for what, wanted, found in (
        ("UID", uid, old.uid),
        ("ResourceVersion", revision, old.metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            why = (
                f"Precondition failed: {what} in precondition: {wanted}, "
                f"{what} in object meta: {found}"
            )
            raise conflict(kind.resource, kind.group, old.key.name, why)


def is_finished(content: Content) -> bool:
    """Whether a deleted object has nothing left to wait for."""
    metadata = content["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if content.get("kind") == "Namespace":
        return not content.get("spec", {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def _with_parts(kind: Kind, old: Content, content: Content, subresource: str) -> Content:
    """The new object: each part from the request or from before, as the subresource asks."""
    metadata = dict(content["metadata"])
    if subresource and kind.name not in _LOOSE_STATUS:
        metadata = dict(old["metadata"])
    for name in ("name", "namespace", "generateName", "generation", *_SERVER_FIELDS):
        metadata.pop(name, None)
        if name in old["metadata"]:
            metadata[name] = old["metadata"][name]
    for name in ("selfLink", "managedFields"):
        metadata.pop(name, None)
    kept = {name: metadata[name] for name in old["metadata"] if name in metadata}
    front = {**_front(kind), "metadata": {**kept, **metadata}}
    if subresource == "finalize":
        wanted = content.get("spec", {}).get("finalizers", [])
        spec = {**old.get("spec", {}), "finalizers": wanted}
        return {**front, "spec": spec, **_part(old, "status")}
    if subresource:
        rest = {name: item for name, item in old.items() if name not in (*_FRONT, "status")}
        return {
            **front,
            **msgspec.json.decode(msgspec.json.encode(rest)),
            **_part(content, "status"),
        }
    rest = {name: item for name, item in content.items() if name not in _FRONT}
    if kind.name == "Namespace":
        rest["spec"] = old.get("spec", {})
    if kind.has_status:
        rest.pop("status", None)
        rest |= _part(old, "status")
    return {**front, **rest}


def _part(content: Content, name: str) -> Content:
    return {name: content[name]} if name in content else {}


def _spec_of(content: Content) -> Content:
    """What the generation counts: everything but metadata and status."""
    return {name: item for name, item in content.items() if name not in ("metadata", "status")}


def _check_finalizers(kind: Kind, old: Version, new: Content) -> None:
    if "deletionTimestamp" not in old.metadata:
        return
    before = old.metadata.get("finalizers", [])
    added = [item for item in new["metadata"].get("finalizers", []) if item not in before]
    if added:
        cause = {"reason": "FieldValueForbidden", "field": "metadata.finalizers"}
        cause["message"] = (
            "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers {added}"
        )
        raise invalid(kind.name, kind.group, old.key.name, [cause])
