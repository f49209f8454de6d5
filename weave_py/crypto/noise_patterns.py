"""Which messages does a Noise protocol exchange, and what is in each?

The interactive patterns we use (Noise Protocol Framework, revision 34, §7.5), each with at most one
pre-shared key (§9), and protocol names (§8).

    XX    initiator                          responder        KK    initiator         responder
           e                            -->                          s   -->          (known before)
                                        <--  e, ee, s, es                <--   s      (known before)
           s, se                        -->                          e, es, ss  -->
                                                                                <--   e, ee, se
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Pattern:
    """Whose static keys are known beforehand, and the tokens of each message, initiator first."""

    initiator_known: bool
    responder_known: bool
    messages: tuple[tuple[str, ...], ...]

    @property
    def needs_psk(self) -> bool:
        return any("psk" in tokens for tokens in self.messages)

    def sends_static(self, *, initiator: bool) -> bool:
        """Whether that side's static key travels inside the handshake."""
        return any("s" in tokens for tokens in self.messages[0 if initiator else 1 :: 2])

    def with_psk(self, place: int) -> Pattern:
        """psk0 opens the first message; psk1, psk2 … close the first, second … (§9.4)."""
        messages = list(self.messages)
        if place > len(messages):
            raise ValueError(f"pattern has {len(messages)} messages: no place for psk{place}")
        if place == 0:
            messages[0] = ("psk", *messages[0])
        else:
            messages[place - 1] = (*messages[place - 1], "psk")
        return replace(self, messages=tuple(messages))


_PATTERNS = {
    "NN": Pattern(False, False, (("e",), ("e", "ee"))),
    "XX": Pattern(False, False, (("e",), ("e", "ee", "s", "es"), ("s", "se"))),
    "KK": Pattern(True, True, (("e", "es", "ss"), ("e", "ee", "se"))),
    "IK": Pattern(False, True, (("e", "es", "s", "ss"), ("e", "ee", "se"))),
}
_PROTOCOL = re.compile(
    r"Noise_(?P<base>NN|XX|KK|IK)(psk(?P<psk>[0-3]))?"
    r"_25519_(?P<cipher>ChaChaPoly|AESGCM)_(?P<hash>BLAKE2s|SHA256)"
)


def parse_protocol(name: str) -> tuple[Pattern, str, str]:
    """A protocol name as pattern, cipher and hash; ValueError if it is not one of ours."""
    match = _PROTOCOL.fullmatch(name)
    if match is None:
        raise ValueError(f"not a Noise protocol we speak: {name!r}")
    pattern = _PATTERNS[match["base"]]
    if match["psk"]:
        pattern = pattern.with_psk(int(match["psk"]))
    return pattern, match["cipher"], match["hash"]
