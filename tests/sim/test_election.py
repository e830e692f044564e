"""Leader election in virtual time, by seed: never two that may write at once; always one again."""

from __future__ import annotations

import dataclasses

import pytest

from herz.world.kube.lease import SECOND_NS, Durations, Elector
from tests.support.election import Replica, World, check_one_writes

MINUTE = 60 * SECOND_NS
DURATIONS = Durations()


def run(
    seed: int, *, durations: Durations = DURATIONS, minutes: int = 20, deleted: int = 0
) -> list[Replica]:
    """Two or three replicas under faults for a while, then without for two minutes.

    The lease is deleted so many times.
    """
    world = World(seed)
    chance = world.random
    replicas = [
        Replica(world, f"r{index}", durations, chance.uniform(0.9, 1.15), chance.getrandbits(50))
        for index in range(chance.choice((2, 3)))
    ]
    world.checks.append(check_one_writes(world, replicas))
    for one in replicas:
        one.start()
    for _ in range(12 * minutes // 10):
        _pause(world, chance.choice(replicas), chance.randrange(minutes * MINUTE))
    for _ in range(deleted):
        world.at(chance.randrange(minutes * MINUTE), lambda: _delete(world))
    _tick(world, (minutes + 2) * MINUTE)
    world.run(minutes * MINUTE)
    world.is_faulty = False
    world.run((minutes + 2) * MINUTE)
    return replicas


def _pause(world: World, replica: Replica, at: int) -> None:
    length = world.random.choice((1, 5, 9, 11, 14, 16, 21, 40)) * SECOND_NS

    def pause() -> None:
        replica.paused_until = world.now + length

    world.at(at, pause)


def _delete(world: World) -> None:
    world.lease = None


def _tick(world: World, end: int) -> None:
    """The checks are made at least ten times a second, also while nothing happens."""
    if world.now < end:
        world.at(world.now + SECOND_NS // 10, lambda: _tick(world, end))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_never_two_may_write_at_once(seed: int) -> None:
    replicas = run(seed)
    assert sum(one.elector.may_write() for one in replicas) == 1, "and one may in the end"
    terms = [term for one in replicas for term in one.terms]
    assert len(terms) == len(set(terms)), "a term is one leader's"
    assert len(terms) > 3, "there were several leaders"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 104))
def test_not_even_when_the_lease_is_deleted(seed: int) -> None:
    replicas = run(seed, deleted=6)
    assert sum(one.elector.may_write() for one in replicas) == 1


def test_a_dead_leader_is_followed_within_its_lease_and_the_wait() -> None:
    world = World(1)
    world.is_faulty = False
    replicas = [Replica(world, name, DURATIONS, 1.0, 0) for name in ("a", "b")]
    world.checks.append(check_one_writes(world, replicas))
    for one in replicas:
        one.start()
    world.run(MINUTE)
    (leader,) = [one for one in replicas if one.elector.may_write()]
    (other,) = [one for one in replicas if one is not leader]
    leader.is_dead = True
    durations = DURATIONS
    worst = durations.lease + durations.retry * 6 // 5 + SECOND_NS + durations.write
    _tick(world, world.now + worst)
    world.run(world.now + worst)
    assert other.elector.may_write()
    assert other.elector.term == leader.elector.term + 1


class _Reckless(Elector):
    """Believes that the lease is over as soon as its holder's time of day says so."""

    def _is_free(self) -> bool:
        return True


class _Hasty(Elector):
    """Writes as soon as it has the lease."""

    @property
    def write_from_ns(self) -> int:
        return self._acquired_ns


class _Late(Elector):
    """Counts its time from the answer."""

    @property
    def write_until_ns(self) -> int:
        return self._renewed_ns + self.durations.lease + self.durations.write


class _Careless(Elector):
    """Takes a lease that was missing as one that nobody held."""

    @property
    def write_from_ns(self) -> int:
        return self._acquired_ns + self.durations.write


@pytest.mark.slow
@pytest.mark.parametrize("kind", [_Reckless, _Hasty, _Late, _Careless])
def test_the_check_sees_electors_that_are_wrong(
    kind: type[Elector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.election.Elector", kind)
    with pytest.raises(AssertionError, match=r"may write|waited for"):
        _run_all(range(200, 212))


def _run_all(seeds: range) -> None:
    for seed in seeds:
        run(seed, deleted=20)


@pytest.mark.slow
def test_shorter_leases_keep_the_rule() -> None:
    short = dataclasses.replace(
        DURATIONS, lease=3 * SECOND_NS, renew=2 * SECOND_NS, retry=SECOND_NS * 4 // 10
    )
    for seed in range(3):
        run(seed, durations=short, minutes=10)
