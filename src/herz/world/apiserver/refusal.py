"""What the server answers instead of doing what was asked: a Status with its HTTP code.

Reasons, codes and wordings are those of Kubernetes' own API machinery, because clients read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from herz.errors import ConfigError, HerzError

Cause = dict[str, str]


class RefusedError(HerzError):
    """A request that is not carried out; nothing was changed.

    Args:
        code: the HTTP status.
        reason: Kubernetes' machine-readable word (`NotFound`, `Conflict`, ...).
        message: the text for people.
        details: of what object, and for which causes.
        retry_after_s: when to try again; None where that would not help.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s
        if retry_after_s is not None:
            self.details["retryAfterSeconds"] = retry_after_s
        super().__init__(message)

    @property
    def status(self) -> dict[str, Any]:
        """The `Status` object of the answer."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status


def bad_request(message: str) -> RefusedError:
    """400: the request itself is malformed."""
    return RefusedError(400, "BadRequest", message)


def not_found(resource: str, group: str, name: str) -> RefusedError:
    """404: there is no such object."""
    details = _details(resource, group, name)
    return RefusedError(
        404, "NotFound", f'{_qualified(resource, group)} "{name}" not found', details=details
    )


def no_such_path() -> RefusedError:
    """404: the server serves nothing under that path."""
    return RefusedError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, group: str, name: str) -> RefusedError:
    """409: an object of that name is there."""
    message = f'{_qualified(resource, group)} "{name}" already exists'
    return RefusedError(409, "AlreadyExists", message, details=_details(resource, group, name))


def conflict(resource: str, group: str, name: str, why: str) -> RefusedError:
    """409: the object is not in the state that the request relies on."""
    message = f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}'
    return RefusedError(409, "Conflict", message, details=_details(resource, group, name))


def stale(resource: str, group: str, name: str) -> RefusedError:
    """409: another write came first."""
    why = (
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    )
    return conflict(resource, group, name, why)


def forbidden(
    resource: str, group: str, name: str, why: str, causes: Sequence[Cause] = ()
) -> RefusedError:
    """403: the object's state, or the server's rules, do not allow it."""
    message = f'{_qualified(resource, group)} "{name}" is forbidden: {why}'
    details = _details(resource, group, name)
    if causes:
        details["causes"] = list(causes)
    return RefusedError(403, "Forbidden", message, details=details)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> RefusedError:
    """422: fields have values that they must not have."""
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = {"name": name, "group": group, "kind": kind, "causes": list(causes)}
    return RefusedError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details=details)


def cause_of(error: ConfigError) -> Cause:
    """What is wrong with a field, in the words of Kubernetes' field errors."""
    field = error.where or "metadata"
    if error.what.startswith("missing"):
        return {
            "reason": "FieldValueRequired",
            "message": f"Required value: {error.fix}",
            "field": field,
        }
    reason, start = "FieldValueInvalid", "Invalid value"
    if error.what == "unknown value":
        reason, start = "FieldValueNotSupported", "Unsupported value"
    elif error.what.endswith("stands twice"):
        reason, start = "FieldValueDuplicate", "Duplicate value"
    shown = "" if error.value is None else f": {_shown(error.value)}"
    fix = f"; {error.fix}" if error.fix else ""
    return {"reason": reason, "message": f"{start}{shown}: {error.what}{fix}", "field": field}


def too_old(asked: int, oldest: int) -> RefusedError:
    """410: what happened after that version has been compacted away."""
    return RefusedError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def too_large(asked: int, current: int) -> RefusedError:
    """504: the version lies in the future; the client may be ahead of this server."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return RefusedError(504, "Timeout", message, details=details, retry_after_s=1)


def not_allowed(method: str) -> RefusedError:
    """405: the resource exists, without that verb."""
    message = f"the server does not allow this method on the requested resource ({method})"
    return RefusedError(405, "MethodNotAllowed", message)


def unsupported_media(given: str, accepted: Sequence[str]) -> RefusedError:
    """415: the body has a form that is not read here."""
    message = (
        f"the body of the request was in an unknown format ({given or 'none named'}) - "
        f"accepted media types include: {', '.join(accepted)}"
    )
    return RefusedError(415, "UnsupportedMediaType", message)


def not_done(what: str) -> RefusedError:
    """501: Kubernetes has it, this server has not."""
    return RefusedError(501, "NotImplemented", f"the embedded API server does not serve {what}")


def unavailable(message: str) -> RefusedError:
    """503: the server's own store failed, or it is ending."""
    return RefusedError(503, "ServiceUnavailable", message, retry_after_s=1)


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(resource: str, group: str, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name}
    if group:
        details["group"] = group
    details["kind"] = resource
    return details


def _shown(value: object) -> str:
    """The value as Kubernetes quotes it, cut to a length that fits a line."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
