"""`python -m tests.soak`: ten minutes of everything, then processes that exit at random."""

from __future__ import annotations

import argparse
import random
import sys

from tests.soak.exits import exits
from tests.soak.mix import soak


def main() -> int:
    """Prints what was done; a fault is raised with its seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--exits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    chosen = parser.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    ended = soak(chosen.seed, chosen.seconds)
    sys.stdout.write(f"units: {dict(ended)}\n")
    exits(chosen.seed, chosen.exits)
    sys.stdout.write(f"{chosen.exits} processes exited as they should\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
