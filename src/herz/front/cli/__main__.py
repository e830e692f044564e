"""`python -m herz.front.cli`: the command line without an installed script."""

import sys

from herz.front.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
