"""`herz run --otlp-endpoint`: where spans go, if anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from herz.errors import ConfigError

if TYPE_CHECKING:
    from herz.world.spans import Spans

OPTION: Final = "--otlp-endpoint"
FLUSH_MS: Final = 2_000
"""How long an end waits for the collector to take what is left."""


def spans(endpoint: str | None) -> Spans | None:
    """Spans that are sent to a collector by OTLP over HTTP; None where there is none.

    Sampling, batches and headers are OpenTelemetry's own variables, `OTEL_…`.

    Raises:
        ConfigError: no URL, or the extra `otel` is not installed.
    """
    if endpoint is None:
        return None
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        fix = "write a URL such as http://127.0.0.1:4318/v1/traces"
        raise ConfigError("not the URL of a collector", where=OPTION, value=endpoint, fix=fix)
    try:
        # Imported here: few want it, and it is an extra.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from herz.world.spans import Spans  # noqa: PLC0415
    except ImportError as error:
        fix = "pip install 'herz[otel]', or leave it out"
        raise ConfigError("OpenTelemetry is not installed", where=OPTION, fix=fix) from error
    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "herz")}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))

    def close() -> None:
        provider.force_flush(FLUSH_MS)
        provider.shutdown()

    return Spans(provider.get_tracer("herz"), close=close)
