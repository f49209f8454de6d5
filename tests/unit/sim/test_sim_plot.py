"""Is the plot an SVG with all points in it?"""

from __future__ import annotations

from xml.etree import ElementTree

from weave_py.sim.plot import Curve, svg

SVG = "{http://www.w3.org/2000/svg}"


def test_every_point_is_inside_its_panel() -> None:
    drawn = svg([Curve("a", [(10, 0.5), (100, 7.0), (1000, 950.0)]), Curve("b", [(10, 3e6)])])
    root = ElementTree.fromstring(drawn)
    spots = list(root.iter(f"{SVG}circle"))
    assert len(spots) == 4
    _, _, width, height = (float(n) for n in root.attrib["viewBox"].split())
    assert all(0 < float(s.attrib["cx"]) < width for s in spots)
    assert all(30 < float(s.attrib["cy"]) < height - 40 for s in spots)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"950", "3M", "a", "b"} <= set(texts)


def test_nothing_to_show_is_no_point() -> None:
    drawn = svg([Curve("a", [(10, 0.0), (100, 2.0)])])
    assert drawn.count("<circle") == 1
