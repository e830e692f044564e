"""The run queue against plain deques with Go's rules."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz._native import GlobalQueue, RunQueue

CAPACITY = 256


class Plain:
    """A processor's queue as Go's `runqput`, `runqget` and `runqsteal` have it."""

    def __init__(self) -> None:
        self.ring: deque[int] = deque()
        self.next: int | None = None

    def push(self, item: int, overflow: deque[int]) -> None:
        if len(self.ring) == CAPACITY:
            overflow.extend(self.ring.popleft() for _ in range(CAPACITY // 2))
            overflow.append(item)
        else:
            self.ring.append(item)

    def push_next(self, item: int, overflow: deque[int]) -> None:
        old, self.next = self.next, item
        if old is not None:
            self.push(old, overflow)

    def pop(self) -> tuple[int, bool] | None:
        if self.next is not None:
            item, self.next = self.next, None
            return item, True
        return (self.ring.popleft(), False) if self.ring else None

    def steal(self, into: Plain, *, is_last: bool) -> int | None:
        room = CAPACITY - len(into.ring)
        if not self.ring and is_last:
            item, self.next = self.next, None
            return item
        count = min(len(self.ring) - len(self.ring) // 2, room)
        taken = [self.ring.popleft() for _ in range(count)]
        into.ring.extend(taken[:-1])
        return taken[-1] if taken else None

    def share(self, overflow: deque[int], processors: int) -> int | None:
        room = CAPACITY - len(self.ring)
        count = min(128, len(overflow), len(overflow) // processors + 1, room + 1)
        taken = [overflow.popleft() for _ in range(count)]
        self.ring.extend(taken[1:])
        return taken[0] if taken else None

    def __len__(self) -> int:
        return len(self.ring) + (self.next is not None)


WHO = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("push"), WHO, st.sampled_from([1, 2, 3, 100, 127, 128, 255, 256, 300])),
    st.tuples(st.just("next"), WHO, st.integers(1, 4)),
    st.tuples(st.just("pop"), WHO, st.integers(1, 200)),
    st.tuples(st.just("steal"), WHO, st.integers(0, 5)),
    st.tuples(st.just("share"), WHO, st.integers(1, 6)),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_queue_equals_plain_deques(history: list[tuple[str, int, int]]) -> None:
    queues, overflow = [RunQueue() for _ in range(3)], GlobalQueue()
    plain, beyond = [Plain() for _ in range(3)], deque[int]()
    item = 0
    for step, who, value in history:
        queue, model = queues[who], plain[who]
        match step:
            case "push" | "next":
                for _ in range(value):
                    item += 1
                    if step == "push":
                        queue.push(item, overflow)
                        model.push(item, beyond)
                    else:
                        queue.push_next(item, overflow)
                        model.push_next(item, beyond)
            case "pop":
                for _ in range(value):
                    assert queue.pop() == model.pop()
            case "steal":
                into, is_last = (who + 1 + value % 2) % 3, value > 2
                got = queue.steal(queues[into], is_last=is_last)
                assert got == model.steal(plain[into], is_last=is_last)
            case _:
                assert overflow.take(queue, value) == model.share(beyond, value)
        assert [len(queue) for queue in queues] == [len(model) for model in plain]
        assert len(overflow) == len(beyond)
    for queue, model in zip(queues, plain, strict=True):
        while (expected := model.pop()) is not None:
            assert queue.pop() == expected
        assert queue.pop() is None
    assert [overflow.pop() for _ in beyond] == list(beyond)


def test_queue_refuses_to_steal_from_itself() -> None:
    queue = RunQueue()
    with pytest.raises(ValueError, match="itself"):
        queue.steal(queue, is_last=False)
    with pytest.raises(ValueError, match="zero"):
        queue.push(0, GlobalQueue())
