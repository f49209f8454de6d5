"""Does a state file come back exactly or not at all?"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.host.state.file import (
    MAX_BYTES,
    NewerFormatError,
    decode_payload,
    encode_payload,
    read_file,
    replace_file,
)
from weave_py.model.errors import StateError

SAMPLE = {"targets": ["host-1:6783", "[fd00::1]:6783", "höst"], "count": -12, "none": None}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_round_trip(value: object) -> None:
    assert decode_payload(encode_payload(value)) == value


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is"):
        decode_payload(data)


def test_every_truncation_is_refused_or_exact() -> None:
    data = encode_payload(SAMPLE)
    refused = 0
    for length in range(len(data)):
        try:
            assert decode_payload(data[:length]) == SAMPLE
        except ValueError:
            refused += 1
    assert refused == len(data) - 1  # all but the loss of the final newline


def test_every_change_of_a_byte_is_refused_or_exact() -> None:
    data = encode_payload(SAMPLE)
    accepted = 0
    for position in range(len(data)):
        for change in range(1, 256):
            damaged = bytearray(data)
            damaged[position] ^= change
            try:
                assert decode_payload(bytes(damaged)) == SAMPLE
                accepted += 1
            except ValueError:
                pass
    # Only white space in place of the newline, and the case of digits in "\\u00f6".
    assert accepted <= 8


def test_zeroed_tail_is_refused() -> None:
    data = encode_payload(SAMPLE)
    for length in range(len(data) - 1):
        with pytest.raises(ValueError, match="cut short"):
            decode_payload(data[:length] + bytes(len(data) - length))


@pytest.mark.parametrize("value", [float("nan"), (1, 2), {1: 2}, b"x", {"a": {1, 2}}])
def test_what_json_would_change_is_not_stored(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|compliant"):
        encode_payload(value)


def test_too_large_is_not_stored() -> None:
    with pytest.raises(ValueError, match="too large"):
        encode_payload("x" * MAX_BYTES)


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    with pytest.raises(ValueError, match="cut short or not JSON"):
        decode_payload(b"[" * 100_000 + b"]" * 100_000)


def test_other_format_is_named() -> None:
    data = encode_payload(1).replace(b'"format":1', b'"format":2')
    with pytest.raises(NewerFormatError, match="newer weave-py wrote it"):
        decode_payload(data)
    for odd in (b"0", b"true", b'"2"', b"1.5", b"null"):
        with pytest.raises(ValueError, match="its format is") as caught:
            decode_payload(data.replace(b'"format":2', b'"format":' + odd))
        assert type(caught.value) is ValueError


def test_a_changed_format_beside_a_changed_payload_is_damage() -> None:
    data = encode_payload(1).replace(b'"format":1', b'"format":2')
    with pytest.raises(ValueError, match="checksum does not match"):
        decode_payload(data.replace(b'"payload":1', b'"payload":2'))


def test_replace_and_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert read_file(path, private=True) is None
    replace_file(path, b"one")
    (tmp_path / ".x.json.new").write_bytes(b"left by a crash")
    replace_file(path, b"two")
    assert read_file(path, private=True) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "x.json").symlink_to(tmp_path / "secret")
    with pytest.raises(StateError, match="symbolic link"):
        read_file(tmp_path / "x.json", private=False)


def test_fifo_and_directory_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(StateError, match="not a regular file"):
            read_file(path, private=False)


def test_private_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    replace_file(path, b"secret")
    path.chmod(0o640)
    assert read_file(path, private=False) == b"secret"
    with pytest.raises(StateError, match=f"chmod 600 {path}"):
        read_file(path, private=True)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    replace_file(path, bytes(MAX_BYTES + 1))
    with pytest.raises(ValueError, match="too large"):
        read_file(path, private=False)


def test_what_the_disk_has_lost_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    replace_file(path, b"data")

    def fails(number: int) -> Callable[..., object]:
        def check(*_: object) -> object:
            raise OSError(number, os.strerror(number))

        return check

    monkeypatch.setattr("weave_py.host.state.file._check", fails(errno.EIO))
    with pytest.raises(ValueError, match="the disk cannot read it"):
        read_file(path, private=False)
    monkeypatch.setattr("weave_py.host.state.file._check", fails(errno.EACCES))
    with pytest.raises(StateError, match="cannot read"):
        read_file(path, private=False)


def test_failure_to_write_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot write"):
        replace_file(tmp_path / "missing" / "x.json", b"data")
    (tmp_path / "taken").mkdir()
    with pytest.raises(StateError, match="cannot write"):
        replace_file(tmp_path / "taken", b"data")  # rename onto a directory fails
    assert os.listdir(tmp_path) == ["taken"]
