"""What a command imports: help needs nothing heavy, training and probing need neither polars nor duckdb nor textual."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "timm", "polars", "duckdb", "textual", "numpy", "PIL", "pydicom", "rich"]


def modules_after(code):
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nsys.stderr.write(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split()), result.stdout


COMMANDS = [
    "demo",
    "doctor",
    "ingest",
    "check",
    "sql",
    "cohort",
    "cohort show",
    "cohort audit",
    "cohort flow",
    "cohort export",
    "pretrain",
    "probe",
    "report",
    "dashboard",
]


@pytest.mark.parametrize("words", [[], *[command.split() for command in COMMANDS]])
def test_help_imports_nothing_heavy_and_ends_with_an_example(words):
    code = f"from cxrssl.cli.app import main; sys.argv = ['cxrssl', *{words}, '--help']; main()"
    modules, text = modules_after(code)
    assert not modules & set(HEAVY)
    assert "Example: cxrssl" in text


def test_training_and_probing_import_without_polars_duckdb_textual_and_pydicom():
    """A GPU machine may have torch and timm only; it works on published artefacts."""
    absent = ["polars", "duckdb", "textual", "pydicom", "typer", "rich"]
    blocked = f"sys.modules.update(dict.fromkeys({absent}))"
    code = f"{blocked}; import cxrssl.train.loop, cxrssl.train.plan, cxrssl.evaluate.evaluation"
    modules, _ = modules_after(code)
    assert "torch" in modules
