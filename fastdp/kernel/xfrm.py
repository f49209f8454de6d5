"""How do ESP states and policies get into the kernel, and out of it?

Over a raw NETLINK_XFRM socket, since no library has these messages. It works in any thread, and
sees the network namespace of the thread that made it. Calls take some 0.1 ms; the first state of
all may take longer, while the kernel loads its modules.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from ipaddress import ip_address
from types import TracebackType

from fastdp.esp.values import (
    AddPolicy,
    AddState,
    DeletePolicy,
    DeleteState,
    Operation,
    Policy,
    State,
    UpdatePolicy,
    XfrmTables,
    request_id,
)
from fastdp.kernel.xfrm_codec import (
    KEY_BYTES,
    decode_policy,
    decode_state,
    encode_policy,
    encode_policy_id,
    encode_state,
    encode_state_id,
)
from weave_py.host.refusal import refused
from weave_py.host.rtnl import NLM_F_CREATE, NLM_F_EXCL, NetlinkSocket
from weave_py.model.errors import HostError

# linux/netlink.h, linux/xfrm.h
_NETLINK_XFRM = 6
_NEWSA, _DELSA, _GETSA = 0x10, 0x11, 0x12
_NEWPOLICY, _DELPOLICY, _GETPOLICY, _UPDPOLICY = 0x13, 0x14, 0x15, 0x19

_PATIENCE = 30.0
"""Seconds. The kernel answers before the call returns; but first it may have modules to load."""

_NO_ESP = (errno.ENOSYS, errno.ENOENT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT)
_TEST_PORT = 9  # discard; the state of the trial seals nothing anyway
_TEST_ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}


class Xfrm:
    """The socket; a context manager. Every method raises HostError when refused."""

    def __init__(self) -> None:
        try:
            self._socket = NetlinkSocket(_NETLINK_XFRM, _PATIENCE)
        except OSError as error:
            if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
                raise _no_esp("cannot talk to the kernel about ESP") from None
            raise refused("cannot talk to the kernel about ESP", error.errno) from None

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Xfrm:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self) -> XfrmTables:
        """All states and policies that are ours."""
        return XfrmTables(frozenset(self.states()), frozenset(self.policies()))

    def states(self) -> list[State]:
        found = map(decode_state, self._dump(_GETSA, "cannot list ESP states"))
        return [state for state in found if state is not None]

    def policies(self) -> list[Policy]:
        found = map(decode_policy, self._dump(_GETPOLICY, "cannot list XFRM policies"))
        return [policy for policy in found if policy is not None]

    def apply(self, operation: Operation) -> None:
        """Do it. To delete what is gone already is fine; to add what is there is not."""
        match operation:
            case AddState(state, key):
                self._change(_NEWSA, encode_state(state, key), _state_text("add", state))
            case DeleteState(state):
                self._change(_DELSA, encode_state_id(state), _state_text("delete", state))
            case AddPolicy(policy):
                self._change(_NEWPOLICY, encode_policy(policy), _policy_text("add", policy))
            case UpdatePolicy(policy):
                self._change(_UPDPOLICY, encode_policy(policy), _policy_text("change", policy))
            case DeletePolicy(policy):
                body = encode_policy_id(policy.selector)
                self._change(_DELPOLICY, body, _policy_text("delete", policy))

    def _change(self, kind: int, body: bytes, doing: str) -> None:
        adds = kind in (_NEWSA, _NEWPOLICY)
        try:
            self._socket.change((kind, NLM_F_CREATE | NLM_F_EXCL if adds else 0, body))
        except OSError as error:
            is_gone = error.errno in (errno.ENOENT, errno.ESRCH)
            if not (is_gone and kind in (_DELSA, _DELPOLICY)):
                words = "; ".join(getattr(error, "__notes__", ()))
                raise _refusal(doing, error.errno, words, is_state=kind == _NEWSA) from None

    def _dump(self, kind: int, doing: str) -> list[bytes]:
        try:
            return self._socket.dump(kind, b"")
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                there = "there are too many (`ip xfrm` shows whose they are)"
                raise HostError(f"{doing}: {there}") from None
            raise refused(doing, error.errno) from None


def kernel_has_esp(versions: Iterable[int] = ()) -> bool:
    """Whether this kernel does ESP the way we need it: a state is really added, and deleted.

    `versions` of IP: 4, and 6 where this host has IPv6, if not given. HostError when that could
    not be found out, for want of privileges most likely.
    """
    has_ipv6 = os.path.exists("/proc/net/if_inet6")
    for version in tuple(versions) or ((4, 6) if has_ipv6 else (4,)):
        source, destination = map(ip_address, _TEST_ENDS[version])
        state = State(destination, 0x100 | version, source, _TEST_PORT, request_id(_TEST_PORT))
        try:
            with Xfrm() as xfrm:
                xfrm.apply(DeleteState(state))  # of a trial that was cut short
                xfrm.apply(AddState(state, bytes(KEY_BYTES)))
                xfrm.apply(DeleteState(state))
        except NoEspError:
            return False
    return True


class NoEspError(HostError):
    """This kernel has no ESP, or not with AES-GCM."""


def _refusal(doing: str, code: int | None, words: str, *, is_state: bool) -> HostError:
    if is_state and code in _NO_ESP:
        return _no_esp(doing, words)
    if code == errno.EEXIST:
        return HostError(f"{doing}: another program has one there (`ip xfrm` shows it)")
    error = refused(doing, code)
    return HostError(f"{error} ({words})") if words else error


def _no_esp(doing: str, words: str = "") -> NoEspError:
    return NoEspError(
        f"{doing}: this kernel has no ESP with AES-GCM{f' ({words})' if words else ''}: "
        "load the modules xfrm_user, esp4, esp6, gcm, seqiv and drbg, or take a kernel with them"
    )


def _state_text(verb: str, state: State) -> str:
    return f"cannot {verb} ESP state {state.spi:#010x} to {state.destination}"


def _policy_text(verb: str, policy: Policy) -> str:
    selector = policy.selector
    way = "from" if selector.direction == 0 else "to"
    network = selector.source if selector.direction == 0 else selector.destination
    return f"cannot {verb} XFRM policy for VXLAN {way} {network}, port {selector.port}"
