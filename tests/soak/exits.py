"""Processes that exit at a random instant, whatever their workers do."""

from __future__ import annotations

import random

from tests.support.program import play

CODE = 7
"""What each of them must exit with."""

PROGRAM = """
import socket
import random
chance = random.Random(int(sys.argv[1]))
reader, writer = os.pipe()
abandon = chance.random() < 0.8

def function():
    chance.choice([lambda: os.read(reader, 1), lambda: time.sleep(chance.random() / 50)])()
def burn():
    while True: pass
async def sleeping():
    while True: await sleep(chance.random() / 500)
async def blocked():
    function()
async def burning():
    burn()
async def parked():
    await sleep(60)
async def turning():
    while True: await yield_now()
async def relaying():
    pairs = [socket.socketpair() for _ in range(2)]
    pairs[0][0].send(b"x" * 1000)
    await relay(*(Connection.from_socket(pair[1]) for pair in pairs))

async def main():
    for what in chance.choices([sleeping, blocked, burning, parked, turning, relaying], k=4):
        go(what(), abandon=abandon)
    for what in chance.choices([function, burn], k=2):
        go(what, abandon=abandon)
    await sleep(chance.random() / 50)
    way = chance.choice(["return", "exit", "task", "_exit"])
    if way == "_exit":
        os._exit(7)
    if way == "exit":
        sys.exit(7)
    if way == "task":
        async def leave():
            sys.exit(7)
        await go(leave())

daemon = chance.random() < 0.3
if daemon:
    # The interpreter goes first.
    began = threading.Event()
    async def begin():
        began.set()
        await main()
    thread = threading.Thread(target=run, args=(begin(),), kwargs={"grace_ns": 1_000_000})
    thread.daemon = True
    thread.start()
    began.wait()
    time.sleep(chance.random() / 50)
else:
    run(main(), grace_ns=chance.choice([0, 1_000_000, 20_000_000]))
if chance.random() < 0.5:
    class Last:
        # The interpreter finalizes already, and is given to whoever wants it.
        def __del__(self, write=os.write, sleep=time.sleep):
            write(writer, b"xxxxxx")
            sleep(0.01)
    sys.last_of_all = Last()
sys.exit(7)
"""


def exit_once(seed: int) -> None:
    """One such process.

    Raises:
        AssertionError: another exit code, or anything on stderr but the runtime's own report.
    """
    done = play(PROGRAM, str(seed))
    what = f"seed {seed}, exit code {done.returncode}:\n{done.stderr}"
    assert done.returncode == CODE, what
    noise = [
        line for line in done.stderr.splitlines() if not line.startswith(("herz.runtime:", " "))
    ]
    assert noise == [], what


def exits(seed: int, count: int) -> None:
    """So many of them, from that seed on.

    Raises:
        AssertionError: as `exit_once`.
    """
    chance = random.Random(seed)
    for _ in range(count):
        exit_once(chance.getrandbits(32))
