"""The import contracts of pyproject.toml cover a package that nobody has named in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    "duckdb", "polars", "torch", "safetensors", "timm", "textual", "typer", "rich", "submitit", "PIL", "pydicom",
    "socket", "pickle",
)  # fmt: skip
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_a_new_package_may_import_none_of_the_libraries_that_have_their_place(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "cxrssl", tmp_path / "cxrssl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    newcomer = tmp_path / "cxrssl" / "newcomer"
    newcomer.mkdir()
    (newcomer / "__init__.py").write_text("")
    (newcomer / "first.py").write_text("".join(f"import {name}\n" for name in LIBRARIES))
    command = [sys.executable, "-c", LINT, "--no-cache"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1, result.stdout + result.stderr
    caught = re.findall(r"cxrssl\.newcomer\.first -> (\w+)", result.stdout)
    assert sorted(set(caught)) == sorted(LIBRARIES), result.stdout
