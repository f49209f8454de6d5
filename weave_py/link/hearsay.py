"""How much is sent to where nobody has answered yet? Budgets: naming others is not to pay.

Where a peer is, it says itself; whoever else says so (a neighbour, a NAT, a datagram's source) is
no more sure. So anybody could have us probe a third party. Three things bound that, besides how
often a place is tried:

* By peer (`Credit`): at most GAIN times what it has said inside its session, and a little more. It
  would send more itself than it has us send. (RFC 9000, section 8.1, has the same factor.)
* By host, over all peers, until somebody answers from there: behind a NAT there may be many.
* Over all peers, while there is a direct path already: better ones are looked for at leisure.
"""

from __future__ import annotations

from weave_py.model.token_bucket import TokenBucket, TokenBuckets

GAIN = 3
CREDIT_BYTES = 8192  # all places of a record, in one volley and the next
CREDIT_PER_SECOND = 64.0  # … and, if it never says anything, one probe a second
HOST_PROBES, HOST_PROBES_PER_SECOND = 128, 8.0
MOST_HOSTS = 4096
SPARE_PROBES, SPARE_PROBES_PER_SECOND = 20, 0.2


class Hearsay:
    """The budgets that all links of a router share, in probes."""

    def __init__(self) -> None:
        self._hosts: TokenBuckets[str] = TokenBuckets(
            HOST_PROBES, HOST_PROBES_PER_SECOND, MOST_HOSTS
        )
        self._spare = TokenBucket(SPARE_PROBES, SPARE_PROBES_PER_SECOND)

    def answered(self, host: str) -> None:
        """Somebody is there."""
        self._hosts.forget(host)

    def take(self, host: str, is_spare: bool, now: float) -> bool:
        """Whether a probe may go there. `is_spare`: the peer is reached directly already."""
        if is_spare and not self._spare.has(now):
            return False
        if not self._hosts.of(host).take(now):
            return False
        return not is_spare or self._spare.take(now)


class Credit:
    """What one peer has us send to where it has not answered."""

    def __init__(self, shared: Hearsay) -> None:
        self._shared = shared
        self._bytes = TokenBucket(CREDIT_BYTES, CREDIT_PER_SECOND)

    def heard(self, size: int) -> None:
        """An authentic datagram came, of that many bytes."""
        self._bytes.give(GAIN * size)

    def answered(self, host: str) -> None:
        """It is there."""
        self._shared.answered(host)

    def take(self, host: str, size: int, is_spare: bool, now: float) -> bool:
        """Whether a probe of that many bytes may go there (see Hearsay.take)."""
        if not self._bytes.has(now, size) or not self._shared.take(host, is_spare, now):
            return False
        return self._bytes.take(now, size)
