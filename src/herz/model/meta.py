"""What every object carries: metadata, and the shapes that several kinds share.

All objects of `herz.model` are frozen msgspec structs that hold the fields scheduling reads, under
Kubernetes' JSON names; other fields are skipped while decoding. `herz.model.decode` reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    # A quantity as it stands in the JSON: a string, a whole number, or the text of any other
    # number. It is parsed where it is used (`herz.model.quantity`), once per distinct text.
    RawQuantity = str | int
else:
    # Invariant: decoders are made with `float_hook=str`. msgspec applies the hook to untyped values
    # only, so the run-time type must be Any; with `str | int` a 1.5 would go through a float.
    RawQuantity = Any

ResourceMap = dict[str, RawQuantity]


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """The base of everything read from the API.

    `gc=False` is sound: a decoded object is a tree, frozen after decoding, and never refers back.
    """


class OwnerReference(Wire, frozen=True, kw_only=True):
    """Who made the object; the one with `controller` manages it."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(Wire, frozen=True, kw_only=True):
    """Name, identity and labels. Times are RFC 3339 texts, as served."""

    name: str = ""
    namespace: str = ""
    generate_name: str = ""
    uid: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    finalizers: tuple[str, ...] = ()
    resource_version: str = ""
    generation: int = 0

    @property
    def key(self) -> str:
        """`namespace/name`, or the name alone where there is no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class LabelSelectorRequirement(Wire, frozen=True, kw_only=True):
    """`key operator values` with In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Wire, frozen=True, kw_only=True):
    """A conjunction; an empty one matches everything, an absent one (None) nothing."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class NodeSelectorRequirement(Wire, frozen=True, kw_only=True):
    """`key operator values` with In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Wire, frozen=True, kw_only=True):
    """A conjunction over labels and fields; an empty term matches no node."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(Wire, frozen=True, kw_only=True):
    """A disjunction of terms."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class Condition(Wire, frozen=True, kw_only=True):
    """A status condition of a pod or a node."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int = 0


class ResourceRequirements(Wire, frozen=True, kw_only=True):
    """Requests and limits of a container or a pod; `claims` name dynamic resources."""

    requests: ResourceMap = msgspec.field(default_factory=dict)
    limits: ResourceMap = msgspec.field(default_factory=dict)
    claims: tuple[dict[str, str], ...] = ()


class Namespace(Wire, frozen=True, kw_only=True, tag_field="kind", tag="Namespace"):
    """A namespace; its labels are what namespace selectors match."""

    metadata: ObjectMeta = ObjectMeta()


class PriorityClass(Wire, frozen=True, kw_only=True, tag_field="kind", tag="PriorityClass"):
    """A named priority (scheduling.k8s.io/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    value: int = 0
    global_default: bool = False
    preemption_policy: str | None = None
