"""The first page's Python runs as printed; links and configuration of the site are checked by `mkdocs build --strict`."""

import os
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["start.md"]  # ECTJAX_ALL_DOCS=1 runs all pages that hold Python, minutes
if os.environ.get("ECTJAX_ALL_DOCS") == "1":
    PAGES += ["ase.md", "jax-md.md", "howto/table.md", "howto/density.md", "howto/engines.md"]
FRAGMENTS = ("def body(_, carry):\n    state", 'atoms = read("salt.extxyz")')  # not whole programs


def blocks(page: str) -> list[str]:
    """Python blocks of a page that are whole programs or go on from the block before."""
    found = re.findall(r"^```python[^\n]*\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)
    return [code for code in found if not any(f in code for f in FRAGMENTS) or "import" in code.split("def ")[0]]


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run_as_printed(page, tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    code = "\n\n".join(x for x in blocks(page) if "salt.extxyz" not in x)
    assert code
    (tmp_path / "page.py").write_text(code)
    runpy.run_path(str(tmp_path / "page.py"))
    assert capsys.readouterr().out.strip()


def test_commands_and_files_that_pages_name_exist():
    text = "".join(p.read_text() for p in (ROOT / "docs").rglob("*.md"))
    for name in set(re.findall(r"`((?:examples|notebooks|tests|benchmarks|docs|ectjax)/[\w./-]+\.\w+)`", text)):
        assert (ROOT / name).exists(), f"a page names {name}"
