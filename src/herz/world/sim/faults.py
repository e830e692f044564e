"""Faults by seed: how often the simulated world misbehaves, and the one place that draws it.

Rates are parts in a million, so that a draw is one integer comparison and no float decides what
happens. A rate of 0 draws nothing: a scenario without faults spends no randomness on them.
"""

from __future__ import annotations

import random

import msgspec

MILLION = 1_000_000


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates in parts in a million of the occasions, unless said otherwise.

    Args:
        bind_refused: the API answers 409 though the bind was right.
        bind_lost: the request times out and was not carried out.
        bind_landed: the request times out, but was carried out.
        bind_failed: the API answers 500 and did not do it, which the client has yet to find out.
        bind_throttled: 429 with Retry-After: the request is sent again after
            `Timing.retry_after_ns`.
        bind_slow: request and answer take `Timing.slow_factor` times as long.
        watch_duplicated: a watch event is delivered twice.
        watch_merged: the watch lags by `Timing.stall_ns`, and what changes in the object meanwhile
            is delivered as one change.
        recreation_merged: a deletion is left out when the same name is made anew behind it.
        watch_gap: a kind's watch ends (410 Gone): what happens within `Timing.stall_ns` is not
            told; then a new list tells how each object is now, and which are gone.
        watch_stalled: a kind's events are held up for `Timing.stall_ns`, in order.
        removal_refused: the API answers 500 to the removal of a pod that is preempted.
        patch_refused: the API answers 409 to a patch of a claim or a volume.
        provision_failed: no volume is made, and the provisioner takes the selected node away.
        deleted_in_flight: a pod is deleted while its bind is under way.
        recreated_in_flight: the same, and a pod of that name with a new uid takes its place.
        node_changes_per_hour: a count, not a rate: random node changes (cordon and drain, removal,
            new labels, taints, other allocatable), each undone some time later.
    """

    bind_refused: int = 0
    bind_lost: int = 0
    bind_landed: int = 0
    bind_failed: int = 0
    bind_throttled: int = 0
    bind_slow: int = 0
    watch_duplicated: int = 0
    watch_merged: int = 0
    recreation_merged: int = 0
    watch_gap: int = 0
    watch_stalled: int = 0
    removal_refused: int = 0
    patch_refused: int = 0
    provision_failed: int = 0
    deleted_in_flight: int = 0
    recreated_in_flight: int = 0
    node_changes_per_hour: int = 0

    @classmethod
    def heavy(cls) -> Faults:
        """Every fault, often: what the whole-system tests run under."""
        return cls(
            bind_refused=30_000,
            bind_lost=20_000,
            bind_landed=20_000,
            bind_failed=20_000,
            bind_throttled=20_000,
            bind_slow=50_000,
            watch_duplicated=50_000,
            watch_merged=200_000,
            recreation_merged=200_000,
            watch_gap=2_000,
            watch_stalled=10_000,
            removal_refused=50_000,
            patch_refused=50_000,
            provision_failed=50_000,
            deleted_in_flight=20_000,
            recreated_in_flight=20_000,
            node_changes_per_hour=60,
        )


_BIND_FAULTS = (
    "bind_refused",
    "bind_lost",
    "bind_landed",
    "bind_failed",
    "bind_throttled",
    "bind_slow",
    "deleted_in_flight",
    "recreated_in_flight",
)


class Dice:
    """Draws faults and counts them.

    Args:
        faults: the rates.
        generator: the world's; never shared with the machine.

    `is_bind_sound` tells that no fault can strike a bind, which saves asking for each of them.
    """

    def __init__(self, faults: Faults, generator: random.Random) -> None:
        self.rates = faults
        self.counts: dict[str, int] = {}
        self._rates: dict[str, int] = msgspec.structs.asdict(faults)
        self._generator = generator
        self.is_bind_sound = not any(self._rates[name] for name in _BIND_FAULTS)

    def strikes(self, name: str) -> bool:
        """Whether the fault of this name happens now."""
        rate = self._rates[name]
        if not rate or self._generator.randrange(MILLION) >= rate:
            return False
        self.count(name)
        return True

    def count(self, name: str) -> None:
        """Count a fault that something else decided upon."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included; draws nothing where they are one."""
        assert low <= high, (low, high)
        return low if low == high else self._generator.randrange(low, high + 1)

    def choice(self, count: int) -> int:
        """An index below `count`."""
        assert count > 0, count
        return self._generator.randrange(count)
