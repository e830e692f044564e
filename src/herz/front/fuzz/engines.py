"""The two engines that go on where the own search ends: hypothesis, and atheris' coverage."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Final

from herz.intake.fuzz import Asked, Domain, Finding, Flaw, OutOfTime, Pool, Refuted, Source

EXAMPLES: Final = 100
POOL_MAX: Final = 6


def with_hypothesis(
    less: Asked,
    domain: Domain,
    source: Source,
    seed: int,
    is_time: Callable[[], bool],
) -> int:
    """Properties on hypothesis' own values; gives how many pools were tried.

    Raises:
        Refuted: with the values as hypothesis has shrunk them.
    """
    if importlib.util.find_spec("hypothesis") is None:
        return 0
    import hypothesis as h  # noqa: PLC0415  # an extra
    from hypothesis import strategies as st  # noqa: PLC0415

    tried, last = 0, None

    def pools(values: list[Any]) -> None:
        nonlocal tried, last
        tried += 1
        if not is_time() and last is None:
            return
        try:
            Pool(values, less).check()
        except Refuted as refuted:
            last = refuted.finding
            raise
        except OutOfTime:
            # Not raised: hypothesis would ask once more, and call what then passes flaky.
            if last is not None:
                raise Refuted(last) from None

    settings = h.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(h.HealthCheck),
        phases=[h.Phase.generate, h.Phase.shrink],
    )
    strategy = st.lists(domain.strategy(source), min_size=1, max_size=8)
    round_ = 0
    while is_time():
        test = h.seed(seed * 1000 + round_)(settings(h.given(strategy)(pools)))
        round_ += 1
        try:
            test()
        except Refuted as refuted:
            raise Refuted(refuted.finding) from None
        except h.errors.Flaky:
            assert last is not None, "what is flaky has failed once"
            words = (*last.says, "but not when it is asked again")
            raise Refuted(Finding(Flaw.STATE, last.arguments, words)) from None
    return tried


class BytesDice:
    """Dice whose throws are bytes: a coverage-guided engine's input decides everything."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def randrange(self, stop: int, /) -> int:
        """See `Dice`."""
        return self.getrandbits((stop - 1).bit_length()) % stop

    def getrandbits(self, k: int, /) -> int:
        """See `Dice`."""
        size = (k + 7) // 8
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "big") & ((1 << k) - 1)


def coverage_engine() -> str:
    """The engine's name and version; empty when it is not installed."""
    if importlib.util.find_spec("atheris") is None:
        return ""
    from importlib.metadata import version  # noqa: PLC0415

    return f"atheris {version('atheris')}"


def with_coverage(
    less: Asked,
    domain: Domain,
    source: Source,
    *,
    seed: int,
    seconds: float,
    tell: Callable[[Finding], None],
) -> None:
    """Hand the process over to atheris: it ends it after so many seconds, or at a finding.

    Args:
        less: the comparator, loaded under instrumentation.
        domain: what its arguments may be.
        source: for its words.
        seed: of the engine.
        seconds: how long.
        tell: takes the finding; it does not come back.
    """
    import atheris  # noqa: PLC0415  # an extra

    words = source.words

    def one(data: bytes) -> None:
        own = Source(BytesDice(data[1:]), words)
        count = 2 + (data[0] if data else 0) % (POOL_MAX - 1)
        try:
            Pool([domain.draw(own, ()) for _ in range(count)], less).check()
        except Refuted as refuted:
            tell(refuted.finding)

    most = max(1, int(seconds))
    options = [f"-max_total_time={most}", f"-seed={seed % (1 << 31) or 1}", "-max_len=512"]
    options += ["-timeout=5", "-rss_limit_mb=0", "-len_control=20", "-artifact_prefix=./"]
    atheris.Setup(["herz-fuzz", *options], one)
    atheris.Fuzz()
