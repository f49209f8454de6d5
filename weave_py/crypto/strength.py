"""Is a password strong enough? A rough guess, to advise with, never to decide with."""

from __future__ import annotations

import math
import re

WANTED_BITS = 50

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_WORD_BITS = 12.9
"""A random word of a list of 7,776 (diceware)."""
_WORD_LETTERS = 6
"""Longer runs of letters count as several words: `correcthorsebattery` is three."""
_LETTER_BITS = math.log2(26)
_DIGIT_BITS = math.log2(10)
_SYMBOL_BITS = 5.0
_PREDICTABLE_BITS = 1.0


def password_strength_warning(password: str) -> str | None:
    """One line of advice if the password looks weaker than some 50 bits; None if it is fine."""
    bits = _estimate_bits(password)
    if bits >= WANTED_BITS:
        return None
    return (
        f"password looks weak (about {bits:.0f} bits, {WANTED_BITS} wanted):"
        " use five or more random words, or 16 or more random letters and digits"
    )


def _estimate_bits(password: str) -> float:
    """Entropy of the password if it was drawn piece by piece: words, digits, symbols.

    Letters in a row are taken for words, since people choose words; a repeated word or a character
    that repeats or continues the one before it (`aaa`, `1234`) adds next to nothing.
    """
    core = [b for a, b in zip("\0" + password, password, strict=False) if abs(ord(a) - ord(b)) > 1]
    bits = (len(password) - len(core)) * _PREDICTABLE_BITS
    text = "".join(core)
    for word in set(_WORD.findall(text)):
        as_letters = len(word) * _LETTER_BITS + 1
        as_words = math.ceil(len(word) / _WORD_LETTERS) * _WORD_BITS
        bits += min(as_letters, as_words)
    rest = _WORD.sub("", text)
    return bits + sum(_DIGIT_BITS if char.isdecimal() else _SYMBOL_BITS for char in rest)
