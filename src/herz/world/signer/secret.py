"""Secrets from outside: the passphrase of a key file, and what a secret file must be like.

A passphrase comes from a file descriptor or a file, never from the command line or the
environment, which other processes can read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from herz.errors import ConfigError, WorldError

PASSPHRASE_BYTES_MIN: Final = 8
SECRET_BYTES_MAX: Final = 65_536
"""Bounds of a passphrase and of a secret file."""


def passphrase_from(file: str | None, descriptor: int | None) -> bytes:
    """The passphrase, without the newline that ends it.

    Args:
        file: path of a file that only its owner, or a group that its owner chose, may read.
        descriptor: number of an open file descriptor; it is read to its end and closed.

    Raises:
        ConfigError: neither or both are given, or what is there is no passphrase.
        WorldError: it cannot be read.
    """
    if (file is None) == (descriptor is None):
        raise ConfigError(
            "one passphrase is needed",
            where="--passphrase-file, --passphrase-fd",
            fix="give one of them: a file that only you may read, or an open file descriptor",
        )
    if file is not None:
        where, data = "--passphrase-file", read_secret(Path(file), option="--passphrase-file")
    else:
        assert descriptor is not None
        where, data = "--passphrase-fd", _read_descriptor(descriptor)
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if len(passphrase) < PASSPHRASE_BYTES_MIN or b"\n" in passphrase:
        # The value is not shown: it is, or was meant to be, a secret.
        raise ConfigError(
            f"not one line of at least {PASSPHRASE_BYTES_MIN} bytes",
            where=where,
            fix="make one: head -c 24 /dev/urandom | base64",
        )
    return passphrase


def read_secret(path: Path, *, option: str) -> bytes:
    """The bytes of a file that holds a secret.

    Raises:
        ConfigError: others may read or change it, somebody else owns it, or it is too long.
        WorldError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise WorldError(f"{option}: cannot read {path}: {_reason(error)}") from error
    try:
        _check_secret(os.fstat(descriptor), path, option)
        data = os.read(descriptor, SECRET_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(data) > SECRET_BYTES_MAX:
        raise ConfigError(
            f"longer than {SECRET_BYTES_MAX} bytes",
            where=option,
            value=str(path),
            fix="name the right file",
        )
    return data


def write_secret(path: Path, data: bytes, *, option: str) -> None:
    """Write a new file that only its owner may read; the bytes are on the disk when it returns.

    Raises:
        ConfigError: something is there already: a key is never overwritten.
        WorldError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(
            "something is there already", where=option, value=str(path), fix="name a new file"
        ) from error
    except (OSError, ValueError) as error:
        raise WorldError(f"{option}: cannot write {path}: {_reason(error)}") from error
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise WorldError(f"{option}: cannot write {path}: {_reason(error)}") from error


def _check_secret(status: os.stat_result, path: Path, option: str) -> None:
    """Refuse what is no file, or is in other hands than ours."""
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(
            "not a file", where=option, value=str(path), fix="name a file; see --passphrase-fd"
        )
    if mode & 0o027:
        raise ConfigError(
            f"others may read it, or its group may change it (mode {mode:04o})",
            where=option,
            value=str(path),
            fix="chmod 0400 (a Kubernetes secret: defaultMode 0440)",
        )
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"it belongs to the user {status.st_uid}",
            where=option,
            value=str(path),
            fix="chown it to the user that runs Herz",
        )


def _read_descriptor(descriptor: int) -> bytes:
    try:
        with open(descriptor, "rb") as file:
            return file.read(SECRET_BYTES_MAX)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot be read: {_reason(error)}",
            where="--passphrase-fd",
            value=descriptor,
            fix="open it in the shell: herz … --passphrase-fd 3 3<FILE",
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
