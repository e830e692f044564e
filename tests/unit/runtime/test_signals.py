"""Ctrl-C, wherever it finds the main thread."""

from __future__ import annotations

import pytest

from tests.support.program import play

INTERRUPTED = {
    "parked": "await sleep(60)",
    "idle beside a function": "await go(time.sleep, 60, abandon=True)",
    "with its thread locked": "with lock_thread(): await sleep(60)",
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
def test_what_signals_were_set_to_is_restored() -> None:
    done = play(
        """
        import signal
        reader, writer = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(writer)
        async def main():
            await sleep(0.001)
        run(main())
        assert signal.set_wakeup_fd(-1) == writer
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        handler = lambda *_: print("its own", flush=True)
        signal.signal(signal.SIGINT, handler)
        async def interrupted():
            os.kill(os.getpid(), signal.SIGINT)
            await sleep(0.001)
        run(interrupted())
        assert signal.getsignal(signal.SIGINT) is handler
        """
    )
    assert (done.returncode, done.stdout) == (0, "its own\n"), done.stderr


@pytest.mark.slow
def test_a_handler_runs_soon_wherever_the_processor_is() -> None:
    """The main thread looks for signals while it waits for its processor, and between its steps."""
    done = play(
        """
        import signal
        reader, writer = os.pipe()
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread().name))
        seen = []
        def send():
            os.kill(os.getpid(), signal.SIGUSR1)
        async def until(count):
            while len(seen) < count:
                await yield_now()
        async def main():
            await go(send)
            await until(1)
            with lock_thread():
                pass
            locked = go(keep(), pinned=True)
            await go(send)
            await until(2)
            locked.cancel()
        async def keep():
            with lock_thread():
                await sleep(60)
        run(main())
        print(*seen)
        """
    )
    assert (done.returncode, done.stdout) == (0, "MainThread MainThread\n"), done.stderr
