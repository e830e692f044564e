"""Whatever a log's owner sends, with the key, a witness never cosigns two histories."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from herz.commit.audit.tree import consistency_proof
from herz.commit.audit.trust import parse_trust
from herz.commit.audit.witness import Request, WitnessServer
from tests.support.trust import SmallLog, cosigner, log_signer, trust_text
from tests.unit.commit.test_witness import Memory

SIGNER = log_signer(1)
LOGS = [SmallLog(24), *(SmallLog(24, fork_at=at) for at in (0, 7, 20))]
TRUST = parse_trust(trust_text(SIGNER).encode())

steps = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 24), st.integers(0, 24), st.integers(0, 3), st.booleans()
    ),
    max_size=12,
)


@given(steps)
def test_all_that_was_cosigned_is_one_growing_history(
    given_steps: list[tuple[int, int, int, int, bool]],
) -> None:
    witness = WitnessServer(cosigner(101), TRUST, Memory())
    cosigned: list[tuple[int, bytes]] = []
    for of, size, old, proof_of, is_known in given_steps:
        begin = cosigned[-1][0] if is_known and cosigned else old
        checkpoint = LOGS[of].checkpoint(size)
        proof = consistency_proof(LOGS[proof_of].nodes, min(begin, size), size)
        body = Request(begin, tuple(proof), SIGNER.sign(checkpoint.text).data).data
        if witness.answer(body, 1).status == 200:
            cosigned.append((size, checkpoint.root))
    assert [size for size, _ in cosigned] == sorted(size for size, _ in cosigned)
    whose = [
        log for log in LOGS if all(log.checkpoint(size).root == root for size, root in cosigned)
    ]
    assert whose
