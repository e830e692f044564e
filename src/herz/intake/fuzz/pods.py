"""Queued pods as arguments: made as the intake makes them, with fields as the API admits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from herz.intake.arrive import Arrivals
from herz.intake.fuzz.source import Source
from herz.intake.order.candidate import Candidate
from herz.intake.order.dependencies import AFTER_ANNOTATION
from herz.model.meta import ObjectMeta, ResourceRequirements
from herz.model.objects import Container, Pod, PodSpec
from herz.model.podinfo import PodInfo

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Path = tuple[object, ...]

LABEL_KEYS: Final = ("app", "tier", "team", "app.kubernetes.io/name")
LABEL_VALUES: Final = ("", "web", "db", "batch", "a", "A", "1", "2", "10", "gold", "true")
NAMES: Final = ("a", "b", "web-0", "web-1", "web-2", "web-10", "db-0", "a-1", "a.b", "x" * 63)
NAMESPACES: Final = ("default", "kube-system", "shop", "a", "b")
CPUS: Final = ("100m", "250m", "1", "2", "1500m", "64", "0")
MEMORIES: Final = ("64Mi", "128Mi", "1Gi", "1G", "2Gi", "1Ti", "0")
PRIORITIES: Final = (0, 1, 2, 5, 10, 100, 1000, -1, -10, 2_000_000_000, 2_000_001_000, 10**9)
TIMES: Final = (
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:00.5Z"),
    *("2025-12-31T23:59:59Z", "2026-01-01T01:00:00+01:00", "2026-03-29T02:30:00Z", None),
)
AFTERS: Final = ("web-0", "db-0=0.5, web-1", "a")
PRIORITY_LOW: Final = -(1 << 31)
PRIORITY_HIGH: Final = (1 << 31) - 1

_arrivals = Arrivals([], lambda info: b"", order_salt=b"fuzz")


class QueuedPods:
    """Candidates of a batch.

    Args:
        whole: False for the pods inside them (`PodInfo`), which have no sequence.
        raw: True for the API's object.
    """

    def __init__(self, *, whole: bool = True, raw: bool = False) -> None:
        self._is_whole = whole
        self._is_raw = raw

    def draw(self, source: Source, path: Path) -> Any:
        """See `Domain`."""
        meta = self._meta(source, path)
        spec = PodSpec(
            containers=self._containers(source, path),
            priority=_optional(source, path, "priority", lambda: _priority(source, path)),
            priority_class_name=_one(source, path, "class", ("", "", "high", "low", "system")),
            scheduler_name="herz",
            node_name="",
            node_selector=_one(source, path, "selector", ({}, {}, {"zone": "a"}, {"zone": "b"})),
        )
        return self._made(
            Pod(metadata=meta, spec=spec),
            1 + source.whole((*path, "sequence"), 0, 1 << 40),
            source.pick((0, 0, 1, 2, 3, 10, source.whole((*path, "attempts"), 0, 1000))),
        )

    def simpler(self, value: Any) -> Iterator[Any]:
        """See `Domain`."""
        pod, sequence, attempts = self._parts(value)
        meta, spec = pod.metadata, pod.spec
        replace = msgspec.structs.replace
        for field, plain in (
            ("labels", {}),
            ("annotations", {}),
            ("creation_timestamp", None),
            ("generate_name", ""),
            ("namespace", "default"),
            ("name", "a"),
            ("name", "b"),
        ):
            if getattr(meta, field) not in (plain, "a"):
                yield self._made(
                    replace(pod, metadata=replace(meta, **{field: plain})), sequence, attempts
                )
        fields: tuple[tuple[str, Any], ...] = (
            ("containers", ()),
            ("containers", spec.containers[:1]),
            ("priority", 0),
            ("priority", 1),
            ("priority", (spec.priority or 0) // 2),
            ("priority_class_name", ""),
            ("node_selector", {}),
        )
        for field, plain in fields:
            is_priority = field == "priority" and abs(plain) >= abs(spec.priority or 0)
            if getattr(spec, field) != plain and not is_priority:
                yield self._made(
                    replace(pod, spec=replace(spec, **{field: plain})), sequence, attempts
                )
        for number in (1, 2, 3, sequence // 2):
            if 0 < number < sequence:
                yield self._made(pod, number, attempts)
        if attempts:
            yield self._made(pod, sequence, 0)

    def strategy(self, source: Source) -> SearchStrategy[Any]:
        """See `Domain`."""
        from hypothesis import strategies as st  # noqa: PLC0415  # not needed to decide

        # Hypothesis holds the dice: what they make shrinks with them.
        def drawn(dice: Any) -> Any:
            own = Source(dice, source.words)
            return self.draw(own, ())

        return st.randoms(use_true_random=False).map(drawn)

    def _parts(self, value: Any) -> tuple[Pod, int, int]:
        if self._is_raw:
            return value, 1, 0
        if not self._is_whole:
            return value.pod, 1, 0
        return value.item.pod, value.sequence, value.attempts

    def _made(self, pod: Pod, sequence: int, attempts: int) -> Any:
        if self._is_raw:
            return pod
        info: PodInfo = _arrivals.read(pod, ())
        return Candidate(info, sequence, attempts) if self._is_whole else info

    def _meta(self, source: Source, path: Path) -> ObjectMeta:
        name = _name(source, path, "name", NAMES)
        return ObjectMeta(
            name=name,
            namespace=_name(source, path, "namespace", NAMESPACES),
            generate_name=_one(source, path, "generate", ("", "web-")),
            uid=f"{source.dice.getrandbits(64):016x}-{name}"[:36],
            labels=_map(source, path, "label", LABEL_KEYS, LABEL_VALUES),
            annotations=_annotations(source, path),
            creation_timestamp=_one(source, path, "created", TIMES),
        )

    def _containers(self, source: Source, path: Path) -> tuple[Container, ...]:
        count = _one(source, path, "containers", (1, 1, 1, 2, 0, 3))
        return tuple(self._container(source, path, at) for at in range(count))

    def _container(self, source: Source, path: Path, at: int) -> Container:
        asked: dict[str, Any] = {}
        if not source.is_one_in(4):
            asked["cpu"] = _one(source, path, "cpu", CPUS)
        if not source.is_one_in(4):
            asked["memory"] = _one(source, path, "memory", MEMORIES)
        for word in source.words.texts:
            # A resource of which the code speaks.
            if "/" in word and word.isascii() and " " not in word and source.is_one_in(3):
                asked[word] = str(source.dice.randrange(4))
        if source.is_one_in(6):
            asked["herz.dev/gpu-count"] = source.pick(("1", "2"))
        name = f"c{at}"
        return Container(name=name, image="web:1", resources=ResourceRequirements(requests=asked))


def _priority(source: Source, path: Path) -> int:
    if source.is_one_in(3):
        return source.pick(PRIORITIES)
    return source.whole((*path, "priority"), PRIORITY_LOW, PRIORITY_HIGH)


def _one(source: Source, path: Path, field: str, items: Sequence[Any]) -> Any:
    """One of few: an integer leaf picks it, so that a pool repeats or varies it."""
    return items[source.whole((*path, field), 0, 1 << 30) % len(items)]


def _optional(source: Source, path: Path, field: str, draw: Callable[[], Any]) -> Any:
    return None if source.whole((*path, field, "?"), 0, 1 << 30) % 8 == 7 else draw()


def _name(source: Source, path: Path, field: str, known: Sequence[str]) -> str:
    """A DNS name: one that is known, or one made of a text of the code."""
    if source.is_one_in(3):
        text = source.text((*path, field)).lower()
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in text)
        return kept.strip("-.")[:253] or "a"
    return str(_one(source, path, field, known))


def _map(
    source: Source, path: Path, field: str, keys: Sequence[str], values: Sequence[str]
) -> dict[str, str]:
    """Labels: keys of which the code speaks, and values that fit into a label."""
    spoken = [word for word in source.words.texts if 0 < len(word) <= 63 and _is_label(word)]
    found: dict[str, str] = {}
    for key in (*keys[:2], *spoken[:8]):
        if source.is_one_in(2):
            continue
        value = source.pick(values)
        if source.is_one_in(3):
            value = str(source.whole((*path, field, key), -(1 << 40), 1 << 40)).strip("-")
        elif spoken and source.is_one_in(3):
            value = source.pick(spoken).replace("/", ".")
        found[key] = value
    return found


def _annotations(source: Source, path: Path) -> dict[str, str]:
    found = {}
    for word in source.words.texts[:8]:
        if 0 < len(word) <= 63 and _is_label(word) and source.is_one_in(2):
            text = source.text((*path, "annotation", word))[:64]
            # The API's JSON holds no lone surrogates.
            found[word] = text.encode("utf-8", "replace").decode()
    if source.is_one_in(6):
        found[AFTER_ANNOTATION] = source.pick(AFTERS)
    return found


def _is_label(word: str) -> bool:
    return word.isascii() and all(c.isalnum() or c in "-._/" for c in word)
