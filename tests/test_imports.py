"""What a command imports: help needs nothing heavy, training and probing need neither polars nor duckdb nor textual.

And what modules import of each other: nothing in a circle, wherever in a file the import stands.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import cxrssl
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


def test_the_manual_is_shown_without_anything_heavy() -> None:
    shown = modules_after("from cxrssl.cli.app import main; sys.argv[1:] = ['help', 'films']; main()")
    assert "cxrssl.cli.manual" in shown
    assert shown & set(HEAVY) == set()


BARE = """
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys(sys.argv[2].split(",")))  # as if none of them were installed
from cxrssl.core.errors import SetupError
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.export.embed import EmbedChoices, embed_cohort
from cxrssl.records.eval_settings import ProbeSettings
from tests.gpu.runs import train
from tests.gpu.world import draw_workspace
workspace = draw_workspace(Path(sys.argv[1]), num_films=48)
folder = train(workspace.root, "bare", 3, device="cpu")
settings, choices = ProbeSettings(folds=3, num_resamples=20), ProbeChoices(device="cpu", baselines=False)
(evaluation,) = probe_run(workspace, folder.name, "", "", settings, choices)
print("scored", evaluation.scores.macro_auroc.value)
embedded = embed_cohort(workspace, folder.name, EmbedChoices(device="cpu"))
print("embedded", embedded.num_films, embedded.width)
try:
    embed_cohort(workspace, folder.name, EmbedChoices(device="cpu", out=Path(sys.argv[1], "films.parquet")))
except SetupError as error:
    print(error.what, error.hint)
"""


def test_a_run_is_trained_probed_and_embedded_where_torch_timm_and_numpy_are_all_there_is(tmp_path: Path) -> None:
    """A GPU machine has no more; it works on published artefacts."""
    absent = ["polars", "duckdb", "textual", "pydicom", "pylibjpeg", "simplejpeg", "isal", "typer", "rich"]
    words = [sys.executable, "-c", BARE, str(tmp_path), ",".join(absent)]
    done = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scored, embedded, refused = done.stdout.splitlines()[-3:]
    assert 0 <= float(scored.removeprefix("scored ")) <= 1
    assert embedded == "embedded 48 96"
    assert refused.startswith("DuckDB, which writes Parquet, is not installed here --out ")


def test_a_command_whose_library_is_absent_says_so() -> None:
    code = "import sys; sys.modules['duckdb'] = None; sys.argv[1:] = ['doctor']; "
    code += "from cxrssl.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("cxrssl: error: duckdb, which this command needs, is not installed here\n  hint: ")


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


def name_of(path: Path, root: Path) -> str:
    """Return the dotted name of a module of the package that lies at `root`."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path: Path) -> Iterator[str]:
    """Yield every name that a file imports, in functions and for types too; of `from a import b`, a.b and a."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def import_graph(root: Path) -> dict[str, set[str]]:
    """Return which modules each module of a package imports."""
    paths = {name_of(path, root): path for path in root.rglob("*.py")}
    return {name: (set(imported_names(path)) & paths.keys()) - {name} for name, path in paths.items()}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = import_graph(Path(cxrssl.__file__).parent)
    assert "cxrssl.dashboard.once" in graph["cxrssl.cli.dashboard"], "imports inside functions count"
    TopologicalSorter(graph).prepare()


def test_a_circle_that_an_import_inside_a_function_closes_is_found(tmp_path: Path) -> None:
    package = tmp_path / "rooms"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "state.py").write_text("def read():\n    from rooms import reader\n    return reader\n")
    (package / "reader.py").write_text("from rooms.state import read\n")
    with pytest.raises(CycleError, match=r"rooms\.state"):
        TopologicalSorter(import_graph(package)).prepare()
