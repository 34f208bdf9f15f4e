"""The first page's Python runs as printed; `mkdocs build --strict` checks links and anchors."""

import json
import os
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["start.md"]  # ECTJAX_ALL_DOCS=1 runs all pages that hold Python, minutes
if os.environ.get("ECTJAX_ALL_DOCS") == "1":
    PAGES += ["ase.md", "jax-md.md", "howto/table.md", "howto/density.md", "howto/engines.md", "layers.md"]


def program(page: str) -> str:
    """Python blocks of a page in one; of pages after the first only those with imports. Titled blocks are left out."""
    found = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)
    return "\n\n".join(code for code in found if page == "start.md" or "import " in code)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run_as_printed(page, tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.py").write_text(program(page))
    runpy.run_path(str(tmp_path / "page.py"))
    assert capsys.readouterr().out.strip()


def test_commands_and_files_that_pages_name_exist():
    text = "".join(p.read_text() for p in (ROOT / "docs").rglob("*.md"))
    for name in set(re.findall(r"`((?:examples|notebooks|tests|benchmarks|docs|ectjax)/[\w./-]+\.\w+)`", text)):
        assert (ROOT / name).exists(), f"a page names {name}"


@pytest.mark.parametrize("file", sorted((ROOT / "ectjax" / "parameters").glob("*.json")), ids=lambda file: file.stem)
def test_a_model_card_speaks_of_the_numbers_that_are_shipped(file):
    """Numbers that change ask for a card that was read again."""
    card = (ROOT / "docs" / "models" / f"{file.stem}.md").read_text()
    assert f"| checksum | `{json.loads(file.read_text())['checksum']}` |" in card
