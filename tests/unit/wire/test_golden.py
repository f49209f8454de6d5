"""Are the bytes on the wire still those that routers in the field read and write?

`tests/golden/*.hex` hold them, `tests/golden/MANIFEST` says what each is. A difference means that
this version does not understand the others: raise the protocol's version, keep the old file for
what is still to be read, and add one for the new bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.builders import neighbour, ourself, place, signed_record
from weave_py.crypto.identity import verify_untrusted
from weave_py.datapath.train_headers import TrainHeaders
from weave_py.mesh.ourself import RECORD_CONTEXT
from weave_py.model.close_codes import CloseCode
from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.gossip import (
    BUCKETS,
    Buckets,
    Digest,
    GossipMessage,
    Held,
    Records,
    RecordVersion,
    Summary,
    decode_gossip_untrusted,
    encode_gossip,
    record_key,
)
from weave_py.wire.messages import (
    ControlMessage,
    Goodbye,
    Gossip,
    Ping,
    Pong,
    Renewal,
    Train,
    Unicast,
    decode_message_untrusted,
    encode_message,
)
from weave_py.wire.preface import agree_untrusted, preface
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_MORE,
    HEADER_BYTES,
    parse_header,
    relay_prefix,
)
from weave_py.wire.stream import alert, frame
from weave_py.wire.topology import (
    Keys,
    Neighbour,
    SignedRecord,
    decode_record_untrusted,
    encode_dispute,
)

GOLDEN = Path(__file__).parents[2] / "golden"
NAME_A, NAME_B = PeerName(b"\x8a\x3e\x00\x11\x22\x33"), PeerName(b"\x02\xff\xfe\xfd\xfc\xfb")

MESSAGES: dict[str, ControlMessage] = {
    "message-ping": Ping(0x01020304),
    "message-pong": Pong(0xFFFF_FFFF),
    "message-goodbye": Goodbye("leaving the network", CloseCode.LEAVING),
    "message-gossip": Gossip("topology", b"\x00\x01\xfe\xff"),
    "message-unicast": Unicast("session", NAME_A, NAME_B, 32, b"\x00\x01\xfe\xff"),
    "message-train": Train(0x5C0, b"\x12\x20\xfe\xff"),
    "message-renewal": Renewal(1, b"\x00\x01\xfe\xff"),
}
FIRST, SECOND = (Keys(bytes((n,)) * 32, bytes((n + 1,)) * 32, bytes((n + 2,)) * 64) for n in (1, 4))
GOSSIP: dict[str, GossipMessage] = {
    "gossip-records": Records(((b"first body", b"\x01" * 64), (b"second body", b"\x02" * 64))),
    "gossip-digest": Digest(bytes(range(16))),
    "gossip-buckets": Buckets(tuple(bytes((n,)) * 16 for n in range(BUCKETS))),
    "gossip-summary": Summary(
        b"\x00\x3f",
        (
            Held(record_key(NAME_A), RecordVersion(1, 2), b"mark" * 4),
            Held(record_key(NAME_B, 0x0102), RecordVersion(2**63 - 1, 0), b"kram" * 4),
        ),
        (record_key(NAME_B),),
    ),
}


def full_record() -> SignedRecord:
    """As `mesh.ourself` makes it, with something in every field."""
    mine = ourself(1, incarnation=3)
    far = Neighbour(NAME_A, 60_000, False, False, Endpoint("2001:db8::1", 65535))
    mine.update([place(1), Endpoint("2001:db8::2", 6783)], [neighbour(2), far])
    return mine.signed


def train(prefix: bytes) -> bytes:
    headers = TrainHeaders(prefix, 3)
    headers.write(3, FLAG_CONTROL | FLAG_MORE, 0xDDCCBBAA, 0x0605_0403_0201, 0x1234)
    return bytes(headers.run)


OTHERS: dict[str, Callable[[], bytes]] = {
    "preface": preface,
    "stream-frame": lambda: frame(b"body"),
    "stream-alert": lambda: alert(1),
    "record-body": lambda: full_record().body,
    "record-dispute": lambda: encode_dispute(FIRST, SECOND),
    "record-signature": lambda: full_record().signature,
    "sleeve-header-train": lambda: train(b""),
    "sleeve-relayed-train": lambda: train(relay_prefix(NAME_A)),
}


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


@pytest.mark.parametrize("name", MESSAGES)
def test_control_messages(name: str) -> None:
    assert encode_message(MESSAGES[name]).hex() == golden(name).hex()
    assert decode_message_untrusted(golden(name)) == MESSAGES[name]


@pytest.mark.parametrize("name", GOSSIP)
def test_gossip(name: str) -> None:
    assert encode_gossip(GOSSIP[name]).hex() == golden(name).hex()
    assert decode_gossip_untrusted(golden(name)) == GOSSIP[name]


@pytest.mark.parametrize("name", OTHERS)
def test_other_bytes(name: str) -> None:
    assert OTHERS[name]().hex() == golden(name).hex()


def test_the_golden_record_is_read_and_verifies() -> None:
    body, signature = golden("record-body"), golden("record-signature")
    came = decode_record_untrusted(body, signature)
    assert came == full_record()
    verify_untrusted(came.record.identity, RECORD_CONTEXT, body, signature)
    assert came.record != signed_record(1).record


def test_the_golden_preface_is_agreed_with() -> None:
    assert agree_untrusted(golden("preface")) == 2


def test_the_golden_header_is_parsed() -> None:
    fields = [parse_header(golden("sleeve-header-train"), n * HEADER_BYTES) for n in range(3)]
    rest = 0x1234_0605_0403_0201
    assert fields == [
        (0x11, 0x05, 0, 0xDDCCBBAA, rest),
        (0x11, 0x05, 1, 0xDDCCBBAA, rest),
        (0x11, 0x07, 2, 0xDDCCBBAA, rest),
    ]


def test_the_manifest_names_every_file_and_no_other() -> None:
    lines = (GOLDEN / "MANIFEST").read_text().splitlines()
    listed = [line.split(maxsplit=1)[0] for line in lines if line and not line.startswith("#")]
    assert listed == sorted(file.name for file in GOLDEN.glob("*.hex"))
