"""The end of the process: exit codes, threads that are still in a call, forks."""

from __future__ import annotations

import pytest

from tests.support.program import play


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


def test_an_ended_run_has_no_monitor_though_something_of_it_is_kept() -> None:
    done = play(
        """
        import contextlib
        def monitor():
            names = []
            for thread in os.listdir("/proc/self/task"):
                with contextlib.suppress(OSError):
                    names.append(open(f"/proc/self/task/{thread}/comm").read().strip())
            return "herz-sysmon" in names
        async def main():
            timer = Timer(3600, print)
            task = go(os.getpid)
            await task
            # A thread that has begun may not have its name yet.
            while not monitor() and time.monotonic() < ends:
                await yield_now()
            return timer, task, monitor()
        ends = time.monotonic() + 20
        *kept, had_one = run(main())
        while monitor() and time.monotonic() < ends:
            os.sched_yield()
        print(had_one, monitor(), len(kept))
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True False 2\n", "")


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


LATE = """
    reader, writer = os.pipe()
    class Last:
        # Runs when the interpreter has begun to finalize, and gives it away to whoever wants it.
        def __del__(self, write=os.write, sleep=time.sleep):
            write(writer, b"xxx")
            for _ in range(50):
                sleep(0.002)
    sys.last_of_all = Last()
    def function():
        os.read(reader, 1)
    async def step():
        os.read(reader, 1)
    def burn():
        while True:
            try:
                while True: pass
            except BaseException: pass
    async def main():
        tasks = [go(function), go(step()), go(burn)]
        while stats()["detached"] != 1 or stats()["workers_idle"] < 1:
            await sleep(0.001)
    """


@pytest.mark.slow
def test_a_thread_that_comes_back_to_a_finalizing_interpreter_stays_where_it_is() -> None:
    done = play(LATE + "run(main(), grace_ns=1_000_000)\n    sys.exit(7)")
    assert done.returncode == 7, done.stderr
    assert "FATAL" not in done.stderr.upper()


@pytest.mark.slow
def test_a_runtime_on_a_daemon_thread_is_ended_before_the_interpreter() -> None:
    done = play(
        """
        began = threading.Event()
        async def main():
            began.set()
            try:
                await sleep(60)
            finally:
                print("tidied up", flush=True)
        threading.Thread(target=run, args=(main(),), daemon=True).start()
        began.wait()
        sys.exit(7)
        """
    )
    assert (done.returncode, done.stdout) == (7, "tidied up\n"), done.stderr
