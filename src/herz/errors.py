"""The error tree: what a caller may catch, and what each class promises.

An expected "no" is a value (`herz.plugin.Verdict`); only bugs and the outside raise. Foreign
exceptions become one of these classes at the edge, once, with `from`.
"""

from __future__ import annotations


class HerzError(Exception):
    """The root: everything that Herz raises on purpose."""


class ConfigError(HerzError, ValueError):
    """The user's input is wrong; nothing was done with it.

    Args:
        what: what is wrong, as a phrase ("unknown operator").
        where: file, line or field path ("pods.yaml:12 spec.tolerations[0].effect").
        value: the offending value as it was read; None where there is none.
        fix: the remedy, as an instruction ("use one of In, NotIn, Exists, DoesNotExist").
    """

    def __init__(self, what: str, *, where: str = "", value: object = None, fix: str = "") -> None:
        self.what = what
        self.where = where
        self.value = value
        self.fix = fix
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole error on one line: where, what, value, remedy."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.value is not None:
            text += f" (got {_shortened(self.value)})"
        return f"{text}; {self.fix}" if self.fix else text

    def at(self, where: str) -> ConfigError:
        """The same error seen from further out: `where` is put before its own place."""
        joined = f"{where} {self.where}" if self.where else where
        return ConfigError(self.what, where=joined, value=self.value, fix=self.fix)


class WorldError(HerzError):
    """The outside failed: an API, a probe, a disk.

    Args:
        what: what failed, with the outside's own words.
        is_retryable: whether the same call may succeed later.
    """

    def __init__(self, what: str, *, is_retryable: bool = False) -> None:
        self.is_retryable = is_retryable
        super().__init__(what)


class AuditError(HerzError):
    """A proof, or a link of the chain, does not verify."""


class InvariantError(HerzError, AssertionError):
    """Our bug: a state that must not exist was seen.

    The cycle that met it stops; the message carries the history needed to report it.
    """


def _shortened(value: object) -> str:
    """The value's repr, cut to a length that fits in one line of an error."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
