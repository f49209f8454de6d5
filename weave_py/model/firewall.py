"""What does the host's own firewall do with the frames of our bridge, and do our rules stand?"""

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


UNGUARDED = "unguarded"
"""Reason code: rules of ours about what containers may do are not in force."""


@dataclass(frozen=True, slots=True)
class GuardView:
    """Whether the rules about what containers may do to hosts and each other are in force."""

    missing: tuple[str, ...] = ()
    """Why they are not, a sentence for each table."""

    @property
    def code(self) -> str:
        """The reason code; empty if all are."""
        return UNGUARDED if self.missing else ""

    @property
    def detail(self) -> str:
        return "; ".join(self.missing) or "in force"

    @property
    def text(self) -> str:
        """One line, with the code if there is one."""
        return f"{self.code}: {self.detail}" if self.code else self.detail
