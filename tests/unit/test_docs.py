"""Do the docs say what is declared? `scripts/docs` writes their tables."""

from __future__ import annotations

import types
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "docs"


@pytest.fixture(name="docs")
def _docs(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    spec = spec_from_loader("docs_script", SourceFileLoader("docs_script", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_as_declared(
    docs: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """F8: run scripts/docs after changing an option, a section, a metric, a state file or a
    profile."""
    assert docs.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "page"),
    [
        *((name, "cli.md") for name in ("options", "sections", "metrics", "state")),
        ("profiles", "lab.md"),
    ],
)
def test_a_table_that_differs_is_noticed_and_written_anew(
    docs: types.ModuleType, name: str, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in docs.PAGES:
        (tmp_path / each).write_text((docs.DOCS / each).read_text())
    path = tmp_path / page
    good = path.read_text()
    begin = f"<!-- {name}: written by scripts/docs -->\n"
    path.write_text(good.replace(begin, f"{begin}| of an older version |\n"))
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert path.read_text() == good
    path.write_text(good.replace(begin, ""))
    assert docs.main([]) == 1, "there is no place for it"
