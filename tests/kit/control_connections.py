"""Who can be reached inside TCP, without an engine? Trains that were sent wait to be looked at."""

from __future__ import annotations

from weave_py.datapath.tcp_tunnel import TcpTunnel
from weave_py.model.names import PeerName
from weave_py.wire.messages import (
    MAX_MESSAGE_BYTES,
    Train,
    decode_message_untrusted,
    encode_message,
)


class Stream:
    waiting = 0


class ControlConnections:
    """Connections by neighbour, as an engine has them; trains that were sent wait in `sent`."""

    def __init__(self) -> None:
        self.numbers: dict[PeerName, int] = {}
        self.sent: list[tuple[PeerName, Train]] = []
        self.carried = 0

    def stream_to(self, neighbour: PeerName) -> int | None:
        return self.numbers.get(neighbour)

    def send_train(self, neighbour: PeerName, size: int, datagrams: bytes) -> None:
        message = encode_message(Train(size, datagrams))
        assert len(message) <= MAX_MESSAGE_BYTES
        decoded = decode_message_untrusted(message)
        assert isinstance(decoded, Train)
        self.sent.append((neighbour, decoded))

    def carry_out(self) -> None:
        self.carried += 1

    def tunnel(self, stream: Stream) -> TcpTunnel:
        """The daemon's sender inside these connections; number 1 is this stream."""
        return TcpTunnel(self, {1: stream}, self.carry_out)
