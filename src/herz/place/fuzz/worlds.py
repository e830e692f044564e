"""Made clusters: few values, so that they meet, and words of the rule's own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from herz.model.decode import convert
from herz.model.objects import Node, Pod
from herz.model.podinfo import PodInfo
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.mix import PodMix
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Plugin, Reads, ReasonBook

ItemT = TypeVar("ItemT")
Make = Callable[[Mapping[str, Any], ReasonBook], Plugin]
"""A rule's class, or what makes one: it takes the arguments and the book of reasons."""
ReadPods = Callable[[Callable[[PodInfo], bytes]], Callable[[Pod], PodInfo]]
"""Given what signs pods, gives what reads them (`intake.arrive`)."""

FEW: Final = 3
"""Words of the rule's code that half of the clusters are made of."""
HOST: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"
TAINTS: Final = (
    ("team", "blue", "NoSchedule"),
    ("team", "red", "NoExecute"),
    ("spot", "", "PreferNoSchedule"),
)
ASPECTS: Final = {
    "labels": Reads.LABELS,
    "annotations": Reads.ANNOTATIONS,
    "unschedulable": Reads.TAINTS,
    "taints": Reads.TAINTS,
    "allocatable": Reads.ALLOCATABLE,
    "images": Reads.IMAGES,
}
"""What changes of a node, and what it is declared by."""
VALUES: Final = ("a", "b", "true", "false", "", "1", "2", "17", "-4", "60", "9223372036854775807")
WEB: Final = {"app": "web"}


def _term(labels: Mapping[str, str], key: str) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": key}


_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
SPECS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {},
    {},
    {"nodeSelector": {"zone": "a"}},
    {"tolerations": [{"operator": "Exists"}]},
    {"tolerations": [{"key": "team", "operator": "Equal", "value": "blue"}]},
    {
        "affinity": {
            "nodeAffinity": {
                _PREFERRED: [
                    {
                        "weight": 30,
                        "preference": {
                            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]
                        },
                    }
                ]
            }
        }
    },
    {"affinity": {"podAntiAffinity": {_REQUIRED: [_term(WEB, "zone")]}}},
    {
        "affinity": {
            "podAffinity": {_PREFERRED: [{"weight": 9, "podAffinityTerm": _term(WEB, HOST)}]}
        }
    },
    {
        "topologySpreadConstraints": [
            {
                "topologyKey": "zone",
                "maxSkew": 1,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": dict(WEB)},
            }
        ]
    },
    {"nodeName": "n1"},
)


class Dice(Protocol):
    """Chance, handed in by who may have it."""

    def randrange(self, stop: int, /) -> int:
        """An integer from 0 to below `stop`."""
        ...


