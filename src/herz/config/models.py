"""A learned model that a policy's file names becomes part of the policy, and so of its digest.

What cannot be read becomes an empty model: the rule says so by name and decides carefully. A
scheduler that does not start for want of a model would keep no promise at all.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from herz.config.kubescheduler import Configuration
from herz.config.policies import Policies
from herz.config.policy import Policy

NAMING: Final = ("SLAFit", "SLARefuse")
"""The rules whose arguments `model` and `candidate` name files."""
_DATA: Final = {"model": "modelData", "candidate": "candidateData"}
MODEL_BYTES_MAX: Final = 16 << 20
"""Bound: a larger file is not read; the policy is in the journal, whole."""


def with_models(
    settings: Policy | Policies | Configuration, file: Path | None
) -> Policy | Policies | Configuration:
    """The settings, with the content of the models that they name.

    Args:
        settings: as read.
        file: from which; the models' paths begin at its folder.
    """
    folder = Path() if file is None else file.parent
    if isinstance(settings, Policy):
        return _filled(settings, folder)
    profiles = tuple(
        msgspec.structs.replace(profile, policy=_filled(profile.policy, folder))
        for profile in settings.profiles
    )
    return msgspec.structs.replace(settings, profiles=profiles)


def _filled(policy: Policy, folder: Path) -> Policy:
    plugins = tuple(
        msgspec.structs.replace(entry, args=_with_data(entry.args, folder))
        if entry.name in NAMING
        else entry
        for entry in policy.plugins
    )
    return msgspec.structs.replace(policy, plugins=plugins)


def _with_data(args: dict[str, Any], folder: Path) -> dict[str, Any]:
    found = dict(args)
    for name, data in _DATA.items():
        named = args.get(name)
        if data in args or not named or not isinstance(named, str | list):
            continue
        if isinstance(named, str):
            found[data] = _content(folder, named)
        else:
            found[data] = [_content(folder, str(one)) for one in named]
    return found


def promoted(policy: Policy, data: bytes, kind_of: Callable[[bytes], str]) -> Policy:
    """The policy with another model in force; the one of its kind that was is on trial now.

    Args:
        policy: the policy.
        data: the model's file.
        kind_of: the kind of promise of a model's file; empty: it is none.
    """
    plugins = tuple(
        msgspec.structs.replace(entry, args=_swapped(entry.args, data, kind_of))
        if entry.name in NAMING
        else entry
        for entry in policy.plugins
    )
    return msgspec.structs.replace(policy, plugins=plugins)


def candidate_of(args: dict[str, Any]) -> bytes:
    """The file of the model on trial, of a rule's arguments; empty where it is none."""
    return _file(args.get("candidateData", ""))


def files_of(args: dict[str, Any]) -> tuple[bytes, ...]:
    """The files of a rule's models, those that can be read."""
    given = args.get("modelData", [])
    files = map(_file, [given] if isinstance(given, str) else given)
    return tuple(one for one in files if one)


def _file(data: object) -> bytes:
    try:
        return base64.b64decode(str(data), validate=True)
    except ValueError:
        return b""


def _swapped(args: dict[str, Any], data: bytes, kind_of: Callable[[bytes], str]) -> dict[str, Any]:
    given = args.get("modelData", [])
    files = [given] if isinstance(given, str) else list(given)
    kinds = [kind_of(_file(one)) for one in files]
    mine = base64.b64encode(data).decode()
    try:
        at = kinds.index(kind_of(data))
    except ValueError:
        return {**args, "modelData": [*files, mine], "candidateData": ""}
    if files[at] == mine:
        return args
    before, files[at] = files[at], mine
    return {**args, "modelData": files, "candidateData": before}


def _content(folder: Path, name: str) -> str:
    """A file's content in base64; empty where it cannot be read, or has no end, as a device."""
    path = folder / name
    try:
        is_read = path.is_file() and path.stat().st_size <= MODEL_BYTES_MAX
        data = path.read_bytes() if is_read else b""
    except (OSError, ValueError):
        data = b""
    return base64.b64encode(data).decode()
