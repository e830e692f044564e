"""The command line `herz`: parses, asks `herz.app`, prints, and maps errors to exit codes."""

from herz.front.cli.entry import main, process

__all__ = ["main", "process"]
