"""What a command imports: help needs nothing heavy, training and probing need neither polars nor duckdb nor textual."""

import json
import subprocess
import sys

from tests.golden.help import command_words

HEAVY = ["torch", "timm", "polars", "duckdb", "textual", "numpy", "PIL", "pydicom", "rich"]


def modules_after(code: str) -> set[str]:
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nsys.stderr.write(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


HELP = """
import contextlib, io, json, sys
from cxrssl.cli.app import main
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = [*command.split(), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main()
    print(json.dumps([command, text.getvalue(), list(sys.modules)]))
"""


def test_help_imports_nothing_heavy_and_ends_with_an_example() -> None:
    words = [sys.executable, "-c", HELP, json.dumps(command_words())]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(command_words())
    for command, text, modules in map(json.loads, lines):
        assert set(modules) & set(HEAVY) == set(), command
        assert "Example: cxrssl" in text, command


def test_training_and_probing_import_without_polars_duckdb_textual_and_pydicom() -> None:
    """A GPU machine may have torch and timm only; it works on published artefacts."""
    absent = ["polars", "duckdb", "textual", "pydicom", "typer", "rich"]
    blocked = f"sys.modules.update(dict.fromkeys({absent}))"
    code = f"{blocked}; import cxrssl.train.loop, cxrssl.train.plan, cxrssl.evaluate.evaluation"
    modules = modules_after(code)
    assert "torch" in modules