class Draft:
    """A made cluster with one rule.

    Args:
        dice: chance.
        words: texts of the rule's code: keys and values of labels, resources, annotations.
        make: makes the rule.
        args: its arguments.
        read: makes pods into what rules see.
    """

    def __init__(
        self,
        dice: Dice,
        words: Sequence[str],
        make: Make,
        args: Mapping[str, Any],
        read: ReadPods,
    ) -> None:
        self.dice = dice
        self.keys = [word for word in words if _is_key(word)][:12]
        self._words = [word for word in words if _is_value(word)][:40]
        if self._words and dice.randrange(2):
            # Few words, so that those that a branch of the rule asks for together meet.
            self._words = [self.pick(self._words) for _ in range(FEW)]
        self._make = make
        self._args = args
        self.book = ReasonBook()
        self.rule = make(args, self.book)
        self.cluster = Cluster(SnapshotDigest(), PodMix())
        self.framework = self.fresh()
        self._read = read(self.framework.sign)
        self._count = 0
        self._contents: dict[str, dict[str, Any]] = {}

    def fresh(self, view: Any = None) -> Framework:
        """A runner that remembers nothing."""
        nodes = self.cluster.nodes
        view = self.cluster.view if view is None else view
        return Framework(nodes, view, [(self.rule, 1)], self.book, salt=None)

    def anew(self) -> tuple[Framework, ReasonBook]:
        """A runner of a rule that has not been asked anything yet, and its reasons."""
        book, cluster = ReasonBook(), self.cluster
        rule = self._make(self._args, book)
        return Framework(cluster.nodes, cluster.view, [(rule, 1)], book, salt=None), book

    def pick(self, items: Sequence[ItemT]) -> ItemT:
        """One of the items."""
        return items[self.dice.randrange(len(items))]

    # ---- nodes ----------------------------------------------------------------------------

    def add_nodes(self, count: int) -> None:
        """Nodes `n0`, `n1` and so on."""
        for number in range(count):
            self.apply_node(f"n{number}", self._node())

    def apply_node(self, name: str, content: dict[str, Any]) -> None:
        """A node comes or changes."""
        self._contents[name] = content
        labels = {HOST: name, **content["labels"]}
        whole = {
            "metadata": {"name": name, "labels": labels, "annotations": content["annotations"]},
            "spec": content["spec"],
            "status": content["status"],
        }
        self.cluster.apply_node(convert(Node, whole))

    def _node(self) -> dict[str, Any]:
        labels = {}
        for key in ("zone", ZONE, "rank", *self.keys):
            if self.dice.randrange(3):
                labels[key] = self._value()
        taints = [taint for taint in TAINTS if not self.dice.randrange(4)]
        more = {word: str(self.dice.randrange(4)) for word in self.keys if "/" in word}
        return {
            "labels": labels,
            "annotations": {key: self._value() for key in self.keys if self.dice.randrange(2)},
            "spec": {
                "unschedulable": self.dice.randrange(6) == 0,
                "taints": [{"key": k, "value": v, "effect": e} for k, v, e in taints],
            },
            "status": {
                "allocatable": {
                    "cpu": self.pick(("0", "1", "2", "64")),
                    "memory": self.pick(("512Mi", "1Gi", "4Gi")),
                    "pods": self.pick(("2", "5", "110")),
                    **more,
                },
                "images": [{"names": ["web:1"], "sizeBytes": 400 << 20}]
                if self.dice.randrange(2)
                else [],
            },
        }

    def _value(self) -> str:
        if self._words and self.dice.randrange(2 if len(self._words) > FEW else 5):
            return self.pick(self._words)
        return self.pick(VALUES)

    def change_node(self) -> str:
        """One aspect of one node changes; gives its name in words."""
        name = self.pick(sorted(self._contents))
        old, new = self._contents[name], self._node()
        kept = {**old, "spec": dict(old["spec"]), "status": dict(old["status"])}
        what = self.pick(list(ASPECTS))
        declared = getattr(self.rule, "reads", 0) | getattr(self.rule, "reads_all", 0)
        # What it reads must move its answers, what it does not must leave them as they are.
        is_read = self.dice.randrange(2) == 0
        some = [one for one, reads in ASPECTS.items() if bool(declared & reads) is is_read]
        if some and self.dice.randrange(3):
            what = self.pick(some)
        if what in ("labels", "annotations"):
            key = self.pick([*old[what], *self.keys, "zone"])
            key = self.pick(self.keys) if self.keys and self.dice.randrange(2) else key
            kept[what] = {**old[what], key: self._value()}
        elif what in ("unschedulable", "taints"):
            kept["spec"][what] = new["spec"][what]
        else:
            kept["status"][what] = new["status"][what]
        self.apply_node(name, kept)
        return f"{what} of {name}"

    # ---- pods -----------------------------------------------------------------------------

    def pod(self) -> PodInfo:
        """A pod that waits."""
        self._count += 1
        name = f"p{self._count}"
        requests = {"cpu": self.pick(("100m", "300m", "1")), "memory": "100Mi"}
        for word in self.keys:
            if "/" in word and self.dice.randrange(3) == 0:
                requests[word] = str(1 + self.dice.randrange(2))
        ports = [{"hostPort": 80, "protocol": "TCP"}] if self.dice.randrange(5) == 0 else []
        keys = [*self.keys, "tier", "team"]
        labels = {key: self._value() for key in keys if self.dice.randrange(2)}
        if self.dice.randrange(2):
            labels |= WEB
        annotations = {key: self._value() for key in self.keys if self.dice.randrange(3) == 0}
        container = {"name": "c", "image": "web:1", "ports": ports}
        content = {
            "metadata": {
                "name": name,
                "namespace": self.pick(("shop", "shop", "other")),
                "uid": f"uid-{name}",
                "labels": labels,
                "annotations": annotations,
            },
            "spec": {
                **self.pick(SPECS),
                "containers": [{**container, "resources": {"requests": requests}}],
                "priority": self.pick((0, 0, 5, -3)),
            },
        }
        return self._read(convert(Pod, content))

    def place(self, count: int) -> None:
        """Pods on nodes, every other one on the same."""
        nodes = sorted(self._contents)
        crowded = self.pick(nodes)
        for _ in range(count):
            node = self.pick(nodes) if self.dice.randrange(2) else crowded
            self.cluster.assign(self.pod(), node, ())

    def change_pods(self) -> str:
        """A pod comes to a node or leaves one; gives which in words."""
        placed = sorted(self.cluster.ledger.placed)
        if placed and self.dice.randrange(2):
            uid = self.pick(placed)
            self.cluster.forget(uid)
            return f"pod {uid} left"
        self.place(1)
        return "a pod came"


def _is_key(word: str) -> bool:
    parts = word.split("/")
    return (
        0 < len(word) <= 63 and len(parts) <= 2 and all(_is_value(part) and part for part in parts)
    )


def _is_value(word: str) -> bool:
    plain = word.replace("-", "").replace("_", "").replace(".", "")
    return (
        len(word) <= 63
        and word.isascii()
        and (word == "" or plain.isalnum())
        and (word == "" or (word[0].isalnum() and word[-1].isalnum()))
    )
