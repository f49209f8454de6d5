"""Is what a monitoring system reads well-formed, and the same as the status?"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.counters import LinkCounters
from weave_py.model.fast import Carried
from weave_py.model.snapshot import CONNECTION_STATES, PATH_KINDS, RouterSnapshot
from weave_py.observe.metrics import METRICS, _family, exposition
from weave_py.observe.section import Metric
from weave_py.observe.sections import SECTIONS

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (\S+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\\n]|\\.)*)"')

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


def read(text: str) -> Samples:
    """As Prometheus does (exposition formats, text format 0.0.4); AssertionError for bad ones."""
    assert text.endswith("\n")
    found: Samples = {}
    family, last = "", ""
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            word, name, _ = line[2:].split(" ", 2)
            assert (last, word) in (
                ("", "HELP"),
                ("sample", "HELP"),
                ("HELP", "TYPE"),
                ("TYPE", "HELP"),
            )
            assert word == "HELP" or name == family
            family, last = name, word
            continue
        match = LINE.fullmatch(line)
        assert match, line
        assert match[1] == family
        last = "sample"
        labels = frozenset((key, unescaped(value)) for key, value in LABEL.findall(match[2] or ""))
        assert (family, labels) not in found
        found[family, labels] = float(match[3])
    return found


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_a_snapshot_reads_back(snapshot: RouterSnapshot) -> None:
    found = read(exposition(snapshot))
    assert {name for name, _ in found} <= {metric.name for metric in METRICS}
    connections = "weave_connections"
    assert of(found, connections, state="established", type="sleeve", encryption="yes") == 1
    assert of(found, connections, state="established", type="sleeve", encryption="") == 1
    assert of(found, connections, state="failed", type="unknown", encryption="") == 2
    assert of(found, connections, state="pending", type="unknown", encryption="") == 0
    assert of(found, "weave_connection_terminations_total") == 4
    assert of(found, "weave_targets") == 2
    assert of(found, "weave_peers", reachable="yes") == 2
    assert of(found, "weave_peers", reachable="no") == 1
    assert of(found, "weave_paths", kind="relay") == 1
    assert of(found, "weave_paths", kind="fastdp") == 0
    assert of(found, "weave_path_rtt_seconds", peer="12:d2:48:0b:c6:52") == 0.00123
    assert of(found, "weave_path_loss_ratio", peer="12:d2:48:0b:c6:52") == 0.005
    assert of(found, "weave_router_events_total", event="delivered") == 7


def test_what_is_not_known_is_left_out(snapshot: RouterSnapshot) -> None:
    peers = {
        dict(labels)["peer"]
        for name, labels in read(exposition(snapshot))
        if name == "weave_path_rtt_seconds"
    }
    assert peers == {"12:d2:48:0b:c6:52", "5e:15:9a:77:01:33"}


def test_every_state_is_told_although_nothing_is_in_it(snapshot: RouterSnapshot) -> None:
    found = read(exposition(replace(snapshot, connections=(), paths=(), peers=(), targets=())))
    states = {dict(labels)["state"] for name, labels in found if name == "weave_connections"}
    assert states == set(CONNECTION_STATES)
    assert sum(value for (name, _), value in found.items() if name == "weave_connections") == 0


def test_no_kind_of_path_is_forgotten() -> None:
    schema = json.loads((Path(__file__).parents[3] / "docs" / "report.schema.json").read_text())
    kinds = re.findall(r'"Kind": \{[^}]*"enum": \[([^]]*)\]', json.dumps(schema))
    assert [set(json.loads(f"[{each}]")) for each in kinds] == [set(PATH_KINDS)]


def test_traffic_is_told_by_direction_and_carrier(snapshot: RouterSnapshot) -> None:
    """Of the real counters' names: a renamed one would be missed here."""
    ours = LinkCounters()
    ours.frames_in, ours.bytes_out, ours.drop_queue = 3, 4500, 2
    kernel = {f"kernel_{name}": value for name, value in Carried(5, 6, 7, 8)._asdict().items()}
    path = replace(snapshot.paths[0], counters=MappingProxyType({**ours.as_dict(), **kernel}))
    found = read(exposition(replace(snapshot, paths=(path,))))
    peer = "12:d2:48:0b:c6:52"
    frames, octets = "weave_path_frames_total", "weave_path_bytes_total"
    assert of(found, frames, peer=peer, direction="in", by="router") == 3
    assert of(found, octets, peer=peer, direction="out", by="router") == 4500
    assert of(found, frames, peer=peer, direction="out", by="kernel") == 5
    assert of(found, octets, peer=peer, direction="in", by="kernel") == 8
    assert of(found, "weave_path_drops_total", peer=peer, reason="queue") == 2
    assert of(found, "weave_path_drops_total", peer=peer, reason="no_path") == 0


def test_nothing_foreign_is_a_label(snapshot: RouterSnapshot) -> None:
    evil = 'x"} 1\nweave_up 0'
    peer = replace(snapshot.peers[0], nickname=evil)
    path = replace(snapshot.paths[0], nickname=evil, address=evil, why=evil)
    failed = replace(snapshot.connections[2], error=evil, address=evil, nickname=evil)
    bad = replace(snapshot, nickname=evil, connections=(failed,), paths=(path,), peers=(peer,))
    assert "weave_up" not in exposition(bad)


@given(st.text(), st.text().filter(bool), st.floats(allow_nan=False))
def test_any_text_reads_back(label: str, words: str, number: float) -> None:
    metric = Metric("weave_x", "gauge", f"a {words}", ("of", "and"), lambda _: [])
    told = replace(metric, values=lambda _: [((label, words), number)])
    snapshot: RouterSnapshot = None  # type: ignore[assignment] # nobody asks for it
    found = read("".join(_family(told, snapshot)))
    assert found == {("weave_x", frozenset({("of", label), ("and", words)})): number}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: str(metric.name))
def test_names_are_as_prometheus_wants_them(metric: Metric) -> None:
    assert re.fullmatch(r"weave_[a-z_]*[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not metric.name.endswith(("_ms", "_milliseconds", "_percent", "_kib"))
    assert metric.help.endswith(".")
    assert "address" not in metric.labels


def test_each_is_declared_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric in METRICS for section in SECTIONS for metric in section.metrics)
