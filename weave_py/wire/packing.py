"""How do structured values become bytes, and how much of what a stranger sends do we believe?

MessagePack, in a strict subset: nil, booleans, integers, floats, UTF-8 text, byte strings, arrays,
and maps with text or byte-string keys. Limits bound the work and memory a message may cost before
anybody looks at its meaning; the `as_*` functions then check one field each, so that a decoder
reads like the layout of its message.
"""

from __future__ import annotations

from typing import NoReturn

import msgpack

from weave_py.model.errors import WireError

MAX_DEPTH = 8
"""Containers inside one another; a bare number has depth 0."""
MAX_ARRAY = 4096
"""Items of one array."""
MAX_MAP = 64
"""Entries of one map."""
MAX_BYTES = 65536
"""Bytes of one string or byte string."""

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def pack(obj: object) -> bytes:
    """Encode; the same value always gives the same bytes (map entries in insertion order).

    TypeError or ValueError for what MessagePack cannot say. Limits are the reader's business.
    """
    packed: bytes = msgpack.packb(obj, use_bin_type=True)
    return packed


def unpack_untrusted(data: bytes | memoryview, *, max_bytes: int) -> object:
    """Decode exactly one value that fills `data`, of at most `max_bytes` bytes; else WireError.

    `max_bytes` is what bounds memory: a byte of input can cost some 74 bytes of objects.
    """
    if len(data) > max_bytes:
        raise WireError(f"message of {len(data)} bytes where at most {max_bytes} are allowed")
    try:
        value: object = msgpack.unpackb(
            data,
            raw=False,
            use_list=True,
            strict_map_key=True,
            max_array_len=MAX_ARRAY,
            max_map_len=MAX_MAP,
            max_str_len=MAX_BYTES,
            max_bin_len=MAX_BYTES,
            max_ext_len=0,
            ext_hook=_refuse_extension,
        )
    # The pure-Python decoder recurses where the C one counts, hence RecursionError.
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        # ExtraData's text holds the rest of the message: name the kind of error, quote nothing.
        raise WireError(f"not one well-formed message: {type(error).__name__}") from None
    _check_shape(value)
    return value


def unpack_first_untrusted(data: bytes, count: int, *, look_at: int) -> list[object]:
    """The first `count` items of the array that `data` is, without the rest being decoded: for a
    cheap look at who says something. Only the first `look_at` bytes are read. WireError if they
    are not there; what is behind them may be anything."""
    unpacker = msgpack.Unpacker(raw=False, max_bin_len=look_at, max_array_len=0, max_map_len=0)
    unpacker.feed(data[:look_at])
    try:
        if unpacker.read_array_header() < count:
            raise WireError("an array that is too short")
        items: list[object] = [unpacker.unpack() for _ in range(count)]
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(f"not an array of plain values: {type(error).__name__}") from None
    return items


def unpack_canonical_untrusted(data: bytes | memoryview, *, max_bytes: int) -> object:
    """`unpack_untrusted`, and refuse bytes other than `pack` would make of the value.

    For signed objects: rules out duplicate keys and padded encodings, so that one value has one
    signed form (but for the order of map entries, which is the signer's to choose).
    """
    value = unpack_untrusted(data, max_bytes=max_bytes)
    if pack(value) != data:
        raise WireError("message is not in canonical form (duplicate key or padded encoding)")
    return value


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    # An empty extension passes `max_ext_len=0`, so the hook has to refuse it.
    raise ValueError(f"extension type {code}")


def _check_shape(value: object) -> None:
    """Refuse deep nesting and foreign types; iterative, since depth is what is in doubt."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for item in level:
            if type(item) is list:
                below += item
            elif type(item) is dict:
                below += item.values()
            elif type(item) not in _SCALARS:
                raise WireError(f"message holds a {type(item).__name__}, which is never sent")
        if not below and not any(type(item) in (list, dict) for item in level):
            return
        level = below
    raise WireError(f"message is nested deeper than {MAX_DEPTH}")


def as_bytes(
    value: object, what: str, *, length: int | None = None, max_length: int | None = None
) -> bytes:
    """A byte string of exactly `length`, or at most `max_length`, bytes; else WireError."""
    if not isinstance(value, bytes):
        _refuse(what, "bytes", value)
    if length is not None and len(value) != length:
        raise WireError(f"{what} must be {length} bytes, not {len(value)}")
    if max_length is not None and len(value) > max_length:
        raise WireError(f"{what} must be at most {max_length} bytes, not {len(value)}")
    return value


def as_int(value: object, what: str, low: int, high: int) -> int:
    """An integer from `low` to `high`, both included; else WireError. A boolean is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(what, "an integer", value)
    if not low <= value <= high:
        raise WireError(f"{what} must be from {low} to {high}, not {value}")
    return value


def as_bool(value: object, what: str) -> bool:
    """A boolean; else WireError."""
    if not isinstance(value, bool):
        _refuse(what, "a boolean", value)
    return value


def as_text(value: object, what: str, max_length: int) -> str:
    """Text of at most `max_length` characters; else WireError."""
    if not isinstance(value, str):
        _refuse(what, "text", value)
    if len(value) > max_length:
        raise WireError(f"{what} must be at most {max_length} characters, not {len(value)}")
    return value


def as_list(value: object, what: str, max_length: int, *, at_least: int = 0) -> list[object]:
    """An array of `at_least` to `max_length` items of any type; else WireError.

    A decoder that takes more items than it reads lets later versions append some.
    """
    if not isinstance(value, list):
        _refuse(what, "an array", value)
    if len(value) > max_length:
        raise WireError(f"{what} must have at most {max_length} items, not {len(value)}")
    if len(value) < at_least:
        raise WireError(f"{what} must have at least {at_least} items, not {len(value)}")
    return value


def as_map(value: object, what: str) -> dict[str, object]:
    """A map whose keys are all text; else WireError."""
    if not isinstance(value, dict):
        _refuse(what, "a map", value)
    if not all(isinstance(key, str) for key in value):
        raise WireError(f"{what} must have text keys only")
    return value


def _refuse(what: str, wanted: str, value: object) -> NoReturn:
    raise WireError(f"{what} must be {wanted}, not {type(value).__name__}")
