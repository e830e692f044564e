"""Preemption: may the pod preempt, on which node, and whose room it takes.

Comes in: a pod that fits on no node. Goes out: a `Preempted` or `NotPreempted`; nothing is changed
here, the cycle acts. All nodes that preemption may help are looked at: Kubernetes stops at a tenth
of them, or at a hundred, from a random one on. The last tie goes by the keyed hash of pod and node.

Source: kube-scheduler 1.36 `framework/preemption`, `plugins/defaultpreemption`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final

import msgspec
import numpy as np

from herz._native import mix64
from herz.model.podinfo import PodInfo
from herz.model.record import Victim
from herz.place.answers import RuleError
from herz.place.cluster import Cluster
from herz.place.explain import fit_error
from herz.place.framework import Framework
from herz.place.ledger import Placed
from herz.place.preemption.budgets import Budgets
from herz.place.preemption.elsewhere import Elsewhere
from herz.place.preemption.outcomes import NO_VICTIM, Outcomes
from herz.place.preemption.trial import Trial
from herz.place.sheet import Sheet
from herz.place.whatif import Scratch
from herz.plugin import Int64s, Kind, PreemptionTerms, Reads, Verdict

BYTES_MAX: Final = 256 << 20
"""Bound: memory of kept outcomes; the least recently used go first."""
NEVER: Final = "preemption: not eligible due to preemptionPolicy=Never."
TERMINATING: Final = "preemption: not eligible due to a terminating pod on the nominated node."
NO_VICTIMS: Final = "No preemption victims found for incoming pod"
NO_HELP: Final = "Preemption is not helpful for scheduling"
NEEDLESS: Final = "expected at least one victim pod on node"

_BUDGETS: Final = int(Reads.BUDGETS)


class Preempted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Room can be made.

    Args:
        node: where.
        victims: who must go, most important first; never empty.
        violations: how many of them break a disruption budget.
        candidates: on how many nodes room could be made.
        tied: how many of them no criterion told apart.
    """

    node: str
    victims: tuple[Placed, ...]
    violations: int
    candidates: int
    tied: int

    @property
    def named(self) -> tuple[Victim, ...]:
        """The victims as a record names them."""
        pods = [placed.pod for placed in self.victims]
        return tuple(Victim(pod.name, pod.namespace, pod.uid) for pod in pods)


