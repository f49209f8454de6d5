"""One line an event, no secrets, no forged lines."""

from __future__ import annotations

import gc
import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.observe.log import LineFormatter, changed, configure, event, redact, unraisable


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logger = logging.getLogger("weave_py")
    before = (logger.handlers[:], logger.level, logger.propagate)
    configure("info", stream)
    yield stream
    logger.handlers[:], logger.level, logger.propagate = before


LOG = logging.getLogger("weave_py.test")


def test_a_line_has_level_time_message_and_fields(lines: io.StringIO) -> None:
    event(LOG, logging.INFO, "peer joined", peer="8a:3e(h 1)", rtt=0.00123, tries=2, why="")
    assert re.fullmatch(
        r'INFO \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z peer joined peer="8a:3e\(h 1\)" '
        r'rtt=0\.001 tries=2 why=""\n',
        lines.getvalue(),
    )


def test_levels_and_second_configuration(lines: io.StringIO) -> None:
    LOG.debug("unseen")
    configure("debug", lines)
    LOG.debug("seen")
    assert lines.getvalue().count("\n") == 1


def test_a_change_of_state_is_one_line_and_no_change_none(lines: io.StringIO) -> None:
    changed(LOG, "path", "relay", "relay", peer="x")
    assert lines.getvalue() == ""
    changed(LOG, "path", "relay", "direct", peer="x")
    assert lines.getvalue().endswith("path changed peer=x from=relay to=direct\n")


def test_secrets_are_redacted(lines: io.StringIO) -> None:
    event(LOG, logging.INFO, "options", password="hunter2", wg_token="hunter2", port=6783)
    assert "hunter2" not in lines.getvalue()
    assert "password=<redacted>" in lines.getvalue()
    assert redact({"password": None}) == {"password": None}


def test_a_traceback_follows_its_line(lines: io.StringIO) -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        LOG.exception("bug")
    first, *rest = lines.getvalue().splitlines()
    assert first.startswith("ERROR ")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "RuntimeError: boom"


@given(st.text(), st.text())
def test_nothing_forges_a_second_line(message: str, value: str) -> None:
    record = logging.LogRecord("weave_py", logging.INFO, "", 0, message, (), None)
    record.weave_fields = {"key": value}
    line = LineFormatter().format(record)
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_an_error_of_a_destructor_is_a_line(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Halfway:
        def __del__(self) -> None:
            raise AttributeError("never made")

    monkeypatch.setattr(sys, "unraisablehook", unraisable)
    made = Halfway()
    del made
    gc.collect()
    (line,) = lines.getvalue().splitlines()
    assert "error ignored" in line
    assert "never made" in line
    assert "Halfway.__del__" in line
