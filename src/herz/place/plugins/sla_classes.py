"""SLAClasses: a pod that names a class of promises which nobody knows is refused aloud."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np

from herz.knowledge.sla.classes import CLASS_LABEL, class_name, read_classes, resolve
from herz.model.objects import Namespace, SLAClass
from herz.model.podinfo import PodInfo
from herz.model.service_levels import SLAClassSpec
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import (
    SKIP_NOW,
    Based,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Kind,
    Reads,
    ReasonBook,
    Rows,
    Verdict,
    View,
    row_count,
)


class ClassArguments(Arguments, frozen=True):
    """`classes`: by name, what an SLAClass object has under `spec`."""

    classes: dict[str, Any] = msgspec.field(default_factory=dict)


class Classes:
    """Which class a pod is of, as rules ask it.

    Args:
        given: the argument `classes`.
        rule: whose argument it is.

    Raises:
        ConfigError: a field is not allowed.
    """

    def __init__(self, given: Mapping[str, Any], rule: str) -> None:
        self._known = read_classes(given, f"pluginConfig[{rule}].args.classes")

    def of(self, pod: PodInfo, view: View) -> tuple[str, SLAClassSpec | str] | None:
        """The class's name, and the class or why there is none; None: the pod promises nothing."""
        namespace = view.object(Namespace, pod.namespace)
        labels = {} if namespace is None else namespace.metadata.labels
        name = class_name(pod.pod.metadata.labels, labels)
        if not name:
            return None
        return name, resolve(name, view.object(SLAClass, name), self._known)


class SLAClasses(Filter, Hints, Based):
    """Fits everywhere, or rejects for all nodes with what is wrong with the pod's class."""

    name: ClassVar[str] = "SLAClasses"
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.NOTHING
    reads_prepare: ClassVar[Reads] = Reads.NAMESPACES | Reads.PROMISES

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._classes = Classes(read_arguments(self.name, args, ClassArguments).classes, self.name)

    def sign(self, pod: PodInfo) -> object:
        """The label, and the namespace, which may have a default."""
        return pod.pod.metadata.labels.get(CLASS_LABEL, ""), pod.namespace

    def basis(self, pod: PodInfo, view: View) -> Hashable:
        """The class."""
        return self._classes.of(pod, view)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """Nothing to ask of nodes."""
        found = self._classes.of(pod, view)
        if found is None or isinstance(found[1], SLAClassSpec):
            return SKIP_NOW
        return Verdict(Kind.NEVER_FITS, self.name, (found[1],))

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        """Never asked: `prepare` says all there is."""
        return np.zeros(row_count(view, rows), np.int16)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """The class or the namespace came or changed, or the pod did."""
        return {
            EventKind.OBJECT_ADD: _is_class,
            EventKind.OBJECT_UPDATE: _is_class,
            EventKind.OBJECT_DELETE: _is_class,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def _is_class(_pod: PodInfo, change: Change) -> bool:
    return isinstance(change.new or change.old, SLAClass | Namespace)
