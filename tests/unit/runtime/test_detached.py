"""Steps that last too long: the processor moves, and the step ends beside the other tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from herz import runtime
from herz.runtime import Cancelled, go, run, sleep, yield_now

ROOT = Path(__file__).parents[3]


def test_a_task_blocked_in_a_read_is_freed_by_another_task() -> None:
    reader, writer = os.pipe()

    async def block() -> bytes:
        return os.read(reader, 1)

    async def free() -> None:
        os.write(writer, b"x")

    async def main() -> bytes:
        blocked = go(block())
        go(free())
        return await blocked

    assert run(main()) == b"x"
    os.close(reader)
    os.close(writer)


def test_a_task_that_spins_on_a_flag_is_freed_by_another_task() -> None:
    flag: list[int] = []

    async def spin() -> int:
        turns = 0
        while not flag:
            turns += 1
        return turns

    async def free() -> None:
        flag.append(1)

    async def main() -> int:
        spinning = go(spin())
        go(free())
        return await spinning

    before = sys.getswitchinterval()
    assert run(main()) > 0
    assert sys.getswitchinterval() == before


def test_main_may_end_in_a_detached_step_while_the_first_thread_has_the_processor() -> None:
    gates = [threading.Event() for _ in range(2)]
    mains: list[runtime.Task[str]] = []

    async def block() -> None:
        gates[0].wait()

    async def free() -> None:
        while mains[0].state != "detached":
            await sleep(0.000_1)
        # The thread of `run` is back and has the processor; it will wait when this task has ended.
        while threading.current_thread() is not threading.main_thread():
            await sleep(0.000_1)
        gates[1].set()

    async def main() -> str:
        mains.append(runtime.current_task())
        go(block())
        await yield_now()
        while threading.current_thread() is threading.main_thread():
            await sleep(0.000_1)
        go(free())
        gates[0].set()
        gates[1].wait()
        return "ended"

    assert run(main()) == "ended"


def test_many_blocked_tasks_each_lose_the_processor() -> None:
    pairs = [os.pipe() for _ in range(20)]

    async def block(reader: int) -> bytes:
        return os.read(reader, 1)

    async def free() -> None:
        for _, writer in pairs:
            os.write(writer, b"x")

    async def main() -> tuple[int, int]:
        blocked = [go(block(reader)) for reader, _ in pairs]
        go(free())
        for task in blocked:
            assert await task == b"x"
        while runtime.stats()["detached"]:
            # The last one's task has ended; its thread is on the way out of the step.
            await sleep(0.000_1)
        stats = runtime.stats()
        return stats["hand_offs"], stats["detached"]

    hand_offs, detached = run(main())
    assert hand_offs >= len(pairs)
    assert detached == 0
    for pair in pairs:
        os.close(pair[0])
        os.close(pair[1])


def test_a_lock_held_by_a_detached_task_costs_workers_and_nothing_else() -> None:
    lock = threading.Lock()
    reader, writer = os.pipe()
    order: list[int] = []

    async def hold() -> None:
        with lock:
            os.read(reader, 1)

    async def take(number: int) -> None:
        with lock:
            order.append(number)

    async def free() -> None:
        os.write(writer, b"x")

    async def main() -> None:
        tasks = [go(hold())] + [go(take(number)) for number in range(5)]
        go(free())
        for task in tasks:
            await task

    run(main())
    assert sorted(order) == list(range(5))
    os.close(reader)
    os.close(writer)


def test_a_detached_step_may_use_the_runtime() -> None:
    reader, writer = os.pipe()

    async def block() -> int:
        os.read(reader, 1)
        # Detached: these go through the global queue.
        tasks = [go(child(number)) for number in range(3)]
        total = sum([await task for task in tasks])
        await sleep(0.000_1)
        return total + await go(int, "4")

    async def child(number: int) -> int:
        await yield_now()
        return number

    async def main() -> int:
        blocked = go(block())
        go(free())
        return await blocked

    async def free() -> None:
        os.write(writer, b"x")

    assert run(main()) == 7
    os.close(reader)
    os.close(writer)


def test_without_hand_off_a_long_step_is_only_counted() -> None:
    async def main() -> runtime.Stats:
        go(child())
        threading.Event().wait(0.02)
        return runtime.stats()

    async def child() -> None:
        await yield_now()

    stats = run(main(), hand_off=False)
    assert stats["hand_offs"] == 0
    assert stats["stalls"] == 1


def test_a_step_with_nothing_waiting_keeps_the_processor() -> None:
    async def main() -> runtime.Stats:
        threading.Event().wait(0.02)
        return runtime.stats()

    stats = run(main())
    assert (stats["hand_offs"], stats["stalls"]) == (0, 0)


def test_timers_that_are_due_count_as_work() -> None:
    reader, writer = os.pipe()

    async def free() -> None:
        await sleep(0.003)
        os.write(writer, b"x")

    async def main() -> bytes:
        go(free())
        await yield_now()
        return os.read(reader, 1)

    assert run(main()) == b"x"
    os.close(reader)
    os.close(writer)


def test_each_thread_of_the_runtime_has_its_name_and_no_signals() -> None:
    reader, writer = os.pipe()
    seen: list[tuple[str, bool]] = []

    async def block() -> None:
        os.read(reader, 1)

    async def look() -> None:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        seen.append((threading.current_thread().name, signal.SIGINT in blocked))
        os.write(writer, b"x")

    async def main() -> None:
        blocked = go(block())
        go(look())
        await blocked

    run(main())
    assert len(seen) == 1
    assert seen[0][0].startswith("herz-worker-")
    assert seen[0][1]
    os.close(reader)
    os.close(writer)


def test_a_context_that_a_detached_step_is_in_gives_a_clear_error() -> None:
    reader, writer = os.pipe()

    async def main() -> None:
        import contextvars

        def block() -> None:
            os.read(reader, 1)

        context = contextvars.copy_context()

        async def hold() -> None:
            context.run(block)

        async def enter() -> str:
            try:
                context.run(block)
            except RuntimeError as error:
                return str(error)
            finally:
                os.write(writer, b"x")
            return ""

        held = go(hold())
        other = go(enter())
        assert "already entered" in await other
        await held

    run(main())
    os.close(reader)
    os.close(writer)


# ---- the end of the process, and Ctrl-C: each in a process of its own --------------------------


def play(body: str, *, interrupts: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a program; after each line "ready" that it prints, it gets a SIGINT."""
    head = "import os, sys, time, threading\nfrom herz.runtime import *\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout is not None
    lines = []
    for _ in range(interrupts):
        lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    return subprocess.CompletedProcess("", process.returncode, "".join(lines) + out, errors)


