"""The server's clock, as objects carry its times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def seconds_text(time: datetime) -> str:
    """RFC 3339 to the second, the form of most fields."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_text(time: datetime) -> str:
    """RFC 3339 to the microsecond, the form of events and leases."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def after(seconds: int) -> str:
    """So many seconds from now, to the second."""
    return seconds_text(now() + timedelta(seconds=seconds))


def parsed(text: str | None) -> datetime | None:
    """The time of a text; None for none, or for what is none."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def age_s(text: str | None, at: datetime) -> float:
    """Seconds from the text's time until then; 0 for no time."""
    time = parsed(text)
    return 0.0 if time is None else (at - time).total_seconds()
