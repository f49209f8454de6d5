"""The report is a contract: its names, its types, its schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe.report import ReportExtras, report

SCHEMA = Path(__file__).parents[3] / "docs" / "report.schema.json"
WALL = datetime(2031, 4, 5, 6, 7, 8, tzinfo=UTC)
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def complaints(value: object, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    """What a value has against a schema: the few keywords ours uses, unknown ones refused."""
    if "$ref" in schema:
        return complaints(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    known = {"type", "properties", "required", "additionalProperties", "items", "enum", "pattern",
             "description", "$schema", "$id", "$defs", "title", "minimum", "format"}  # fmt: skip
    assert set(schema) <= known, set(schema) - known
    names = schema.get("type", list(TYPES))
    types = [names] if isinstance(names, str) else names
    fits = any(
        isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
        for name in types
    )
    found = [] if fits else [f"{at}: {value!r} is not {types}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not one of {schema['enum']}")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at}: {value!r} does not match")
    if isinstance(value, int | float) and value < schema.get("minimum", value):
        found.append(f"{at}: {value!r} is too small")
    if isinstance(value, list):
        for number, item in enumerate(value):
            found += complaints(item, schema.get("items", {}), root, f"{at}[{number}]")
    if isinstance(value, dict):
        found += [
            f"{at}.{name} is missing" for name in schema.get("required", ()) if name not in value
        ]
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            if inner is False:
                found.append(f"{at}.{name} is not in the schema")
            else:
                found += complaints(item, inner, root, f"{at}.{name}")
    return found


@pytest.fixture(name="document")
def _document(snapshot: RouterSnapshot, extras: ReportExtras) -> dict[str, Any]:
    document = json.loads(json.dumps(report(snapshot, extras, WALL)))
    assert isinstance(document, dict)
    return document


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, but nothing may be in a document that it does not describe."""
    closed = {
        key: {name: strict(inner) for name, inner in value.items()}
        if key in ("properties", "$defs")
        else strict(value)
        if isinstance(value, dict)
        else value
        for key, value in schema.items()
    }
    return {"additionalProperties": False, **closed} if "properties" in schema else closed


def test_the_report_keeps_its_schema(document: dict[str, Any]) -> None:
    schema = strict(json.loads(SCHEMA.read_text()))
    assert complaints(document, schema, schema, "$") == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("Ready",), 1),
        (("Router", "Name"), "host1"),
        (("Router", "UID"), 7),
        (("Router", "Connections", 0, "State"), "well"),
        (("Router", "Paths", 0, "Kind"), "magic"),
        (("Router", "MACs", 0, "Age"), "old"),
    ],
)
def test_the_schema_can_say_no(
    document: dict[str, Any], path: tuple[str | int, ...], value: object
) -> None:
    schema = json.loads(SCHEMA.read_text())
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert len(complaints(document, schema, schema, "$")) == 1


def test_what_is_required_may_not_be_missing(document: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text())
    del document["Router"]["Peers"]
    assert complaints(document, schema, schema, "$") == ["$.Router.Peers is missing"]


def test_names_of_weave(document: dict[str, Any]) -> None:
    router = document["Router"]
    assert document["Ready"] is True
    assert router["Encryption"] is True
    assert router["Name"] == "8a:3e:3e:3e:3e:3e"
    assert router["TerminationCount"] == 4
    assert router["Connections"][0] == {
        "Address": "192.168.48.12:6783",
        "Outbound": True,
        "State": "established",
        "Info": "encrypted   sleeve 12:d2:48:0b:c6:52(host2)",
        "Attrs": {"encrypted": True, "mtu": 1376, "name": "sleeve"},
        "RetryIn": None,
    }
    assert router["Peers"][0]["Connections"][1]["Established"] is False
    assert router["MACs"][0]["LastSeen"] == "2031-04-05T06:07:06.500+00:00"


def test_a_uid_is_exact(document: dict[str, Any]) -> None:
    assert document["Router"]["UID"] == "18446744073709551615"


def test_routes_begin_with_ourself(document: dict[str, Any]) -> None:
    assert document["Router"]["UnicastRoutes"] == [
        {"Dest": "8a:3e:3e:3e:3e:3e", "Via": "00:00:00:00:00:00"},
        {"Dest": "12:d2:48:0b:c6:52", "Via": "12:d2:48:0b:c6:52"},
        {"Dest": "5e:15:9a:77:01:33", "Via": "12:d2:48:0b:c6:52"},
    ]


def test_empty_lists_are_lists(snapshot: RouterSnapshot, extras: ReportExtras) -> None:
    bare = replace(snapshot, targets=(), connections=(), peers=(), paths=())
    router = report(bare, replace(extras, macs=()), WALL)["Router"]
    assert all(router[name] == [] for name in ("Targets", "Connections", "Peers", "Paths", "MACs"))
