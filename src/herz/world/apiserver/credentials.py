"""What client and server trust each other by: an own CA, a certificate, a token, a kubeconfig.

All of it is made on the first start and lies in the data folder, readable by its owner alone. The
server's certificate is made anew when it is about to end, or does not name the address.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from herz.errors import WorldError
from herz.world.apiserver.registry.times import now

_CA_DAYS = 3650
_SERVER_DAYS = 365
_RENEW_DAYS = 30
_SKEW = timedelta(hours=1)
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files, as they lie in the data folder.

    Args:
        folder: the data folder.
        token: what clients bear.
    """

    folder: Path
    token: str

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.folder / "ca.crt"

    @property
    def kubeconfig(self) -> Path:
        """What kubectl and clients are told of the server."""
        return self.folder / "kubeconfig"

    def context(self) -> ssl.SSLContext:
        """The server's TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        return context

    def write_kubeconfig(self, host: str, port: int) -> None:
        """Say where the server is now."""
        shown = f"[{host}]" if ":" in host else host
        ca = b64encode(self.ca.read_bytes()).decode()
        cluster = {"server": f"https://{shown}:{port}", "certificate-authority-data": ca}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "herz", "cluster": cluster}],
            "users": [{"name": "herz", "user": {"token": self.token}}],
            "contexts": [{"name": "herz", "context": {"cluster": "herz", "user": "herz"}}],
            "current-context": "herz",
        }
        _write(self.kubeconfig, yaml.safe_dump(config, sort_keys=False).encode())


def credentials(folder: Path, host: str) -> Credentials:
    """The credentials of a data folder, made where they are missing.

    Args:
        folder: where they lie; made if it is missing.
        host: the address that clients will use.

    Raises:
        WorldError: the folder cannot be written, or holds what cannot be read.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        token_file = folder / "token"
        if not token_file.exists():
            _write(token_file, secrets.token_urlsafe(32).encode())
        made = Credentials(folder, token_file.read_text(encoding="ascii").strip())
        if not (folder / "ca.key").exists() or not made.ca.exists():
            _make_ca(folder)
        if not _is_good(folder / "server.crt", host):
            _make_server(folder, host)
    except (OSError, ValueError) as error:
        raise WorldError(f"the credentials in {folder} cannot be made or read: {error}") from error
    if not made.token:
        raise WorldError(f"{folder / 'token'} is empty; delete it to have a new one made")
    return made


def _make_ca(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "herz embedded cluster")])
    at = now()
    builder = _builder(name, name, key.public_key(), at, _CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(is_ca=True), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    _write(folder / "ca.key", _pem(key))
    _write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))
    # A certificate of an older CA would not be believed.
    (folder / "server.crt").unlink(missing_ok=True)


def _make_server(folder: Path, host: str) -> None:
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("ca.key is no key of an elliptic curve")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "herz-apiserver")])
    builder = _builder(name, authority.subject, key.public_key(), now(), _SERVER_DAYS)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(is_ca=False), critical=True)
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(purpose, critical=False)
    builder = builder.add_extension(
        x509.SubjectAlternativeName(_alternatives(host)), critical=False
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(issuer, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    _write(folder / "server.key", _pem(key))
    _write(folder / "server.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _is_good(path: Path, host: str) -> bool:
    """Whether the certificate is there, lasts for a while, and names the host."""
    if not path.exists() or not path.with_suffix(".key").exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.not_valid_after_utc < now() + timedelta(days=_RENEW_DAYS):
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(name in names for name in _alternatives(host))


def _alternatives(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
    for text in dict.fromkeys(("127.0.0.1", "::1", host)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            if text not in _NAMES:
                names.append(x509.DNSName(text))
    return names


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    at: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _SKEW)
        .not_valid_after(at + timedelta(days=days))
    )


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
