"""The ring against a plain list of (number, value)."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from herz.intake.queue.ring import Ring


class RingMachine(RuleBasedStateMachine):
    """Every operation, at small capacities, so that wrap-around and growth come soon."""

    def __init__(self) -> None:
        super().__init__()
        self.ring: Ring[int] = Ring(1, first=5)
        self.model: list[tuple[int, int]] = []
        self.next_number = 5
        self.value = 0

    @rule()
    def append(self) -> None:
        self.value += 1
        assert self.ring.append(self.value) == self.next_number
        self.model.append((self.next_number, self.value))
        self.next_number += 1

    @precondition(lambda self: self.model)
    @rule()
    def popleft(self) -> None:
        assert self.ring.popleft() == self.model.pop(0)[1]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        number, value = data.draw(st.sampled_from(self.model))
        assert self.ring.remove(number) == value
        self.model.remove((number, value))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def insert(self, data: st.DataObject) -> None:
        self.value += 1
        number, _ = data.draw(st.sampled_from(self.model))
        self.ring.insert(number, self.value)
        self.model = [(n if n < number else n + 1, v) for n, v in self.model]
        self.model.append((number, self.value))
        self.model.sort()
        self.next_number += 1

    @rule()
    def compact(self) -> None:
        self.ring.compact()
        first = self.next_number - len(self.model)
        self.model = [(first + index, value) for index, (_, value) in enumerate(self.model)]

    @rule(data=st.data())
    def since(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, self.next_number + 1))
        one, two = self.ring.since(number)
        assert one + two == [value for n, value in self.model if n >= number]

    @invariant()
    def same(self) -> None:
        assert list(self.ring) == [value for _, value in self.model]
        assert len(self.ring) == len(self.model)
        assert self.ring.tail == self.next_number
        assert 0 <= self.ring.tail - self.ring.head <= self.ring.capacity
        assert all(self.ring.get(number) == value for number, value in self.model)


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=60, stateful_step_count=40)
