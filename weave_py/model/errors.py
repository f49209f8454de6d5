"""The whole error tree. Misuse by our own code is ValueError or AssertionError, not in here."""

from __future__ import annotations


class WeaveError(Exception):
    """Anything we expect to go wrong; `str()` is one line that says what was wrong, what to do."""


class ConfigError(WeaveError):
    """A setting cannot be used: names the field, the value and what would be right."""


class StateError(WeaveError):
    """A file of the state directory cannot be read or written; it was left as it is."""


class HostError(WeaveError):
    """The kernel, or this host, refused something we need."""


class NotPermitted(WeaveError):
    """The operation needs rights the user does not have."""


class RouterNotRunning(WeaveError):
    """Nothing answers at the control address."""


class RouterElsewhere(RouterNotRunning):
    """A router runs, but nothing answers where we asked."""


class RequestRefused(WeaveError):
    """A router does not do what it is asked, in its own words; or what answers is no router."""


class PeerError(WeaveError):
    """The other side's fault; ends that connection (or drops that record) and nothing else."""


class WireError(PeerError):
    """Bytes that do not decode. The only thing a decoder (`*_untrusted`) may raise."""


class HandshakeError(PeerError):
    """A control or session handshake failed; the handshake object is finished."""


class AuthenticationError(PeerError):
    """A tag, signature or certificate did not verify."""
