"""Is a claimed bridge seen by those who only look?"""

from __future__ import annotations

from weave_py.host.locks import claim_bridge, is_claimed


def test_a_claim_is_seen_while_it_lasts() -> None:
    with claim_bridge("wv-test-claim"):
        assert is_claimed("wv-test-claim")
        assert is_claimed("wv-test-claim")  # looking claimed nothing
        assert not is_claimed("wv-test-clai")
        assert not is_claimed("test-claim")
    assert not is_claimed("wv-test-claim")
