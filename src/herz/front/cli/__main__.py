"""`python -m herz.front.cli`: the command line without an installed script."""

import sys

from herz.front.cli.entry import process

if __name__ == "__main__":
    sys.exit(process())
