"""What does the host's own firewall do with the frames of our bridge?"""

from __future__ import annotations

from dataclasses import dataclass

HOST_FIREWALL = "host-firewall"
"""Reason code: frames that the bridge carries are dropped on this host."""


@dataclass(frozen=True, slots=True)
class FirewallView:
    """As found when it was looked at last."""

    dropped: tuple[int, ...] = ()
    """IP versions whose frames do not pass between ports of the bridge."""
    detail: str = "not looked at yet"
    """What was found or done; when something is dropped, by whom and what helps."""

    @property
    def code(self) -> str:
        """The reason code; empty if all passes."""
        return HOST_FIREWALL if self.dropped else ""

    @property
    def text(self) -> str:
        """One line, with the code if there is one."""
        return f"{self.code}: {self.detail}" if self.code else self.detail
