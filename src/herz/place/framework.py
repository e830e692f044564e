"""Steps 3 and 4, filter and score: runs a policy's rules over the nodes and picks one.

`decide` is a pure function of the node table, the pod and the policy: sheets are only memory of
answers that asking again would give. All nodes are looked at. Ties are broken by the keyed hash
of (pod, node), then by name.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from herz.model.podinfo import PodInfo
from herz.model.record import Candidate, Stage
from herz.model.storage import PersistentVolume
from herz.model.volumes import NO_PLAN, VolumePlan
from herz.place.answers import RuleError, Shelf, call
from herz.place.columns import NodeTable
from herz.place.explain import filter_stage, no_fit, no_node, rejected_everywhere
from herz.place.exploring import taken
from herz.place.nominated import Nominations
from herz.place.outcome import Choice, NoFit
from herz.place.sheet import Asked, Sheet
from herz.place.view import ClusterView
from herz.place.whatif import Scratch
from herz.place.yielding import Yielding
from herz.plugin import (
    SKIP,
    SKIP_NOW,
    Filter,
    Int64s,
    Kind,
    Narrowed,
    Plugin,
    PreBind,
    Reading,
    ReasonBook,
    Reserve,
    Score,
    Skip,
    Verdict,
    View,
)
from herz.ports import Watch

TOP: Final = 5
"""How many of the best nodes a record shows."""

_UNSIGNED: Final = b"unsigned\0"
"""Begins the signature of a pod that a rule failed to sign; the error's text follows."""

_encoder = msgspec.json.Encoder(order="sorted")


