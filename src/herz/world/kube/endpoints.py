"""What a cluster and its operators ask of the scheduler over HTTP, as kube-scheduler answers it.

`/healthz`, `/livez`, `/readyz` with single checks below them and `?verbose`; `/metrics` and what is
below it in Prometheus' text form; `/configz`. The health paths are open to all, as probes have no
credentials; the others want a bearer token where one is set. Only GET, no bodies, TLS.
"""

from __future__ import annotations

import hmac
import ipaddress
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from herz.errors import ConfigError, WorldError

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECURE_PORT: Final = 10259
"""kube-scheduler's."""
_SELF_SIGNED_DAYS: Final = 365
_REQUEST_BYTES_MAX: Final = 8192

Check = Callable[[], str]
"""What is wrong, in words; empty where nothing is."""
Source = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Health:
    """The checks behind the three health paths, by kube-scheduler's names.

    Args:
        live: whether the process should go on; asked by `/livez` and `/healthz`.
        ready: whether it does its work.
    """

    live: Mapping[str, Check]
    ready: Mapping[str, Check]


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the endpoints listen, and with what.

    Args:
        host: the address.
        port: 0 for a free one.
        certificate: PEM file of the certificate; empty: a self-signed one is made.
        key: PEM file of its key.
        folder: where a self-signed certificate is kept; None: nowhere.
        token_file: whose content clients of `/metrics` and `/configz` must bear; empty: none.
    """

    host: str = "0.0.0.0"
    port: int = SECURE_PORT
    certificate: str = ""
    key: str = ""
    folder: Path | None = None
    token_file: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ConfigError(
                "a certificate without its key, or a key without its certificate",
                where="--tls-cert-file, --tls-private-key-file",
                value=self.certificate or self.key,
                fix="give both, or none for a self-signed one",
            )

    def context(self) -> ssl.SSLContext:
        """The TLS that it is served with.

        Raises:
            ConfigError: the files are no certificate and key.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.certificate:
            with tempfile.TemporaryDirectory(prefix="herz-serving-") as gone:
                context.load_cert_chain(*self_signed(self.folder or Path(gone), self.host))
            return context
        paths = (Path(self.certificate), Path(self.key))
        try:
            context.load_cert_chain(*paths)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the certificate cannot be used: {error}",
                where="--tls-cert-file, --tls-private-key-file",
                value=f"{paths[0]}, {paths[1]}",
                fix="give PEM files of a certificate and of its own key",
            ) from error
        return context

    def token(self) -> str:
        """What clients must bear; empty where they need not.

        Raises:
            ConfigError: the file cannot be read, or is empty.
        """
        if not self.token_file:
            return ""
        try:
            token = Path(self.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            token = ""
        if not token:
            raise ConfigError(
                "no token can be read there",
                where="--metrics-token-file",
                value=self.token_file,
                fix="put one line of ASCII into the file, and let this user read it",
            )
        return token


class Endpoints:
    """The server; made by `start_endpoints`."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port

    async def stop(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()


async def start_endpoints(
    serving: Serving, health: Health, sources: Mapping[str, tuple[Source, str]]
) -> Endpoints:
    """Serve them.

    Args:
        serving: where, and how.
        health: the checks.
        sources: by path, what gives the body, and its media type; they want the token.

    Raises:
        ConfigError: certificate or token cannot be used.
        WorldError: the address cannot be had.
    """
    app = make_app(health, sources, serving.token())
    tls = serving.context()
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, serving.host, serving.port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        text = f"cannot listen on {serving.host}:{serving.port}: {error.strerror or error}"
        raise WorldError(text) from error
    (address,) = runner.addresses[:1]
    return Endpoints(runner, int(address[1]))


async def start_inside(path: Path, sources: Mapping[str, tuple[Source, str]]) -> web.AppRunner:
    """Serve the sources on a Unix socket, for the guard of this process alone.

    Raises:
        WorldError: the socket cannot be made.
    """
    app = make_app(Health({}, {}), sources, "")
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
    except OSError as error:
        await runner.cleanup()
        raise WorldError(f"cannot listen on {path}: {error.strerror or error}") from error
    return runner


def make_app(
    health: Health, sources: Mapping[str, tuple[Source, str]], token: str
) -> web.Application:
    """The application behind the server."""
    app = web.Application(client_max_size=_REQUEST_BYTES_MAX)
    results = Results()
    for root, checks in (
        ("/healthz", health.live),
        ("/livez", health.live),
        ("/readyz", {**health.live, **health.ready}),
    ):
        kind = root[1:]
        watched = {name: results.watched(name, kind, check) for name, check in checks.items()}
        app.router.add_get(root, _all_of(kind, watched))
        for name, check in watched.items():
            app.router.add_get(f"{root}/{name}", _all_of(f"{kind}/{name}", {name: check}))
    shown = {"/metrics/slis": (results.text, METRICS_TYPE), **sources}
    for path, (source, media) in shown.items():
        app.router.add_get(path, _guarded(source, media, token))
    return app


class Results:
    """How the health checks ended, as Kubernetes' components show it at `/metrics/slis`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._last = Gauge(
            "kubernetes_healthcheck",
            "1 if the check passed when it was last asked.",
            ("name", "type"),
            registry=self._registry,
        )
        self._all = Counter(
            "kubernetes_healthchecks",
            "How often a check ended so.",
            ("name", "type", "status"),
            registry=self._registry,
        )

    def watched(self, name: str, kind: str, check: Check) -> Check:
        """The check, of which it is counted how it ends; `kind` is the path's name."""

        def asked() -> str:
            problem = check()
            self._last.labels(name, kind).set(not problem)
            self._all.labels(name, kind, "error" if problem else "success").inc()
            return problem

        return asked

    async def text(self) -> bytes:
        """In Prometheus' text form."""
        return generate_latest(self._registry)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _all_of(name: str, checks: Mapping[str, Check]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        excluded = request.query.getall("exclude", [])
        wrong = [each for each, check in checks.items() if each not in excluded and check()]
        lines = [
            _line(each, is_wrong=each in wrong, is_excluded=each in excluded) for each in checks
        ]
        if wrong:
            text = "\n".join((*lines, f"{name} check failed", ""))
            return web.Response(status=500, text=text)
        if "verbose" in request.query:
            return web.Response(text="\n".join((*lines, f"{name} check passed", "")))
        return web.Response(text="ok")

    return answer


def _line(name: str, *, is_wrong: bool, is_excluded: bool) -> str:
    if is_excluded:
        return f"[+]{name} excluded: ok"
    # As Kubernetes has it, who is not the operator is not told why; the log has the reason.
    return f"[-]{name} failed: reason withheld" if is_wrong else f"[+]{name} ok"


def _guarded(source: Source, media: str, token: str) -> Handler:
    expected = f"Bearer {token}".encode()

    async def answer(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if token and not hmac.compare_digest(given, expected):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        try:
            body = await source()
        except WorldError as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(body=body, headers={"Content-Type": media})

    return answer


def self_signed(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate of its own, and its key, put into the folder; as kube-scheduler has one.

    Raises:
        WorldError: the folder cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "herz-scheduler")])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    for text in dict.fromkeys(("127.0.0.1", "::1", host)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = (folder / "serving.crt", folder / "serving.key")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(private)
    except OSError as error:
        raise WorldError(f"cannot write {folder}: {error.strerror or error}") from error
    return paths