class NotPreempted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Room cannot be made, or must be waited for.

    Args:
        message: Kubernetes' words, to follow those of the filters.
        is_hopeless: no node helps: a nomination of the pod is void.
        is_error: a rule failed.
    """

    message: str
    is_hopeless: bool = False
    is_error: bool = False


class Preemption:
    """Asks the question, and keeps what it cost to answer.

    Args:
        cluster: the cluster.
        framework: the policy's rules.
        terms: what preemption may do.
        name: of the rule that asks for it.
        bytes_max: bound of the memory for kept outcomes.
        frameworks: of all profiles, where there are several: victims may be of any.
    """

    def __init__(
        self,
        cluster: Cluster,
        framework: Framework,
        terms: PreemptionTerms,
        *,
        name: str = "DefaultPreemption",
        bytes_max: int = BYTES_MAX,
        frameworks: Sequence[Framework] = (),
    ) -> None:
        self.terms, self.name = terms, name
        self._cluster, self._framework, self._salt = cluster, framework, framework.salt
        self._scratch = Scratch(cluster.view)
        self._kept: OrderedDict[tuple[bytes, int], Outcomes] = OrderedDict()
        self._bytes, self._bytes_max = 0, bytes_max
        self._budgets = Budgets(cluster.view)
        self._budgets_seen = cluster.nodes.changes.end
        self._shape = (0, 0)
        self._elsewhere = (
            Elsewhere(cluster, frameworks or (framework,)) if terms.is_room_needed else None
        )

    def run(self, pod: PodInfo) -> Preempted | NotPreempted:
        """Where the pod preempts whom; the framework has just found that it fits nowhere."""
        if pod.pod.spec.preemption_policy == "Never":
            return NotPreempted(message=NEVER)
        sheet = self.sheet(pod)
        is_unfit = sheet is None
        if sheet is None:
            sheet = self._sheet_behind(pod)
        if sheet is None:
            count = self._cluster.nodes.count
            text = fit_error(count, [(NO_HELP, count)])
            return NotPreempted(message=f"preemption: {text}", is_hopeless=True)
        if self._is_waiting(pod, sheet, is_unfit=is_unfit):
            return NotPreempted(message=TERMINATING)
        try:
            outcomes, trial, potential = self.worked(pod, sheet, is_unfit=is_unfit)
            rows = outcomes.candidates(potential)
            if not len(rows):
                message = self._why(outcomes.codes(potential, trial))
                return NotPreempted(message=f"preemption: {message}", is_hopeless=True)
        except RuleError as error:
            return NotPreempted(message=f"preemption: rule {error}", is_error=True)
        finally:
            self._forget_own(pod)
        best = outcomes.best(rows)
        row = self._first(pod, best)
        outcome = outcomes.outcome(row)
        return Preempted(
            node=self._cluster.nodes.name(row),
            victims=outcome.victims,
            violations=outcome.violations,
            candidates=len(rows),
            tied=len(best),
        )

    def sheet(self, pod: PodInfo) -> Sheet | None:
        """What the rules say of the pod; None when one rejects it for all nodes at once."""
        found = self._framework.sheet(pod)
        return found if isinstance(found, Sheet) else None

    def _sheet_behind(self, pod: PodInfo) -> Sheet | None:
        """What the other rules say, where the rejection is one that preemption may undo.

        All nodes have the rejection's status then. Source: `findNodesThatFitPod`
        (`SetAbsentNodesStatus`), `RunPreFilterPlugins`.
        """
        found = self._framework.sheet(pod)
        if not isinstance(found, Verdict) or found.kind is not Kind.UNFIT:
            return None
        behind = self._framework.sheet_behind(pod)
        return behind if isinstance(behind, Sheet) else None

    def worked(
        self, pod: PodInfo, sheet: Sheet, *, is_unfit: bool = False
    ) -> tuple[Outcomes, Trial, Int64s]:
        """All outcomes that count, up to date.

        Args:
            pod: who preempts.
            sheet: what the rules say of it.
            is_unfit: whether a rule rejected it for all nodes, and is not part of the sheet.
        """
        budgets = self._current_budgets()
        if is_unfit:
            # Which rules rejected it may be others the next time: nothing is kept.
            outcomes = self._new_outcomes(sheet, budgets)
        else:
            outcomes = self._outcomes(pod, sheet, budgets)
        trial = Trial(
            self._cluster.nodes,
            self._cluster.ledger,
            self._cluster.nominations,
            self._scratch,
            filters=sheet.filters,
            pod=pod,
            budgets=budgets,
            terms=self.terms,
            can_go=self._can_go if self._elsewhere or self.terms.is_budget_hard else None,
        )
        potential = self._all_rows(sheet) if is_unfit else self.potential(sheet)
        outcomes.work(trial, sheet.filters, self._cluster.view, potential)
        return outcomes, trial, potential

    def forget(self) -> None:
        """Try everything anew: nothing is kept of what preemptions would cost."""
        self._kept.clear()
        self._bytes = 0
        self._budgets = Budgets(self._cluster.view)
        self._budgets_seen = self._cluster.nodes.changes.end
        if self._elsewhere is not None:
            self._elsewhere.forget()

    def circumstances(self, pod: PodInfo) -> Hashable:
        """What the API's answer to an eviction of the pod follows from, as far as it is seen."""
        return pod.digest, self._current_budgets().holding(pod)

    def _can_go(self, placed: Placed) -> bool:
        """Whether the pod may be a victim at all."""
        uid, refusals = placed.pod.uid, self._cluster.refusals
        is_barred = self.terms.is_budget_hard and refusals.is_barred(uid)
        if is_barred and refusals.is_like(uid, self.circumstances(placed.pod)):
            return False
        return self._elsewhere is None or self._elsewhere.can_go(placed)

    def _outcomes(self, pod: PodInfo, sheet: Sheet, budgets: Budgets) -> Outcomes:
        nodes, view = self._cluster.nodes, self._cluster.view
        shape = (len(nodes.resources), nodes.size)
        if shape != self._shape:
            self._shape, self._bytes = shape, 0
            self._kept.clear()
        key = (pod.signature, pod.priority)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._new_outcomes(sheet, budgets)
            self._bytes += kept.bytes
            while self._kept and self._bytes + kept.bytes > self._bytes_max:
                _, old = self._kept.popitem(last=False)
                self._bytes -= old.bytes
            self._kept[key] = kept
        self._kept.move_to_end(key)
        kept.refresh(view, sheet.filters, budgets)
        if self._elsewhere is not None and self._elsewhere.refresh(key):
            kept.forget()
        self._own(pod, kept)
        return kept

    def _new_outcomes(self, sheet: Sheet, budgets: Budgets) -> Outcomes:
        return Outcomes(self._cluster.nodes, sheet.filters, sheet.prepared_from, budgets)

    def _all_rows(self, sheet: Sheet) -> Int64s:
        """All nodes that the pod was not kept from by name."""
        is_live = self._cluster.nodes.is_live
        return np.flatnonzero(is_live) if sheet.rows is None else sheet.rows[is_live[sheet.rows]]

    def _own(self, pod: PodInfo, outcomes: Outcomes) -> None:
        """The row to which the pod itself is nominated is the pod's own question."""
        node = self._cluster.nominations.node_of(pod.uid)
        row = self._cluster.nodes.rows.get(node)
        if row is not None:
            outcomes.forget(row)

    def _forget_own(self, pod: PodInfo) -> None:
        kept = self._kept.get((pod.signature, pod.priority))
        if kept is not None:
            self._own(pod, kept)

    def _current_budgets(self) -> Budgets:
        changes = self._cluster.nodes.changes
        mask = changes.mask_since(self._budgets_seen)
        if mask is None or mask & _BUDGETS:
            self._budgets = Budgets(self._cluster.view)
        self._budgets_seen = changes.end
        return self._budgets

    def potential(self, sheet: Sheet) -> Int64s:
        """The rows whose refusal preemption may undo."""
        book = self._framework.book
        # One longer than the codes: -1 stands where there is no node.
        is_helped = np.zeros(len(book) + 1, np.bool_)
        for code, _ in sheet.table.histogram():
            is_helped[code] = book.verdict(code).kind is Kind.UNFIT
        found = np.flatnonzero(is_helped[sheet.table.first()])
        return found if sheet.rows is None else sheet.rows[found]

    def _is_waiting(self, pod: PodInfo, sheet: Sheet, *, is_unfit: bool) -> bool:
        """Whether victims on the node to which the pod is nominated are on their way out."""
        cluster = self._cluster
        node = cluster.nominations.node_of(pod.uid)
        row = cluster.nodes.rows.get(node)
        if not node or row is None:
            return False
        code = 0 if is_unfit else sheet.code(row)
        if code is None or (code and self._framework.book.verdict(code).kind is Kind.NEVER_FITS):
            return False
        return any(
            placed.pod.priority < pod.priority and self._is_leaving(placed)
            for placed in cluster.ledger.on(node)
        )

    def _is_leaving(self, placed: Placed) -> bool:
        """Whether preemption makes the pod go: decided just now, or as the API shows."""
        pod = placed.pod
        return self._cluster.nominations.is_victim(pod.uid) or (
            pod.pod.is_terminating and pod.pod.is_preempted
        )

    def _first(self, pod: PodInfo, rows: Int64s) -> int:
        """The row of the lowest keyed hash; by name without a key."""
        nodes = self._cluster.nodes
        # Tie: the keyed hash, then the name (two names with one 64-bit hash).
        if self._salt is None:
            return int(min(rows.tolist(), key=nodes.name))
        salt = pod.tie_key ^ self._salt
        return int(
            min(
                rows.tolist(),
                key=lambda row: (mix64(int(nodes.keys[row]) ^ salt), nodes.name(row)),
            )
        )

    def _why(self, codes: Int64s) -> str:
        """Why preemption helps on no node, in Kubernetes' form."""
        book, count = self._framework.book, self._cluster.nodes.count
        reasons: Counter[str] = Counter()
        counts = np.bincount(codes - NO_VICTIM)
        for at in np.flatnonzero(counts).tolist():
            code = at + NO_VICTIM
            words: tuple[str, ...] = (NO_VICTIMS,)
            if code != NO_VICTIM:
                words = book.verdict(code).reasons if code else (NEEDLESS,)
            for reason in words:
                reasons[reason] += counts.item(at)
        if count > len(codes):
            reasons[NO_HELP] += count - len(codes)
        return fit_error(count, reasons.items())