class Framework:
    """A policy's rules, and what they said about each signature.

    Args:
        nodes: the node table.
        view: what the rules read.
        plugins: (rule, weight) in the policy's order.
        book: the codes of the rules' rejections.
        salt: the key of the ties, public and fixed for the log's life; None: ties by name.
        cache_bytes: bound on the sheets kept; the least recently used goes first.
        off: (rule's name, extension point) where a rule is not asked.
        nominations: whose room must be left to them; None: nobody's.
        top: how many of the best nodes a choice names.
    """

    def __init__(
        self,
        nodes: NodeTable,
        view: View,
        plugins: Sequence[tuple[Plugin, int]],
        book: ReasonBook,
        *,
        salt: int | None,
        cache_bytes: int = 1 << 30,
        off: Collection[tuple[str, str]] = (),
        nominations: Nominations | None = None,
        top: int = TOP,
    ) -> None:
        self._nodes = nodes
        self._named = top
        self._view = view
        self.book = self._book = book
        self.salt = self._salt = salt
        self._nominations = nominations
        self._plugins, self._off = tuple(plugins), frozenset(off)
        self._reading = [rule for rule, _ in plugins if isinstance(rule, Reading)]
        self._filters = [
            rule
            for rule, _ in plugins
            if isinstance(rule, Filter) and (rule.name, "filter") not in off
        ]
        self._scores = [(r, weight) for r, weight in plugins if isinstance(r, Score) and weight]
        choosers = [
            rule
            for rule, _ in plugins
            if isinstance(rule, Reserve) and (rule.name, "reserve") not in off
        ]
        self._chooser = next(iter(choosers), None)
        planners = [
            rule
            for rule, _ in plugins
            if isinstance(rule, PreBind) and (rule.name, "preBind") not in off
        ]
        self._planner = next(iter(planners), None)
        self._sheets: OrderedDict[bytes, Sheet] = OrderedDict()
        self._shelf = Shelf()
        self._bytes = 0
        self._shape = (0, 0)
        self._cache_bytes = cache_bytes
        # By the names of filters and scores. Bound: the combinations of rules that pods pass over.
        self._asked: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()

    @property
    def evaluations(self) -> Counter[tuple[str, str]]:
        """How many decisions each rule had a say in, by its name and the extension point.

        A rule that has nothing to say to a pod is not counted, nor is a score where nothing fits.
        """
        found: Counter[tuple[str, str]] = Counter()
        for rules, count in self._asked.items():
            for point, names in zip(("Filter", "Score"), rules, strict=True):
                for name in names:
                    found[name, point] += count
        return found

    @property
    def is_unchecked(self) -> Callable[[str], bool] | None:
        """Says of a resource that a rule was told to ignore it; None when none was."""
        ignoring: list[Any] = [
            rule for rule in self._filters if getattr(rule, "ignores_any", False)
        ]
        if not ignoring:
            return None
        return lambda resource: any(rule.ignores(resource) for rule in ignoring)

    def without(
        self, rules: Collection[str], nominations: Nominations | None, *, cache_bytes: int
    ) -> Framework:
        """The same policy where these rules do not filter, with a memory of its own.

        Args:
            rules: names of filters.
            nominations: whose room must be left to them there.
            cache_bytes: bound on its sheets.
        """
        return Framework(
            self._nodes,
            self._view,
            self._plugins,
            self._book,
            salt=self._salt,
            cache_bytes=cache_bytes,
            off=self._off | {(name, "filter") for name in rules},
            nominations=nominations,
        )

    def forget(self) -> None:
        """Ask the rules everything anew: nothing is kept of what they said."""
        self._sheets.clear()
        self._shelf = Shelf()
        self._bytes = 0

    def sign(self, pod: PodInfo) -> bytes:
        """The pod's signature: a digest of what its rules say that they read of it."""
        try:
            parts = [call(rule, rule.sign, pod) for rule in self._reading]
            return hashlib.sha3_256(_encoder.encode(parts)).digest()
        except RuleError as error:
            return _UNSIGNED + str(error).encode()
        except TypeError as error:
            return _UNSIGNED + f"a rule signs with what is no plain value: {error}".encode()

    def decide(self, pod: PodInfo, watch: Watch | None = None) -> Choice | NoFit:
        """The best node for the pod, or why there is none. Nothing is changed."""
        count = len(self._nodes.rows)
        if count == 0:
            return no_node(count)
        sheet = self.sheet(pod)
        if isinstance(sheet, Verdict):
            return rejected_everywhere(sheet, count)
        if self._nominations is not None and pod.uid in self._nominations.known:
            nominated = self._nominated(pod, sheet)
            if nominated is not None:
                return nominated
        table = sheet.table
        self._asked[sheet.filter_names, sheet.score_names if table.fits else ()] += 1
        if table.fits == 0:
            return no_fit(sheet, self._nodes, self._book)
        if sheet.failed is not None:
            return rejected_everywhere(sheet.failed, count)
        if watch is not None:
            watch("score", pod)
        top, tied = self._top(sheet, pod)
        try:
            promises = sheet.tell([self._nodes.rows[one.node] for one in top])
        except RuleError as error:
            verdict = Verdict(Kind.ERROR, error.rule, (f"rule {error}",))
            return rejected_everywhere(verdict, count)
        node = taken(promises, pod.tie_key ^ (self._salt or 0)) or top[0].node
        return Choice(
            row=self._nodes.rows[node],
            node=node,
            top=top,
            tied=tied,
            plugins=sheet.score_names,
            path=(
                filter_stage(sheet, self._nodes, self._book),
                Stage(into=table.fits, out=tied, stage="score"),
            ),
            promises=promises,
        )

    def is_barred(self, pod: PodInfo, row: int) -> bool:
        """Whether a rule keeps the pod from the row, whoever leaves it. Nothing is changed."""
        sheet = self.sheet(pod)
        if isinstance(sheet, Verdict):
            return False
        code = sheet.code(row)
        if code is None or code < 0:
            return True
        return code > 0 and self._book.verdict(code).kind is Kind.NEVER_FITS

    def _nominated(self, pod: PodInfo, sheet: Sheet) -> Choice | None:
        """The node to which the pod is nominated, when it fits there: no other is looked at."""
        name = "" if self._nominations is None else self._nominations.node_of(pod.uid)
        row = self._nodes.rows.get(name) if name else None
        if row is None or sheet.code(row) != 0:
            return None
        stage = Stage(into=1, out=1, stage="filter:nominated")
        top = (Candidate(name, (), 0),)
        return Choice(row=row, node=name, top=top, tied=1, plugins=(), path=(stage,))

    def choose_devices(self, pod: PodInfo, row: int) -> tuple[int, ...] | NoFit:
        """The shared accelerators that the pod takes on the row; NoFit when the rule failed."""
        chooser = self._chooser
        if not pod.gpu.count or chooser is None:
            return ()
        try:
            chosen = call(chooser, chooser.choose, pod, self._view, row)
        except RuleError as error:
            verdict = Verdict(Kind.ERROR, error.rule, (f"rule {error}",))
            return rejected_everywhere(verdict, self._nodes.count)
        return tuple(int(device) for device in chosen)

    @property
    def bind_timeout_ns(self) -> int:
        """How long a pod may wait for its volumes."""
        return 0 if self._planner is None else self._planner.bind_timeout_ns

    def plan_volumes(self, pod: PodInfo, row: int) -> VolumePlan | NoFit:
        """What must happen to the pod's volumes before it is bound; NoFit when the rule failed."""
        planner = self._planner
        if planner is None or not pod.pod.spec.volumes:
            return NO_PLAN
        try:
            plan: VolumePlan | Verdict = call(planner, planner.plan, pod, self._view, row)
        except RuleError as error:
            plan = Verdict(Kind.ERROR, error.rule, (f"rule {error}",))
        if isinstance(plan, Verdict):
            return rejected_everywhere(plan, self._nodes.count)
        return plan

    def reaches(self, volume: PersistentVolume, node: str) -> bool:
        """Whether the node can mount the volume; False when it is gone, or the rule failed."""
        planner, row = self._planner, self._nodes.rows.get(node)
        if planner is None or row is None:
            return False
        try:
            return bool(call(planner, planner.reaches, volume, self._view, row))
        except RuleError:
            return False

    def no_room(self, choice: Choice) -> NoFit:
        """The answer when the ledger refused what the rules let through."""
        reason = f"node {choice.node} has no room left for the pod"
        verdict = Verdict(Kind.ERROR, "Ledger", (reason,))
        return rejected_everywhere(verdict, self._nodes.count)

    def _top(self, sheet: Sheet, pod: PodInfo) -> tuple[tuple[Candidate, ...], int]:
        """The best nodes, best first, and how many share the highest total."""
        keys = self._nodes.keys if self._salt is not None else self._nodes.name_ranks()
        if sheet.rows is not None:
            keys = keys[sheet.rows]
        salt = None if self._salt is None else pod.tie_key ^ self._salt
        best, tied, is_even = sheet.table.top(self._named, keys, salt)
        names, rows = self._nodes.names, sheet.rows
        if rows is None:
            top = tuple([Candidate(names[at], points, total) for at, total, points in best])
        else:
            top = tuple([Candidate(names[rows[at]], points, total) for at, total, points in best])
        if is_even:
            # Tie: two names with one 64-bit hash; the kernel knows rows, the contract says name.
            top = (*sorted(top[:2], key=lambda one: one.node), *top[2:])
        return top, tied

    def sheet(self, pod: PodInfo) -> Sheet | Verdict:
        """The up-to-date sheet of the pod's signature, or the rejection by a `prepare`."""
        # A pod that has a node was not signed: it is asked about in what-ifs alone.
        signature = pod.signature or self.sign(pod)
        shape = (len(self._nodes.resources), len(self._nodes.names))
        if shape != self._shape:
            # Rules keep column numbers in their states, answers have one length.
            self._shape = shape
            self._sheets.clear()
            self._shelf = Shelf()
            self._bytes = 0
        # Pods of one signature but several priorities leave room to different nominated pods.
        others = self._nominations
        is_yielding = others is not None and bool(others.known) and others.concern(pod)
        key = signature + str(pod.priority).encode() if is_yielding else signature
        kept = self._sheets.get(key)
        if kept is None and signature.startswith(_UNSIGNED):
            what = signature.removeprefix(_UNSIGNED).decode()
            return Verdict(Kind.ERROR, what.partition(":")[0], (f"rule {what}",))
        try:
            if kept is not None:
                self._sheets.move_to_end(key)
                if kept.refresh():
                    if is_yielding:
                        kept.exempt(pod)
                    return kept
                self._forget(key)
            made = self._make(pod, is_yielding=is_yielding)
        except RuleError as error:
            if key in self._sheets:
                self._forget(key)
            return Verdict(Kind.ERROR, error.rule, (f"rule {error}",))
        if isinstance(made, Sheet) and made.rows is None:
            self._keep(key, made)
        return made

    def sheet_behind(self, pod: PodInfo) -> Sheet | Verdict:
        """What the other rules say of a pod that one rejects for all nodes, but not for good.

        The rule that rejects has no state, and is not asked. Made anew each time; it has no score.
        """
        is_yielding = self._nominations is not None and self._nominations.concern(pod)
        try:
            return self._make(pod, is_yielding=is_yielding, is_behind=True)
        except RuleError as error:
            return Verdict(Kind.ERROR, error.rule, (f"rule {error}",))

    def _make(self, pod: PodInfo, *, is_yielding: bool, is_behind: bool = False) -> Sheet | Verdict:
        unfit: Verdict | None = None
        filters: list[Asked] = []
        names: set[str] | None = None
        narrowed_by = []
        bases = Bases(pod, self._view)
        for index, rule in enumerate(self._filters):
            state = call(rule, rule.prepare, pod, self._view)
            if state is SKIP:
                continue
            basis = bases.note(rule)
            if isinstance(state, Verdict):
                if state.kind is not Kind.UNFIT:
                    return state
                # Others are heard before preemption is tried, as in RunPreFilterPlugins: one of
                # them may rule it out. The last such rejection counts.
                unfit = state
                continue
            if state is SKIP_NOW:
                continue
            if isinstance(state, Narrowed):
                names = set(state.names) if names is None else names & set(state.names)
                narrowed_by.append(rule.name)
                state = state.state
            filters.append(Asked(rule, state, ("filter", index, _signed(rule, pod), basis)))
        if unfit is not None and not is_behind:
            return unfit
        scores: list[Asked] = []
        failed = None
        for index, (scorer, weight) in enumerate(() if is_behind else self._scores):
            state = call(scorer, scorer.prepare_score, pod, self._view)
            basis = None if state is SKIP else bases.note(scorer)
            if isinstance(state, Verdict):
                failed = failed or state
            elif not isinstance(state, Skip):
                key = ("score", index, _signed(scorer, pod), basis)
                scores.append(Asked(scorer, state, key, weight))
        rows = None if names is None else self._rows(names)
        by = tuple(sorted(narrowed_by))
        shelf = self._shelf if rows is None else Shelf()
        yielding = self._yielding(filters, pod, rows) if is_yielding else None
        sheet = Sheet(
            self._nodes, self._view, self._book, shelf, filters, scores, rows, by, yielding
        )
        sheet.failed = failed
        sheet.prepared_from, sheet.stands = bases.reads, bases.stand
        return sheet

    def _yielding(self, filters: Sequence[Asked], pod: PodInfo, rows: Int64s | None) -> Yielding:
        assert self._nominations is not None, "somebody is nominated"
        assert isinstance(self._view, ClusterView), "nominations are to the cluster's own view"
        scratch = Scratch(self._view)
        return Yielding(self._nodes, self._nominations, scratch, filters, self._book, pod, rows)

    def _rows(self, names: set[str]) -> Int64s:
        known = (self._nodes.rows.get(name) for name in names)
        return np.array(sorted(row for row in known if row is not None), np.int64)

    def _keep(self, signature: bytes, sheet: Sheet) -> None:
        self._sheets[signature] = sheet
        self._bytes += sheet.table.bytes
        while self._bytes > self._cache_bytes and self._sheets:
            self._forget(next(iter(self._sheets)))

    def _forget(self, signature: bytes) -> None:
        self._bytes -= self._sheets.pop(signature).table.bytes


class Bases:
    """What the rules' preparations for a pod were made from, as far as they tell."""

    def __init__(self, pod: PodInfo, view: View) -> None:
        self._pod, self._view = pod, view
        self.reads = 0
        # Of rules that cannot tell: any change outdates what they prepared.
        self._unbased = 0
        self._known: list[tuple[Any, Hashable]] = []

    def note(self, rule: Any) -> Hashable:
        """A rule prepared something; its basis, None when it has none."""
        reads = int(rule.reads_prepare)
        self.reads |= reads
        if not reads or not hasattr(rule, "basis"):
            self._unbased |= reads
            return None
        basis: Hashable = call(rule, rule.basis, self._pod, self._view)
        self._known.append((rule, basis))
        return basis

    def stand(self, changed: int) -> bool:
        """Whether all would be prepared alike after these aspects changed."""
        if changed & self._unbased:
            return False
        return all(
            not changed & int(rule.reads_prepare)
            or call(rule, rule.basis, self._pod, self._view) == basis
            for rule, basis in self._known
        )


def _signed(rule: Reading, pod: PodInfo) -> bytes:
    return _encoder.encode(call(rule, rule.sign, pod))
