"""Posts to a witness over HTTP."""

from __future__ import annotations

from typing import Final

import aiohttp

from herz.errors import ConfigError, WorldError

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 65_536
"""Bound: of an answer, what is read."""


class Poster:
    """One witness' address, over one connection that is kept.

    Args:
        url: the submission prefix, http or https.

    Raises:
        ConfigError: it is no such address.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")) or any(c.isspace() for c in url):
            raise ConfigError(
                "not an address",
                where="witness.url",
                value=url,
                fix="give the witness' submission prefix, such as https://witness.example/w1",
            )
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> tuple[int, bytes, str]:
        """Send a request; gives status, body and media type.

        Raises:
            WorldError: there is no answer, or it is too long.
        """
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            # A redirect would hand the request to somebody whom the trust file does not name.
            async with self._session.post(self._url, data=body, allow_redirects=False) as answer:
                data = b""
                async for chunk in answer.content.iter_chunked(ANSWER_BYTES_MAX):
                    data += chunk
                    if len(data) > ANSWER_BYTES_MAX:
                        raise WorldError(f"{self._url}: an answer of too many bytes")
                return answer.status, data, answer.content_type
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise WorldError(f"{self._url}: {reason}", is_retryable=True) from error

    async def close(self) -> None:
        """End the connection."""
        if self._session is not None:
            await self._session.close()
