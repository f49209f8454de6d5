"""Where does one control frame end in a byte stream? Length-prefixed frames, any chunking."""

from __future__ import annotations

from weave_py.model.errors import WireError

LENGTH_BYTES = 2
MAX_FRAME_BYTES = 0xFFFF

# A frame of length zero is an alert: one more byte says why the sender is about to close. It is
# never encrypted, so it is only a hint for the log.
ALERT_BYTES = 1


def frame(body: bytes) -> bytes:
    """`body` with its length in front; ValueError if empty or too long."""
    if not 0 < len(body) <= MAX_FRAME_BYTES:
        raise ValueError(f"a frame holds 1 to {MAX_FRAME_BYTES} bytes, not {len(body)}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def alert(code: int) -> bytes:
    """An alert frame; `code` is 1–255."""
    return bytes((0, 0, code))


class FrameReader:
    """Cuts a stream into frames. Feed bytes with `feed`, take `next_frame_untrusted`."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take_exactly(self, count: int) -> bytes | None:
        """The next `count` raw bytes (for what comes before the first frame), or None yet."""
        if len(self._buffer) < count:
            return None
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def next_frame_untrusted(self, limit: int = MAX_FRAME_BYTES) -> bytes | int | None:
        """A frame's body, the code of an alert, or None until more bytes have come.

        WireError if the frame announces more than `limit` bytes.
        """
        if len(self._buffer) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if length > limit:
            raise WireError(f"a frame of {length} bytes where at most {limit} are allowed")
        if length == 0:
            taken = self.take_exactly(LENGTH_BYTES + ALERT_BYTES)
            return None if taken is None else taken[-1]
        if len(self._buffer) < LENGTH_BYTES + length:
            return None
        taken = self.take_exactly(LENGTH_BYTES + length)
        assert taken is not None
        return taken[LENGTH_BYTES:]
