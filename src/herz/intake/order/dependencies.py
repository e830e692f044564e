"""The annotation `herz.dev/after`: which pods of the batch must be decided before this one.

Step: queue. In comes the annotation's text, out go exact dependencies. A malformed value is
refused with the place, the value and the remedy; it is never half understood.
"""

from __future__ import annotations

import re
from typing import Final

from herz.errors import ConfigError
from herz.model.podinfo import Dependency

AFTER_ANNOTATION: Final = "herz.dev/after"

# Bound: names that one pod may wait for, so that no pod alone can bring a batch down a rung.
DEPENDENCIES_MAX: Final = 256

WEIGHT_FULL: Final = 1000

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_LENGTH_MAX: Final = 253
_WEIGHT: Final = re.compile(r"0(?:\.([0-9]{1,3}))?|1(?:\.(0{1,3}))?")
_WEIGHT_FIX: Final = "use a decimal from 0 to 1 with at most three places, such as 0.85"
_NAME_FIX: Final = "use the name of a pod of the same namespace, such as loader-0"


def parse_after(
    text: str, *, where: str = f"metadata.annotations[{AFTER_ANNOTATION}]", own_name: str = ""
) -> tuple[Dependency, ...]:
    """The dependencies that the annotation's value names, in its own order.

    Args:
        text: the value, `name[=weight], …`; blanks around names and weights carry no meaning.
        where: the place that an error names.
        own_name: the name of the annotated pod, which may not name itself; "" skips that test.

    Raises:
        ConfigError: empty value or element, a name that no pod can have, a name twice or the
            pod's own, a weight that is no decimal of at most three places in 0..1, or more than
            DEPENDENCIES_MAX names.
    """
    parts = text.split(",")
    if len(parts) > DEPENDENCIES_MAX:
        raise ConfigError(
            f"names {len(parts)} pods",
            where=where,
            value=text,
            fix=f"name at most {DEPENDENCIES_MAX}, or a pod that itself comes after the others",
        )
    found: dict[str, Dependency] = {}
    for part in parts:
        dependency = _parse_part(part, text, where)
        if dependency.name in found:
            raise ConfigError(
                f"names {dependency.name} twice", where=where, value=text, fix="name each pod once"
            )
        if dependency.name == own_name:
            raise ConfigError(
                "names the pod itself", where=where, value=text, fix=f"remove {own_name}"
            )
        found[dependency.name] = dependency
    return tuple(found.values())


def _parse_part(part: str, text: str, where: str) -> Dependency:
    """One `name` or `name=weight`."""
    name, separator, weight = (piece.strip() for piece in part.partition("="))
    if not name:
        what = "is empty" if not text.strip() else "has an element without a name"
        raise ConfigError(what, where=where, value=text, fix=_NAME_FIX)
    if len(name) > _NAME_LENGTH_MAX or not _NAME.fullmatch(name):
        raise ConfigError(
            f"has {name[:80]!r}, which is no pod name", where=where, value=text, fix=_NAME_FIX
        )
    if not separator:
        return Dependency(name)
    match = _WEIGHT.fullmatch(weight)
    if match is None:
        raise ConfigError(
            f"has the weight {weight[:80]!r}", where=where, value=text, fix=_WEIGHT_FIX
        )
    if weight.startswith("1"):
        return Dependency(name, WEIGHT_FULL)
    # Digits are padded, not divided: 0.85 is exactly 850, never 849.999.
    return Dependency(name, int((match[1] or "0").ljust(3, "0")))
