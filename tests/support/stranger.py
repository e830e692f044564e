"""A checker of proofs that somebody else could have written from docs/reference/proof.md alone.

It shares no code with Herz: the standard library and `cryptography`. Run it as a program, or call
`check`; it raises ValueError, or InvalidSignature, where a proof does not hold.
"""

import base64
import sys
import tomllib
from hashlib import sha3_384, sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA3_384

ED25519, COSIGNATURE, P384 = b"\x01", b"\x04", b"\xffherz.dev/ecdsa-p384-sha3-384/v1\n"
LENGTHS = {ED25519: (32, 64), COSIGNATURE: (32, 72), P384: (97, 96)}


def need(fact: bool) -> None:
    if not fact:
        raise ValueError("the proof does not hold")


def number(text: str) -> int:
    need(text.isascii() and text.isdigit() and str(int(text)) == text)
    return int(text)


def unbase64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text)
    return data


def key_of(text: str) -> tuple[tuple[str, bytes], bytes, bytes]:
    name, key_id, material = text.split("+", 2)
    data = base64.b64decode(material)
    kind = next(k for k, (size, _) in LENGTHS.items() if data[:-size] == k)
    need(sha256(f"{name}\n".encode() + data).digest()[:4] == bytes.fromhex(key_id))
    return (name, bytes.fromhex(key_id)), kind, data[len(kind) :]


def verify(kind: bytes, public: bytes, text: bytes, signature: bytes) -> None:
    need(len(signature) == LENGTHS[kind][1])
    if kind == P384:
        r, s = int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), public)
        point.verify(utils.encode_dss_signature(r, s), text, ec.ECDSA(SHA3_384()))
        return
    if kind == COSIGNATURE:
        time_s = int.from_bytes(signature[:8], "big")
        need(0 < time_s < 2**63)
        text, signature = f"cosignature/v1\ntime {time_s}\n".encode() + text, signature[8:]
    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, text)


def check(proof: bytes, trust: bytes) -> bytes:
    """What the proved entry says: its payload."""
    head, blank, note = proof.decode().partition("\n\n")
    text, blank_too, lines = note.rpartition("\n\n")
    need(bool(blank and blank_too) and lines.endswith("\n"))
    header, extra, index, *path = head.split("\n")
    need(header == "c2sp.org/tlog-proof@v1" and extra[:6] == "extra " and index[:6] == "index ")
    origin, size_text, root_text = text.split("\n")[:3]
    size, at, text = number(size_text), number(index[6:]), text + "\n"

    signatures = []
    for line in lines.removesuffix("\n").split("\n"):
        dash, name, blob = line.split(" ")
        need(dash == "\u2014")
        signatures.append(((name, unbase64(blob)[:4]), unbase64(blob)[4:]))
    trusted: dict[str, Any] = tomllib.loads(trust.decode())
    asked, signed = set(), set()
    for table in trusted["log"]:
        who, kind, public = key_of(table["key"])
        counts = table.get("from", 0) <= size < table.get("until", 2**62)
        if counts and table.get("origin", who[0]) == origin:
            asked.add(kind)
            for signature in (s for w, s in signatures if w == who):
                verify(kind, public, text.encode(), signature)
                signed.add(kind)
    need(bool(asked) and asked == signed)
    witnesses = set()
    for table in trusted.get("witness", []):
        who, kind, public = key_of(table["key"])
        for signature in (s for w, s in signatures if w == who):
            verify(kind, public, text.encode(), signature)
            witnesses.add(who)
    need(len(witnesses) >= trusted.get("quorum", 0))

    opened = unbase64(extra[6:])
    found = sha256(b"\x00" + opened[:2] + sha3_384(opened[2:]).digest()).digest()
    last = size - 1
    need(0 <= at < size and len(opened) >= 34)
    for sibling in map(unbase64, path):
        need(last > 0 and len(sibling) == 32)
        if at % 2 or at == last:
            found = sha256(b"\x01" + sibling + found).digest()
            while at and at % 2 == 0:
                at, last = at // 2, last // 2
        else:
            found = sha256(b"\x01" + found + sibling).digest()
        at, last = at // 2, last // 2
    need(last == 0 and found == unbase64(root_text))
    return opened[34:]


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as proof_file, open(sys.argv[2], "rb") as trust_file:
        sys.stdout.buffer.write(check(proof_file.read(), trust_file.read()) + b"\n")
