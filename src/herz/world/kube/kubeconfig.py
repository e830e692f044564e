"""Where the API server is, and how it knows us: kubeconfig files, exec plugins, service accounts.

The official client package reads them; nothing else of it is used. It is slow to load and may run
a program, so all of it happens in a thread.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from herz.errors import ConfigError, WorldError

if TYPE_CHECKING:
    from kubernetes.client import Configuration

FRESH_SECONDS: Final = 30.0
"""How long a token is used before the package is asked whether it has run out."""
_IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect to, and as whom.

    Args:
        host: name or address.
        port: the port.
        prefix: of all paths; empty, or begins with a slash.
        server_name: the name that the certificate must have.
        tls: verifies the server and shows our certificate; None: no TLS, as behind a local proxy.
        authorization: the header's value; empty where a certificate, or nothing, says who we are.
    """

    host: str
    port: int
    prefix: str
    server_name: str
    tls: ssl.SSLContext | None
    authorization: str

    def __repr__(self) -> str:
        """Without credentials: this may reach a log."""
        return f"Endpoint({self.address})"

    @property
    def address(self) -> str:
        """The server's URL, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.prefix}"


class Access:
    """The endpoint, with credentials that are renewed as they run out.

    Args:
        path: the kubeconfig; None: `KUBECONFIG`, the pod's service account, or `~/.kube/config`.
        context: of the kubeconfig; None: its current one.

    Raises:
        ConfigError: there is no such file, or it cannot be used.
    """

    def __init__(self, path: Path | None = None, context: str | None = None) -> None:
        self._path = _chosen(path)
        self._context = context
        self._read()
        self._lock = asyncio.Lock()
        self._fresh_until = 0.0

    def _read(self) -> None:
        self._configuration = _loaded(self._path, self._context)
        self.endpoint = _endpoint(self._configuration, self._where)

    @property
    def _where(self) -> str:
        return "the service account" if self._path is None else str(self._path)

    async def current(self) -> Endpoint:
        """The endpoint with a token that has not run out.

        Raises:
            WorldError: the credentials cannot be renewed now.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._fresh_until:
            async with self._lock:
                if now >= self._fresh_until:
                    await self._refresh(_token_of, self._configuration)
                    self._fresh_until = asyncio.get_running_loop().time() + FRESH_SECONDS
        return self.endpoint

    async def renew(self, refused: str) -> bool:
        """Read everything again, for the server refused this authorization.

        Returns:
            Whether there is another one now.

        Raises:
            WorldError: the credentials cannot be renewed now.
        """
        async with self._lock:
            if self.endpoint.authorization == refused:
                old = self.endpoint
                await self._refresh(self._reread)
                return self.endpoint.authorization != refused or self.endpoint.tls is not old.tls
        return True

    def _reread(self) -> str:
        self._read()
        return self.endpoint.authorization

    async def _refresh(self, *call: object) -> None:
        function, *arguments = call
        assert callable(function), "it is one of the two above"
        try:
            authorization = await asyncio.to_thread(function, *arguments)
        except ConfigError as error:
            raise WorldError(f"credentials: {error}", is_retryable=True) from error
        except Exception as error:
            # The edge: the package and the plugin's output may raise anything.
            what = f"credentials of {self._where} cannot be renewed: {error}"
            raise WorldError(what, is_retryable=True) from error
        if authorization != self.endpoint.authorization:
            self.endpoint = replace(self.endpoint, authorization=authorization)


def _chosen(path: Path | None) -> Path | None:
    """The kubeconfig; None: the service account of the pod that this runs in."""
    if path is not None:
        return path
    named = os.environ.get("KUBECONFIG", "")
    if named:
        if os.pathsep in named:
            fix = "name one file with --kubeconfig"
            raise ConfigError("several files", where="KUBECONFIG", value=named, fix=fix)
        return Path(named)
    if os.environ.get(_IN_CLUSTER):
        return None
    return Path("~/.kube/config").expanduser()


def _loaded(path: Path | None, context: str | None) -> Configuration:
    # Imported here: the package takes a second to load, and only who goes live needs it.
    from kubernetes.client import Configuration  # noqa: PLC0415
    from kubernetes.config import load_incluster_config, load_kube_config  # noqa: PLC0415

    if path is not None and not path.is_file():
        fix = "name a kubeconfig with --kubeconfig or KUBECONFIG"
        raise ConfigError("no such kubeconfig", where="--kubeconfig", value=str(path), fix=fix)
    configuration = Configuration()
    configuration.proxy = None
    # The package has no types for these two.
    load: Callable[..., None] = load_incluster_config if path is None else load_kube_config
    given = () if path is None else (str(path), context)
    more = {} if path is None else {"persist_config": False}
    try:
        load(*given, client_configuration=configuration, **more)
    except Exception as error:
        # The edge: what is wrong with a kubeconfig, the package tells in many classes.
        where = "the pod's service account" if path is None else str(path)
        what = f"kubeconfig cannot be used: {error}"
        raise ConfigError(what, where=where, fix="mend it; kubectl reads the same file") from error
    return configuration


def _endpoint(configuration: Configuration, where: str) -> Endpoint:
    address = urlsplit(configuration.host)
    if address.scheme not in ("http", "https") or not address.hostname:
        fix = "write a URL such as https://127.0.0.1:6443"
        value = configuration.host
        raise ConfigError("not the URL of a server", where=where, value=value, fix=fix)
    if configuration.proxy:
        fix = "leave proxy-url out, or reach the server through a local proxy without one"
        raise ConfigError("proxies are not supported", where=where, fix=fix)
    tls = None
    if address.scheme == "https":
        tls = _tls(configuration, where)
    port = address.port or (443 if tls else 80)
    name = configuration.tls_server_name or address.hostname
    token = _token_of(configuration)
    if tls is not None and not token and not configuration.cert_file:
        # A plugin that failed is only logged by the package.
        fix = "give the user a token, a client certificate, or an exec plugin that works"
        raise ConfigError("no credentials", where=where, fix=fix)
    return Endpoint(address.hostname, port, address.path.rstrip("/"), name, tls, token)


def _tls(configuration: Configuration, where: str) -> ssl.SSLContext:
    if not configuration.verify_ssl:
        fix = "give certificate-authority, or tls-server-name where the name differs"
        what = "insecure-skip-tls-verify is refused: what schedules must know whom it obeys"
        raise ConfigError(what, where=where, fix=fix)
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    except (OSError, ValueError) as error:
        fix = "mend certificate-authority, client-certificate and client-key"
        raise ConfigError(f"certificates: {error}", where=where, fix=fix) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _token_of(configuration: Configuration) -> str:
    """The Authorization header's value; the package renews what has run out."""
    token = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return token or ""
