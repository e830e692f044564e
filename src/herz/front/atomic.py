"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from herz.errors import ConfigError, WorldError


def checked_target(text: str, *, option: str) -> Path:
    """The file that will be written, refused now if it cannot be.

    Args:
        text: the path as the user wrote it.
        option: the option that held it, for the error.

    Returns:
        The path with symbolic links followed, so that a link stays a link.

    Raises:
        ConfigError: the folder is missing or not writable, or something other than a plain file
            is in the place (a rename would replace it, even a device).
    """
    try:
        # The path is printed: it must be text in every form of output.
        text.encode()
        path = Path(text).resolve()
        is_other = path.exists() and not path.is_file()
        folder_is_there = path.parent.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"this path cannot be used: {error}", where=option, value=text, fix="name another file"
        ) from error
    if not text or is_other:
        raise ConfigError(
            "not a plain file", where=option, value=text, fix="name a file such as report.html"
        )
    if not folder_is_there:
        raise ConfigError(
            "the folder does not exist",
            where=option,
            value=text,
            fix=f"make it first: mkdir -p {path.parent}",
        )
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(
            "the folder is not writable", where=option, value=text, fix="name another folder"
        )
    return path


def write_whole(path: Path, content: str) -> None:
    """Write to a file beside it, then rename: a reader sees the old file or the new one.

    Raises:
        WorldError: the disk refused; the old file is untouched and the new one is removed.
    """
    beside = path.parent / f".herz-{os.getpid()}.tmp"
    try:
        # Exclusive: another process's temporary file is never written to.
        with open(beside, "x", encoding="utf-8", newline="\n") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(beside, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(beside)
                raise
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}") from error
