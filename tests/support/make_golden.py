"""Makes a golden journal: python -m tests.support.make_golden FOLDER SEED; `tar` packs it.

The journals under `tests/data/journals` are what earlier versions wrote: every version reads,
verifies and explains them. A change of the format adds one; none is replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.journal import golden

if __name__ == "__main__":
    golden(Path(sys.argv[1]), int(sys.argv[2]))