INTERRUPTED = {
    "parked": "await sleep(60)",
    "blocked": "time.sleep(60)",
    "blocked with work waiting": "go(ticks())\n            time.sleep(60)",
    "burning": "while True: pass",
    "stepping": "while True: await yield_now()",
}


@pytest.mark.slow
@pytest.mark.parametrize("where", INTERRUPTED)
def test_the_first_interrupt_cancels_main(where: str) -> None:
    # In a call or a loop without an await nothing can be cancelled: the second one is raised there.
    is_stuck = where.startswith(("blocked", "burning"))
    program = f"""
    async def ticks():
        while True: await sleep(0.001)
    async def main():
        print("ready", flush=True)
        try:
            {INTERRUPTED[where]}
        except Cancelled:
            print("cancelled", flush=True)
            raise
    def second():
        # The program itself sends the second one, once the first has been taken.
        import signal
        before = signal.getsignal(signal.SIGINT)
    try:
        run(main())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    if is_stuck:
        program = program.replace(
            'print("ready", flush=True)',
            'print("ready", flush=True); go(again)',
        ).replace(
            "async def main",
            "def again():\n        import signal\n        time.sleep(0.3)\n"
            "        os.kill(os.getpid(), signal.SIGINT)\n    async def main",
            1,
        )
    done = play(program, interrupts=1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "interrupted"
    assert ("cancelled" in done.stdout) != is_stuck


@pytest.mark.slow
def test_what_is_still_in_a_call_after_the_grace_is_named_and_left() -> None:
    done = play(
        """
        reader, writer = os.pipe()
        def stuck_here():
            os.read(reader, 1)
        async def main():
            go(stuck_here)
            await sleep(0.01)
        run(main(), grace_ns=20_000_000)
        print("left")
        """
    )
    assert (done.returncode, done.stdout) == (0, "left\n")
    assert "stuck_here" in done.stderr
    assert "herz-worker-" in done.stderr


@pytest.mark.slow
def test_the_exit_code_is_right_whatever_the_workers_do() -> None:
    program = """
        reader, writer = os.pipe()
        async def sleeping():
            await sleep(60)
        async def blocked():
            os.read(reader, 1)
        async def burning():
            while True: pass
        async def main():
            go(sleeping()); go(blocked()); go(burning()); go(os.read, reader, 1)
            await sleep(float(sys.argv[1]) if sys.argv[1:] else 0.002)
            os._exit(7) if WAY == 0 else sys.exit(7)
        run(main(), grace_ns=1_000_000)
        """
    for way in (0, 1):
        done = play(program.replace("WAY", str(way)))
        assert done.returncode == 7, done.stderr
        assert "Fatal" not in done.stderr


@pytest.mark.slow
def test_a_fork_leaves_the_parent_alone_and_the_child_without_a_runtime() -> None:
    done = play(
        """
        import subprocess
        async def other():
            return 5
        async def main():
            pid = os.fork()
            if pid == 0:
                try:
                    await yield_now()
                except RuntimeError as error:
                    print("child:", error, flush=True)
                return
            assert os.waitpid(pid, 0)[1] == 0
            called = await go(subprocess.run, [sys.executable, "-c", "print(1)"])
            print("parent:", await go(other()), called.returncode, flush=True)
        def fresh():
            print("fresh:", run(other()), flush=True)
        try:
            run(main())
        except RuntimeError:
            fresh()  # a new one may be started in the child
        """
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "forked while a herz runtime ran" in lines[0]
    assert sorted(lines[1:]) == ["1", "fresh: 5", "parent: 5 0"]


def test_cancelled_is_no_exception_that_is_caught_by_accident() -> None:
    assert not issubclass(Cancelled, Exception)
