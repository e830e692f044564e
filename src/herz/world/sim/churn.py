"""Changes of nodes (scripted, and random by seed), and the changes between two decisions."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from herz.errors import ConfigError, InvariantError
from herz.model.objects import Node, Taint
from herz.world.sim.cluster import Cluster, Fate, NodeState, PodState
from herz.world.sim.controllers import Controllers
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.faults import Dice
from herz.world.sim.scenario import HOUR_NS, NodeAction, NodeChange, Timing

UNREACHABLE = Taint(key="node.kubernetes.io/unreachable", effect="NoSchedule")
_TRIES_MAX = 64


class Churn:
    """Changes nodes as the scenario and the dice say.

    Args:
        engine: virtual time.
        cluster: the objects.
        controllers: for pods on drained and failed nodes.
        dice: for random changes.
        timing: spans of time.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        controllers: Controllers,
        dice: Dice,
        timing: Timing,
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._controllers = controllers
        self._dice = dice
        self._timing = timing
        self._first: dict[str, Node] = {}
        self._names: list[str] = []
        self._ticks = 0
        self._verbs: dict[NodeChange, Callable[[NodeState, NodeAction], None]] = {
            NodeChange.FAIL: self._fail,
            NodeChange.RETURN: self._return,
            NodeChange.DRAIN: self._drain,
            NodeChange.DELETE: self._delete,
            NodeChange.CORDON: self._cordon,
            NodeChange.TAINT: self._taint,
            NodeChange.UNTAINT: self._untaint,
            NodeChange.LABEL: self._label,
            NodeChange.ALLOCATABLE: self._resize,
        }

    def add(self, node: Node) -> None:
        """A node joins for the first time."""
        name = node.name
        if name in self._first:
            raise ConfigError("two nodes have one name", value=name, fix="rename one of them")
        self._first[name] = node
        self._names.append(name)
        self._cluster.put_node(node)

    def plan(self, action: NodeAction) -> None:
        """See to it that the action happens at its time."""
        at_ns = max(action.time_ns, self._engine.now_ns)
        self._engine.at(at_ns, Rank.NODE, self._act, action)

    def plan_random(self, until_ns: int) -> None:
        """Let random changes happen at the faults' pace until this time."""
        if self._dice.rates.node_changes_per_hour > 0:
            self._plan_next(until_ns)

    def change_something(self) -> None:
        """Change one node or one pod, in turn: what `Protocol.CHANGE_BETWEEN` asks for.

        Nodes get another label value or a little more or less memory (the checks still hold: only
        a node with room shrinks); a running pod gets another label value, or is deleted.
        """
        self._ticks += 1
        if self._ticks % 2 and self._change_pod():
            return
        state = self._cluster.nodes[self._names[self._dice.choice(len(self._names))]]
        if not state.is_up:
            return
        if self._ticks % 4:
            self._put_label(state)
        else:
            self._put_memory(state)

    def _put_label(self, state: NodeState) -> None:
        meta = state.node.metadata
        labels = {**meta.labels, "herz.dev/tick": str(self._ticks % 16)}
        self._cluster.put_node(replace(state.node, metadata=replace(meta, labels=labels)))

    def _put_memory(self, state: NodeState) -> None:
        first = self._first[state.node.name].status
        memory = state.room.capacity.get("memory", 0)
        step = 1 << 26
        less = memory - step
        is_shrunk = less >= state.room.used.get("memory", 0) and self._ticks % 8 == 0
        allocatable = {**first.allocatable, "memory": less} if is_shrunk else first.allocatable
        status = replace(first, allocatable=allocatable)
        self._cluster.put_node(replace(state.node, status=status))

    def _change_pod(self) -> bool:
        state = self._random_pod()
        if state is None:
            return False
        if self._ticks % 4 == 1:
            meta = state.pod.metadata
            labels = {**meta.labels, "herz.dev/tick": str(self._ticks % 16)}
            self._cluster.update(state, replace(state.pod, metadata=replace(meta, labels=labels)))
        else:
            self._cluster.remove(state, Fate.DELETED)
        return True

    def _random_pod(self) -> PodState | None:
        """A running pod of a random node; None when a few nodes have none."""
        # Bound: `_TRIES_MAX`; early in a run most nodes are empty.
        for _ in range(_TRIES_MAX):
            state = self._cluster.nodes[self._names[self._dice.choice(len(self._names))]]
            if state.room.holders:
                uid = next(iter(state.room.holders))
                pod = self._cluster.pods[uid]
                return pod if pod.fate is Fate.RUNNING else None
        return None

    def _plan_next(self, until_ns: int) -> None:
        gap_ns = HOUR_NS // self._dice.rates.node_changes_per_hour
        at_ns = self._engine.now_ns + self._dice.between(1, 2 * gap_ns)
        if at_ns < until_ns:
            self._engine.at(at_ns, Rank.NODE, self._strike, until_ns)

    def _strike(self, until_ns: int) -> None:
        """One random change, undone some time later; then the next one is planned."""
        name = self._names[self._dice.choice(len(self._names))]
        kinds = (*_RANDOM_KINDS, NodeChange.ADD)
        kind = kinds[self._dice.choice(len(kinds))]
        now_ns = self._engine.now_ns
        undone_ns = now_ns + self._dice.between(*self._timing.recover_ns)
        self._dice.count(f"node_{kind.value}")
        if kind is NodeChange.ADD:
            self._join_another(name)
        else:
            state = self._cluster.nodes[name]
            change = self._random_action(kind, state, now_ns)
            self._act(change)
            self.plan(NodeAction(time_ns=undone_ns, kind=NodeChange.RETURN, name=name))
        self._plan_next(until_ns)

    def _join_another(self, like: str) -> None:
        first = self._first[like]
        name = f"{like.partition('--')[0]}--{len(self._names)}"
        labels = {**first.metadata.labels, "kubernetes.io/hostname": name}
        meta = replace(first.metadata, name=name, uid=f"node-{name}", labels=labels)
        self.add(replace(first, metadata=meta))

    def _random_action(self, kind: NodeChange, state: NodeState, now_ns: int) -> NodeAction:
        memory = state.room.capacity.get("memory", 0)
        part = self._dice.between(50, 99)
        return NodeAction(
            time_ns=now_ns,
            kind=kind,
            name=state.node.name,
            taints=(Taint(key="herz.dev/churn", value="yes", effect="NoSchedule"),),
            labels={"herz.dev/churn": str(part)},
            allocatable={"memory": memory * part // 100},
        )

    def _act(self, action: NodeAction) -> None:
        if action.kind is NodeChange.ADD:
            if action.node is None:
                raise InvariantError(f"node {action.name} joins, but is not described")
            self.add(action.node)
            return
        state = self._cluster.nodes.get(action.name)
        if state is None:
            fix = "name a node of the cluster"
            raise ConfigError("an action names no node", value=action.name, fix=fix)
        if state.is_up or action.kind is NodeChange.RETURN:
            self._verbs[action.kind](state, action)

    def _fail(self, state: NodeState, action: NodeAction) -> None:
        self._add_taints(state, (UNREACHABLE,))
        at_ns = self._engine.now_ns + self._timing.evict_ns
        self._engine.at(at_ns, Rank.NODE, self._lose_pods, (action.name, UNREACHABLE))

    def _lose_pods(self, what: tuple[str, Taint]) -> None:
        """The node stayed away for too long (it may have come back before)."""
        state = self._cluster.nodes[what[0]]
        if state.is_up and what[1] in state.node.spec.taints:
            for pod in self._pods_on(state):
                self._controllers.lose(pod)

    def _return(self, state: NodeState, _: NodeAction) -> None:
        """The node is as it was at first; the pods that stayed on it run on."""
        self._cluster.put_node(self._first[state.node.name])

    def _cordon(self, state: NodeState, _: NodeAction) -> None:
        spec = replace(state.node.spec, unschedulable=True)
        self._cluster.put_node(replace(state.node, spec=spec))

    def _drain(self, state: NodeState, action: NodeAction) -> None:
        self._cordon(state, action)
        for index, pod in enumerate(self._pods_on(state)):
            at_ns = self._engine.now_ns + index * self._timing.drain_gap_ns
            self._engine.at(at_ns, Rank.NODE, self._controllers.evict, pod)

    def _delete(self, state: NodeState, action: NodeAction) -> None:
        self._cluster.remove_node(action.name)
        for pod in self._pods_on(state):
            self._controllers.lose(pod)

    def _taint(self, state: NodeState, action: NodeAction) -> None:
        self._add_taints(state, action.taints)

    def _untaint(self, state: NodeState, action: NodeAction) -> None:
        kept = tuple(taint for taint in state.node.spec.taints if taint not in action.taints)
        self._put_taints(state, kept)

    def _label(self, state: NodeState, action: NodeAction) -> None:
        meta = state.node.metadata
        labels = {**meta.labels, **action.labels}
        labels = {key: value for key, value in labels.items() if value != ""}
        self._cluster.put_node(replace(state.node, metadata=replace(meta, labels=labels)))

    def _resize(self, state: NodeState, action: NodeAction) -> None:
        status = state.node.status
        allocatable = {**status.allocatable, **action.allocatable}
        self._cluster.put_node(replace(state.node, status=replace(status, allocatable=allocatable)))

    def _add_taints(self, state: NodeState, taints: tuple[Taint, ...]) -> None:
        there = state.node.spec.taints
        self._put_taints(state, there + tuple(taint for taint in taints if taint not in there))

    def _put_taints(self, state: NodeState, taints: tuple[Taint, ...]) -> None:
        spec = replace(state.node.spec, taints=taints)
        self._cluster.put_node(replace(state.node, spec=spec))

    def _pods_on(self, state: NodeState) -> list[PodState]:
        """The node's pods, in the order in which they came to it."""
        return [self._cluster.pods[uid] for uid in state.room.holders]


_RANDOM_KINDS = (
    NodeChange.FAIL,
    NodeChange.DRAIN,
    NodeChange.DELETE,
    NodeChange.TAINT,
    NodeChange.LABEL,
    NodeChange.ALLOCATABLE,
)
