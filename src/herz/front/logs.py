"""Logs as people or machines read them: a line each on stderr, without credentials.

What Herz logs itself carries its facts as fields; what libraries log goes the same way.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

Form = Literal["text", "json"]
HIDDEN: Final = "(hidden)"
_SECRET_NAMES: Final = re.compile(
    r"token|authorization|password|secret|private_?key", re.IGNORECASE
)
_SECRETS: Final = re.compile(
    r"(?<=Bearer )[\w.~+/=-]+"
    r"|(?<=Basic )[\w+/=-]+"
    # Begins where a word does, and a key that is cut off ends with the text: one pass in all.
    r"|(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
Fields = MutableMapping[str, Any]


def configure(form: Form = "text", level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Set up all logging of this process.

    Args:
        form: a JSON object a line, or text.
        level: the least that is shown.
        stream: where to; stderr without.
    """
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_credentials,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: structlog.types.Processor = structlog.processors.JSONRenderer(sort_keys=True)
    if form == "text":
        last = structlog.processors.LogfmtRenderer(
            key_order=("timestamp", "level", "logger", "event"), bool_as_flag=False
        )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def without_credentials(_logger: object, _method: str, fields: Fields) -> Fields:
    """The fields without what may open a door: by the field's name, and by how it looks."""
    for name, value in list(fields.items()):
        if name.startswith("_"):
            continue
        if _SECRET_NAMES.search(name):
            fields[name] = HIDDEN
        else:
            fields[name] = _cleaned(value)
    return fields


def _cleaned(value: object) -> object:
    """The value, and all that is in it, without credentials."""
    if isinstance(value, str):
        return _SECRETS.sub(HIDDEN, value)
    if isinstance(value, bytes | bytearray):
        return _SECRETS.sub(HIDDEN, bytes(value).decode(errors="replace"))
    if isinstance(value, dict):
        return {
            name: HIDDEN if _SECRET_NAMES.search(str(name)) else _cleaned(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return value if isinstance(value, int | float | None) else _SECRETS.sub(HIDDEN, str(value))
