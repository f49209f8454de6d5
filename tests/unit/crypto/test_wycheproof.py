"""Do the primitives withstand Project Wycheproof's known attacks, called as we call them?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto.exchange import shared_secret_untrusted
from weave_py.crypto.identity import verify_bare_untrusted
from weave_py.crypto.suites import NONCE_BYTES, TAG_BYTES, Suite, hkdf_sha256
from weave_py.model.errors import AuthenticationError, HandshakeError

Load = Callable[[str], Any]
unhex = bytes.fromhex


def cases(document: Any) -> Iterator[tuple[Any, Any]]:
    for group in document["testGroups"]:
        for case in group["tests"]:
            yield group, case


@pytest.mark.parametrize(
    ("file", "suite", "valid", "invalid"),
    [
        ("wycheproof-aes_gcm.json", Suite.AES_256_GCM, 39, 27),
        ("wycheproof-chacha20_poly1305.json", Suite.CHACHA20_POLY1305, 256, 60),
    ],
)
def test_aead(file: str, suite: Suite, valid: int, invalid: int, vectors: Load) -> None:
    results: Counter[str] = Counter()
    for group, case in cases(vectors(file)):
        sizes = (group["keySize"], group["ivSize"], group["tagSize"])
        assert sizes == (256, NONCE_BYTES * 8, TAG_BYTES * 8)  # others are never used
        results[case["result"]] += 1
        aead = suite.new(unhex(case["key"]))
        nonce, aad = bytearray(unhex(case["iv"])), memoryview(unhex(case["aad"]))
        message, sealed = unhex(case["msg"]), unhex(case["ct"] + case["tag"])
        opened = bytearray(len(sealed) - TAG_BYTES)
        if case["result"] == "valid":
            out = bytearray(len(message) + TAG_BYTES)
            aead.encrypt_into(nonce, memoryview(message), aad, memoryview(out))
            assert out == sealed, case["tcId"]
            aead.decrypt_into(nonce, memoryview(sealed), aad, memoryview(opened))
            assert opened == message, case["tcId"]
        else:
            with pytest.raises(InvalidTag):
                aead.decrypt_into(nonce, memoryview(sealed), aad, memoryview(opened))
    assert results == {"valid": valid, "invalid": invalid}


def test_x25519(vectors: Load) -> None:
    agreed = refused = 0
    for _, case in cases(vectors("wycheproof-x25519.json")):
        private = X25519PrivateKey.from_private_bytes(unhex(case["private"]))
        expected = unhex(case["shared"])
        if any(expected):
            agreed += 1
            assert shared_secret_untrusted(private, unhex(case["public"])) == expected
        else:
            refused += 1
            with pytest.raises(HandshakeError):
                shared_secret_untrusted(private, unhex(case["public"]))
    assert (agreed, refused) == (487, 31)


def test_ed25519(vectors: Load) -> None:
    results: Counter[str] = Counter()
    for group, case in cases(vectors("wycheproof-ed25519.json")):
        results[case["result"]] += 1
        public = unhex(group["publicKey"]["pk"])
        if case["result"] == "valid":
            verify_bare_untrusted(public, unhex(case["msg"]), unhex(case["sig"]))
        else:
            with pytest.raises(AuthenticationError):
                verify_bare_untrusted(public, unhex(case["msg"]), unhex(case["sig"]))
    assert results == {"valid": 88, "invalid": 63}


def test_hkdf(vectors: Load) -> None:
    results: Counter[str] = Counter()
    for _, case in cases(vectors("wycheproof-hkdf_sha256.json")):
        results[case["result"]] += 1
        secret, info, salt = (unhex(case[name]) for name in ("ikm", "info", "salt"))
        if case["result"] == "valid":
            assert hkdf_sha256(secret, info, case["size"], salt=salt) == unhex(case["okm"])
        else:
            with pytest.raises(ValueError, match=r"length|large"):
                hkdf_sha256(secret, info, case["size"], salt=salt)
    assert results == {"valid": 83, "invalid": 3}
