"""Ctrl-C, wherever it finds the main thread."""

from __future__ import annotations

import pytest

from tests.support.program import play

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
