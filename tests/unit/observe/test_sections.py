"""Is a section that is declared once seen everywhere?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.kit.api import Service
from weave_py.api.router_routes import router_routes
from weave_py.cli.show import PARTS
from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe.metrics import exposition
from weave_py.observe.report import ReportExtras, report
from weave_py.observe.section import Section
from weave_py.observe.sections import SECTIONS

SCHEMA = Path(__file__).parents[3] / "docs" / "report.schema.json"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: str(section.name))
def test_a_section_is_in_status_report_api_and_metrics(
    section: Section, snapshot: RouterSnapshot, extras: ReportExtras
) -> None:
    router = report(snapshot, extras, datetime(2031, 4, 5, tzinfo=UTC))["Router"]
    assert router[section.member] == section.json(snapshot)
    described = json.loads(SCHEMA.read_text())["properties"]["Router"]
    if "$ref" in described:
        described = json.loads(SCHEMA.read_text())["$defs"][described["$ref"].rpartition("/")[2]]
    assert section.member in described["properties"]
    assert section.member in described["required"]
    assert PARTS[section.name] == section.member
    routes = {(route.method, route.pattern) for route in router_routes(Service())}
    assert ("GET", f"/status/{section.name}") in routes
    assert section.text(snapshot).endswith("\n")
    assert all(f"# TYPE {metric.name} " in exposition(snapshot) for metric in section.metrics)


def test_names_are_given_once() -> None:
    assert len(PARTS) == len({section.member for section in SECTIONS}) == len(SECTIONS)
