"""What a command imports: help needs nothing heavy, training and probing need neither polars nor duckdb nor textual."""

import json
import subprocess
import sys
from pathlib import Path

from tests.golden.help import command_words
from tests.records.folders import make_encoder, make_evaluation, make_run
from tests.world import make_workspace

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


ANSWER = """
import contextlib, io, json, sys
from cxrssl.cli.app import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([words, code, errors.getvalue(), list(sys.modules)]))
"""


def test_what_only_reads_records_loads_neither_torch_nor_timm(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=12)
    folder = make_run(workspace, "nih-a", range(10), end="finish", num_steps=10, cohort="nih", num_films=0)
    make_encoder(folder, "nih")
    make_evaluation(workspace, "nih-a", "run", 0.7, cohort="nih", split="hash")
    place = ["--workspace", str(workspace.root)]
    commands = [["report"], ["cohort", "flow"], ["sql", "--results", "FROM run"], ["dashboard", "--once"]]
    commands += [["cohort", "audit"], ["probe", "nosuchrun"]]
    words = [sys.executable, "-c", ANSWER, json.dumps([[*command, *place] for command in commands])]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(commands)
    for command, code, errors, modules in map(json.loads, lines):
        assert code == (2 if command[0] == "probe" else 0), errors
        assert set(modules) & {"torch", "timm", "torchvision", "safetensors"} == set(), command
