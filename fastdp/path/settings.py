"""Which knobs do the path engines have? Times in seconds, and why they are what they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FastSettings:
    """All ours to tune but for the peer, which must not wait longer than its statuses' pace."""

    # Statuses: how long after the last one the next follows. A change is told at once.
    status_in_use: float = 0.1
    """Three reports show a standstill: a cut is left in about half a second under traffic. Twice
    as often would cost twice the CPU time, which the kernel needs for frames."""
    status_echo: float = 0.2
    """To a peer in use, while we are not. Fewer than `echo_steps` in `echo_within`, so that two
    idle ends never keep each other busy."""
    status_idle: float = 2.0
    longest_status_idle: float = 9.0
    """With many peers (model.load): what idle paths cost should not grow with their number. As
    rare as probes, each of which is acknowledged by a status anyway."""
    status_off: float = 30.0
    """Nothing depends on it: it only repairs the loss of what was told at once. With many peers it
    would be a good part of what an idle router has to do."""
    status_ack: float = 0.01
    """From a probe's arrival: its small and its full one are acknowledged together."""
    status_reply: float = 0.2
    """To a peer that has not heard of our incarnation, at most that often."""
    unheard: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)
    """The same to a peer that never sent one: its router may be older than fast paths."""
    overtaken: float = 5.0
    """Statuses of a past incarnation may come after the next one's for so long. Not for ever: if we
    took the wrong one for the older, we must find out."""
    echo_steps: int = 3
    echo_within: float = 0.4
    late: float = 0.02
    """Woken so much too late, we first read what waits: a status that does not know of probes in
    our own socket would be evidence of nothing but our sloth."""
    first_read: float = 0.01
    """… for so long."""

    # Probes.
    probe_proving: float = 0.1
    probe_in_use: float = 0.1
    probe_idle: float = 2.0
    longest_probe_idle: float = 9.0
    """With many peers. Traffic is worth a probe at once, so an idle path loses nothing by it."""
    probe_suspect: float = 0.02
    """Once one is missing: two more decide."""
    touch_after: float = 0.25
    """Any packet after a pause is worth a probe, but not more often."""
    burst: int = 3
    """Probes that are sent before their answers are waited for."""
    backoff: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)
    """Between bursts that nobody answers. Never given up."""
    proving_tries: int = 30
    """Answered, but not in a row: a lossy path is left alone after that many, for a pause."""
    mtu_retry: tuple[float, ...] = (2.0, 5.0, 10.0, 30.0, 60.0)
    """Full-sized frames do not pass: until we try again, ever more rarely, for an underlay's MTU
    seldom changes back."""
    hear_again: float = 5.0
    """The peer's probes arrive after a silence like this: ours might, too."""
    longest_hear_again: float = 12.0
    """With many peers; more than the longest pause between an idle path's probes."""

    # Proof and evidence.
    proof_small: int = 3
    """In a row; and one full-sized."""
    misses: int = 3
    stall_reports: int = 3
    long_miss: float = 3.0
    """Packets arrive but probes do not, for so long: what arrives is damaged, or not ours."""
    first_patience: float = 0.3
    least_patience: float = 0.08
    """How late a probe may be acknowledged, at the least: schedulers and queues are late, too."""
    most_patience: float = 2.0
    lively: float = 3.0
    """Without a status for so long there is nobody to convince: probes and statuses slow down."""
    longest_lively: float = 12.0
    """With many peers; more than the longest pause of an idle path's statuses."""

    # Traffic.
    in_use: float = 3.0
    """How long after traffic a path counts as in use; as long as the sleeve's (link.link)."""
    stray_packets: int = 3
    """So few packets are no use (a lone ARP request goes to every peer)."""
    sample_in_use: float = 0.1
    sample_idle: float = 0.25
    longest_sample_idle: float = 1.0
    """How long traffic may go on until we know; one reading of all devices."""

    # Hold-down: a path that fell comes back after `hold_down`, twice as long per fall within
    # `fall_memory`, so that a path that flaps costs its containers ever less.
    hold_down: float = 1.0
    longest_hold_down: float = 60.0
    fall_memory: float = 300.0

    follow_after: float = 10.0
    """The sleeve prefers another address for so long: then so do we. A path in use is not left
    for a whim of measurements."""
    keep_key: float = 30.0
    """An inbound ESP key is kept so long after the peer could have learned of a newer one: many
    times what the statuses need of a path that is not off."""
    keep_keys: int = 4
    """Inbound ESP keys at a time."""
    orphan_after: float = 120.0
    """An adopted path whose peer never appeared is given up, unless packets arrive on it."""
    alive: float = 30.0
    """Packets arrived so lately: somebody still sends to us through the kernel."""
