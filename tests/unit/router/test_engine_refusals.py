"""What follows a refusal in the same bytes must not matter, whoever sends it."""

from __future__ import annotations

from dataclasses import replace

from tests.kit.builders import identity, membership, place, record, signed, tokens
from weave_py.model.effects import LogEvent
from weave_py.model.names import PeerUID, parse_target
from weave_py.router.engine import Engine
from weave_py.router.outputs import CloseStream, Dial, Output, SendBytes

NOW = 10.0


def engine(number: int) -> Engine:
    return Engine(
        identity(number),
        membership(None),
        uid=PeerUID(number),
        incarnation=1,
        nickname=f"peer{number}",
        port=6783,
        suites=[1],
        token_bytes=tokens(number),
        now=NOW,
    )


def bytes_of(outputs: list[Output]) -> bytes:
    return b"".join(output.data for output in outputs if isinstance(output, SendBytes))


def test_a_refused_peers_first_words_come_with_its_welcome() -> None:
    """As they do: both are one write, and one read at the other end."""
    caller, callee = engine(1), engine(2)
    # Somebody else's key is known under the name: 48 bits can be searched for.
    taken = signed(2, replace(record(2), identity=b"another key"))
    caller.topology._live[callee.name] = taken
    caller.connect([parse_target("192.0.2.2")], NOW)
    (dial,) = [output for output in caller.take_outputs() if isinstance(output, Dial)]
    assert callee.accepted(place(1), NOW) == 1
    caller.dialled(dial.connection, place(2), NOW)
    outputs = caller.take_outputs()
    for _ in range(10):
        callee.received(1, bytes_of(outputs), NOW)
        answer = bytes_of(callee.take_outputs())
        caller.received(dial.connection, answer, NOW)
        outputs = caller.take_outputs()
        if any(isinstance(output, CloseStream) for output in outputs):
            break
    errors = [str(o.fields.get("error")) for o in outputs if isinstance(o, LogEvent)]
    assert any("another key" in error for error in errors)
    assert not caller.neighbours.names()
    assert callee.neighbours.names(), "it has already said what a neighbour says"
