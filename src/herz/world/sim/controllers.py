"""Kubelets and workload controllers: what becomes of a pod after it arrived, and after its bind.

A bound pod is admitted, starts, runs, completes; a deleted one ends after its grace; a lost one is
made anew where its workload does so.
"""

from __future__ import annotations

from msgspec.structs import replace

from herz.model.objects import Pod
from herz.world.sim.cluster import ON_NODE, Cluster, Fate, PodState
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.faults import Dice
from herz.world.sim.scenario import AfterEnd, PodArrival, Timing

GENERATIONS_MAX = 1000
"""Bound: how often one workload slot may be made anew in a run."""


class Controllers:
    """The simulated kubelets and controllers.

    Args:
        engine: virtual time.
        cluster: the objects.
        dice: for spans of time.
        timing: the spans.
    """

    def __init__(self, engine: Engine, cluster: Cluster, dice: Dice, timing: Timing) -> None:
        self._engine = engine
        self._cluster = cluster
        self._dice = dice
        self._timing = timing
        self._made = 0
        self._generations: dict[str, int] = {}

    def arrive(self, arrival: PodArrival) -> PodState:
        """Create the pod, and see to its later deletion and ungating."""
        state = self._cluster.create(arrival)
        now_ns = self._engine.now_ns
        if arrival.lifetime_ns is not None:
            self._engine.at(now_ns + arrival.lifetime_ns, Rank.USER, self._expire, state)
        if arrival.ungate_ns is not None and state.pod.is_gated:
            self._engine.at(now_ns + arrival.ungate_ns, Rank.USER, self._ungate, state)
        if arrival.patience_ns is not None:
            self._engine.at(now_ns + arrival.patience_ns, Rank.USER, self._give_up, state)
        if arrival.relabel_ns is not None:
            self._engine.at(now_ns + arrival.relabel_ns, Rank.USER, self._relabel, state)
        if state.fate is Fate.RUNNING and arrival.run_ns is not None:
            self._engine.at(now_ns + arrival.run_ns, Rank.KUBELET, self._complete, state)
        return state

    def bound(self, state: PodState) -> None:
        """The pod's bind landed: its kubelet admits it, or refuses what has no room in truth.

        The API binds to anything; a node may have shrunk or gone while the bind was under way.
        """
        node = self._cluster.nodes.get(state.pod.spec.node_name)
        if node is None or not node.is_up:
            at_ns = self._engine.now_ns + self._timing.grace_ns
            self._engine.at(at_ns, Rank.KUBELET, self.lose, state)
            return
        if state.refusal:
            self._dice.count("refused_by_node")
            self._fail(state)
            return
        run_ns = state.arrival.run_ns
        if run_ns is None and not self._timing.is_start_shown:
            return
        start_ns = self._dice.between(*self._timing.start_ns)
        self._engine.at(self._engine.now_ns + start_ns, Rank.KUBELET, self._start, state)

    def delete(self, state: PodState, ending: Fate = Fate.DELETED) -> None:
        """Delete the pod as a user does: at once while it waits, after its grace on a node."""
        if state.is_gone or state.fate is Fate.TERMINATING:
            return
        if state.fate is Fate.RUNNING and self._timing.grace_ns > 0:
            self._cluster.mark_deleted(state, ending)
            at_ns = self._engine.now_ns + self._timing.grace_ns
            self._engine.at(at_ns, Rank.KUBELET, self._remove, state)
        else:
            self._cluster.remove(state, ending)

    def evict(self, state: PodState) -> None:
        """Take the pod off its node and have it made anew."""
        if state.fate is Fate.RUNNING:
            self.delete(state, Fate.EVICTED)
            self._make_anew(state, self._timing.grace_ns + self._timing.replace_ns)

    def preempt(self, state: PodState) -> None:
        """Delete the pod for one of higher priority, and have it made anew."""
        if state.fate is Fate.TERMINATING or state.is_gone:
            return
        self.delete(state, Fate.PREEMPTED)
        self._make_anew(state, self._timing.grace_ns + self._timing.replace_ns)

    def lose(self, state: PodState) -> None:
        """The pod is gone with its node; its workload makes another."""
        if state.fate in ON_NODE and not state.is_gone:
            was_terminating = state.fate is Fate.TERMINATING
            self._cluster.remove(state, Fate.EVICTED)
            if not was_terminating:
                self._make_anew(state, self._timing.replace_ns)

    def recreate(self, state: PodState) -> None:
        """A pod of the same name and a new uid, at once."""
        self.arrive(self._successor(state, is_renamed=False))

    def _start(self, state: PodState) -> None:
        if state.fate is not Fate.RUNNING or state.is_gone:
            return
        if self._timing.is_start_shown:
            self._cluster.start(state)
        run_ns = state.arrival.run_ns
        if run_ns is not None:
            self._engine.at(self._engine.now_ns + run_ns, Rank.KUBELET, self._complete, state)

    def _complete(self, state: PodState) -> None:
        if state.fate in ON_NODE and not state.is_gone:
            self._cluster.finish(state, "Succeeded")
            self._forget_later(state)

    def _fail(self, state: PodState) -> None:
        self._cluster.finish(state, "Failed")
        self._forget_later(state)
        self._make_anew(state, self._timing.keep_ns + self._timing.replace_ns)

    def _forget_later(self, state: PodState) -> None:
        """An ended pod stays in the API for a while."""
        at_ns = self._engine.now_ns + self._timing.keep_ns
        self._engine.at(at_ns, Rank.USER, self._remove, state)

    def _remove(self, state: PodState) -> None:
        self._cluster.remove(state, state.ending)

    def _expire(self, state: PodState) -> None:
        if state.fate in (Fate.PENDING, Fate.RUNNING):
            self.delete(state)

    def _ungate(self, state: PodState) -> None:
        if not state.is_gone and state.pod.is_gated:
            state.queued_ns = self._engine.now_ns
            spec = replace(state.pod.spec, scheduling_gates=())
            self._cluster.update(state, replace(state.pod, spec=spec))

    def _give_up(self, state: PodState) -> None:
        """The user waits no longer."""
        if state.fate is Fate.PENDING:
            self.delete(state)

    def _relabel(self, state: PodState) -> None:
        """The user gives the pod other labels, wherever it is by now."""
        if not state.is_gone:
            self._dice.count("pod_relabelled")
            meta = replace(state.pod.metadata, labels=state.arrival.labels)
            self._cluster.update(state, replace(state.pod, metadata=meta))

    def _make_anew(self, state: PodState, delay_ns: int) -> None:
        after_end = state.arrival.after_end
        if after_end is AfterEnd.NOTHING:
            return
        at_ns = self._engine.now_ns + delay_ns
        is_renamed = after_end is AfterEnd.REPLACE
        self._engine.at(at_ns, Rank.USER, self._arrive_anew, (state, is_renamed))

    def _arrive_anew(self, what: tuple[PodState, bool]) -> None:
        state, is_renamed = what
        lifetime_ns = state.arrival.lifetime_ns
        if lifetime_ns is not None and state.arrived_ns + lifetime_ns <= self._engine.now_ns:
            return
        successor = self._successor(state, is_renamed=is_renamed)
        # A stateful set waits until the name is free; here it never needs to for long.
        if successor.pod.key not in self._cluster.by_key:
            self.arrive(successor)

    def _successor(self, state: PodState, *, is_renamed: bool) -> PodArrival:
        """The arrival of the pod that takes this one's place, with a new uid, from now on."""
        now_ns, arrival = self._engine.now_ns, state.arrival
        self._made += 1
        key = arrival.pod.key.partition("--")[0]
        generation = self._generations[key] = self._generations.get(key, 0) + 1
        assert generation <= GENERATIONS_MAX, f"{key} was made anew too often"
        meta = arrival.pod.metadata
        name = f"{meta.name.partition('--')[0]}--{self._made}" if is_renamed else meta.name
        uid = f"{meta.uid.partition('+')[0]}+{self._made}"
        spec = arrival.pod.spec
        if spec.node_name and is_renamed:
            spec = replace(spec, node_name="")
        pod = Pod(metadata=replace(meta, name=name, uid=uid), spec=spec)
        left_ns = None
        if arrival.lifetime_ns is not None:
            left_ns = max(state.arrived_ns + arrival.lifetime_ns - now_ns, 1)
        return PodArrival(
            time_ns=now_ns,
            pod=pod,
            run_ns=arrival.run_ns,
            lifetime_ns=left_ns,
            class_name=arrival.class_name,
            after_end=arrival.after_end,
            ungate_ns=arrival.ungate_ns,
            unlisted=arrival.unlisted,
            patience_ns=arrival.patience_ns,
        )
