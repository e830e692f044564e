"""What proof costs: the tree, signatures, checking one proof; each beside its bare primitive.

Run from the repository's root, on an idle machine:

    PYTHONPATH=src python -m bench.micro.bench_audit_trust

Prints the least and the median of ROUNDS rounds in wall time; peers take turns with what they are
beside. The rows of a TPM need swtpm and tpm2-pytss, and are left out without them; swtpm is a
program, no chip: real ones give 5 to 50 signatures a second.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha3_384, sha256
from pathlib import Path
from statistics import median
from time import perf_counter_ns

from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.entry import Step, encode, seal
from herz.commit.audit.proof import check_proof, covering, make_proof
from herz.commit.audit.tree import Nodes, Tree, inclusion_proof, leaf_hash, root_of
from herz.commit.audit.trust import parse_trust
from herz.front.vouched import checkpoint_of, hashes_of
from herz.model.journal import Kind
from herz.world.signer.tpm import HANDLE_DEFAULT, Tpm
from herz.world.store.files import Reader
from herz.world.store.notes import framed
from tests.support.tpm import missing, software_tpm
from tests.support.trust import ORIGIN, cosigned, cosigner, log_signer, soft_key, trust_text

ROUNDS = 7
ENTRIES = 200_000
SIGNATURES = 200
JOURNAL = 1_000_000
CHECKPOINTS = 10_000
PROOFS = 20

Sign = Callable[[bytes], bytes]
LEAVES = [index.to_bytes(50, "big") for index in range(ENTRIES)]


def bare_hashing() -> None:
    """The floor of the tree: two SHA-256 an entry, of a leaf's and of a node's length."""
    pair = bytes(64)
    for leaf in LEAVES:
        sha256(b"\x00" + leaf).digest()
        sha256(b"\x01" + pair).digest()


def appending() -> None:
    """Leaf hash and append of every entry, and a root each thousand."""
    tops: list[tuple[int, bytes]] = []
    tree = Tree(on_tile_hash=lambda level, found: tops.append((level, found)))
    for number, leaf in enumerate(LEAVES):
        tree.append(leaf_hash(leaf))
        if number % 1000 == 999:
            tree.root()


def proof_case() -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
    """Making a proof in a tree of ENTRIES, checking it, and its four signatures alone."""
    signer, witnesses = log_signer(1, has_p384=True), [cosigner(101), cosigner(102)]
    entry = seal(Kind.STEP, encode(Step(limit=1, now_ns=7)), b"s" * 32)
    nodes = Nodes(leaf_hash(leaf) for leaf in [entry.leaf, *LEAVES[1:]])
    text = Checkpoint(ORIGIN, ENTRIES, root_of(nodes, ENTRIES)).text
    note = cosigned(signer.sign(text), *witnesses)
    trust = parse_trust(trust_text(signer, *witnesses).encode())
    data = make_proof(0, entry, nodes, note.data).data
    keys = [*signer.keys, *(each.key for each in witnesses)]

    def make() -> None:
        for index in range(100):
            inclusion_proof(nodes, index * 1999, ENTRIES)

    def check() -> None:
        for _ in range(100):
            check_proof(data, trust)

    def verify() -> None:
        for _ in range(100):
            note.verified(keys)

    return make, check, verify


@contextmanager
def journal_case() -> Iterator[Callable[[], None]]:
    """Proving entries of a journal of JOURNAL entries and CHECKPOINTS checkpoints from its files.

    A checkpoint in a hundred is cosigned. Each proof begins with nothing in memory but the entry.
    """
    signer, witness = log_signer(1), cosigner(101)
    trust = parse_trust(trust_text(signer, witness).encode())
    chosen = range(17, JOURNAL - JOURNAL // 100, JOURNAL // PROOFS)
    entries = {at: seal(Kind.STEP, encode(Step(limit=1, now_ns=at)), b"s" * 32) for at in chosen}
    levels: dict[int, list[bytes]] = {0: []}
    tree = Tree(on_tile_hash=lambda level, found: levels.setdefault(level, []).append(found))
    notes: list[bytes] = []
    for at in range(JOURNAL):
        leaf = leaf_hash(entries[at].leaf if at in entries else at.to_bytes(50, "big"))
        levels[0].append(leaf)
        tree.append(leaf)
        if tree.size % (JOURNAL // CHECKPOINTS) == 0:
            note = signer.sign(Checkpoint(ORIGIN, tree.size, tree.root()).text)
            is_cosigned = len(notes) % 100 == 99
            notes.append((cosigned(note, witness) if is_cosigned else note).data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("segments", "tiles"):
            (folder / part).mkdir()
        for level, hashes in levels.items():
            (folder / "tiles" / str(level)).write_bytes(b"".join(hashes))
        (folder / "checkpoints").write_bytes(b"".join(map(framed, notes)))

        def prove() -> None:
            for at, entry in entries.items():
                reader = Reader(folder)
                note = covering(reader.notes(), at, trust)
                checkpoint = checkpoint_of(note)
                read = hashes_of(reader, checkpoint.size, checkpoint.root)
                make_proof(at, entry, read, note)

        yield prove


@contextmanager
def signing_cases() -> Iterator[dict[str, Sign]]:
    """What signs a message, by name."""
    signers: dict[str, Sign] = {
        "sign Ed25519, key file": soft_key(1).sign,
        "sign P-384, key file": soft_key(1, "ecdsa-p384-sha3-384").sign,
    }
    if missing():
        print(f"no TPM: {missing()}")
        yield signers
        return
    with software_tpm() as tcti:
        tpm = Tpm(tcti)
        tpm.create(HANDLE_DEFAULT, b"a" * 32)
        tpm.create(HANDLE_DEFAULT + 1, b"a" * 32, is_restricted=True)

        def sign(message: bytes) -> bytes:
            return tpm.sign(HANDLE_DEFAULT, b"a" * 32, sha3_384(message).digest())

        def quote(message: bytes) -> bytes:
            return tpm.quote(HANDLE_DEFAULT + 1, b"a" * 32, sha3_384(message).digest()).signature

        yield {**signers, "sign P-384, swtpm": sign, "quote, swtpm": quote}
        tpm.close()


def timed(work: Callable[[], object]) -> int:
    """Nanoseconds of one round."""
    start = perf_counter_ns()
    work()
    return perf_counter_ns() - start


def show(name: str, rounds: list[int], count: int) -> None:
    """One row."""
    low, middle = min(rounds) / count, median(rounds) / count
    print(f"{name:34s} {low / 1000:10.2f} {middle / 1000:10.2f} us {1e9 / middle:12,.0f}/s")


def main() -> None:
    """Measure all, peers in turn."""
    print(f"{platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(f"{'':34s} {'least':>10s} {'median':>10s}")
    make, check, verify = proof_case()
    cases: dict[str, tuple[Callable[[], object], int]] = {
        "two bare SHA-256 an entry": (bare_hashing, ENTRIES),
        "tree: leaf hash and append": (appending, ENTRIES),
        f"make a proof of {ENTRIES:,}": (make, 100),
        "its four signatures alone": (verify, 100),
        "check the proof": (check, 100),
    }
    with signing_cases() as signers, journal_case() as prove:
        cases[f"prove one of {JOURNAL:,} from files"] = (prove, PROOFS)
        for name, sign in signers.items():

            def work(sign: Sign = sign) -> None:
                for number in range(SIGNATURES):
                    sign(b"%d" % number)

            cases[name] = (work, SIGNATURES)
        rounds: dict[str, list[int]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, (work_of, _count) in cases.items():
                rounds[name].append(timed(work_of))
    for name, (_, count) in cases.items():
        show(name, rounds[name], count)


if __name__ == "__main__":
    main()
