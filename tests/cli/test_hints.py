"""Hints and next commands: each names a command that exists, with options that it has."""

from __future__ import annotations

import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cxrssl
from cxrssl.cli import app
from cxrssl.cli.demo import FEWEST
from cxrssl.cli.doctor import _without_ids
from cxrssl.cli.ingest import _describe_measured
from cxrssl.cohort.again import name_ingest
from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.synthetic.archive import Visit, _split_rows
from cxrssl.synthetic.hospital.people import draw_history
from cxrssl.synthetic.hospital.timeline import draw_studies
from tests.cli.command import run
from tests.cohort.dicom_files import write_dicom
from tests.pages import COMMANDS, OPTIONS, ROOT_OPTIONS, find_command
from tests.world import make_workspace

PACKAGE = Path(cxrssl.__file__).parent
EVERY = set.intersection(*(OPTIONS[name] for name in COMMANDS if "--workspace" in OPTIONS[name]))
"""What a hint may name without its command: whoever has a workspace has these."""
SBATCH = {"--nodes", "--gpus", "--signal", "--requeue", "--kill-on-bad-exit", "--cpus-per-task", "--job"}
NOT_YET = {"--follow-links"}.difference(*OPTIONS.values())
"""Named by the reading of films, and soon taken by ingest and check."""
# Where a text of the library speaks of options, the commands that can show it.
SHOWN_BY = {
    "report/figures/width.py": ["report"],
    "cohort/doctor.py": ["doctor"],
    "cohort/export.py": ["cohort export"],
    "cohort/ingest.py": ["ingest"],
    "cohort/plan.py": ["ingest"],
    "cohort/events": ["ingest"],
    "cohort/files.py": ["ingest", "doctor"],
    "cohort/split.py": ["ingest"],
    "cohort/link.py": ["ingest"],
    "cohort/losses.py": ["ingest"],
    "cohort/read.py": ["ingest"],
    "cohort/finding_names.py": ["probe"],
    "cohort/where.py": ["probe"],
    "cohort/release": ["check"],
    "core/filmfile.py": ["ingest"],
    "core/place.py": ["export", "embed", "predict", "cohort export"],
    "export/embed.py": ["embed"],
    "export/chosen.py": ["predict"],
    "export/films.py": ["ingest"],
    "export/ids.py": ["embed", "predict"],
    "export": ["export"],
    "ingest.py": ["ingest"],
    "cohort/sources": ["ingest", "doctor"],
    "cohort/maps": ["ingest", "doctor"],
    "images": ["ingest"],
    "model/encoder.py": ["probe"],
    "model/reading.py": ["probe"],
    "model/pixels.py": ["probe"],
    "model/external.py": ["probe"],
    "model/tensors.py": ["probe"],
    "cli/external.py": ["probe"],
    "cli/transfer.py": ["probe"],
    "synthetic/hospital/worlds.py": ["demo"],
    "records/encoder.py": ["probe"],
    "records/eval_settings.py": ["probe"],
    "records/evaluation.py": ["probe"],
    "records/reading.py": ["probe"],
    "cli/protocol.py": ["probe"],
    "records/fitted.py": ["probe"],
    "launch": ["pretrain"],
    "train": ["pretrain"],
    "recipe": ["pretrain"],
    "report/small.py": ["report", "cohort flow"],
    "results/stop.py": ["runs stop"],
    "results": ["sql"],
    "evaluate": ["probe"],
    "cohort/encoding.py": ["pretrain"],
    "model": ["pretrain"],
    "dashboard": ["dashboard"],
    "synthetic": ["demo"],
    "ablate": ["ablate"],
}


def texts_of(path: Path) -> Iterator[str]:
    """Yield the texts of a module that are no docstrings, the values of f-strings as {}."""
    tree = ast.parse(path.read_text())
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(node.value)
        if isinstance(node, ast.JoinedStr):
            inner |= {part for part in ast.walk(node) if isinstance(part, ast.Constant)}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inner:
            yield node.value


def named_options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))


MODULES = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("name", [name for name in MODULES if any(map(named_options, texts_of(PACKAGE / name)))])
def test_every_option_that_a_text_names_exists_in_the_command_that_shows_it(name: str) -> None:
    shown_by = next((commands for place, commands in SHOWN_BY.items() if name.startswith(place)), [])
    known = set.intersection(*(OPTIONS[each] for each in shown_by)) if shown_by else EVERY
    if name.startswith("cli/") and not shown_by:
        stem = name.removeprefix("cli/").removesuffix(".py").partition("_")[0]  # runs_life.py has some of `runs`
        known = EVERY.union(*(OPTIONS[each] for each in COMMANDS if each.partition(" ")[0] == stem))
    for text in texts_of(PACKAGE / name):
        parts = re.split(r"(?=\bcxrssl [a-z])", text)
        for part in parts:
            if part.startswith("--") and " " not in part.strip():  # a word of a command, not of a hint
                continue
            options = named_options(part) - SBATCH - NOT_YET
            words = part.removeprefix("cxrssl ").split()
            command = find_command(words) if part.startswith("cxrssl ") and words else ""
            if command:
                assert options <= OPTIONS[command], (part, command)
                continue
            assert options <= known | ROOT_OPTIONS, (name, part)


def commands_with_values(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """Yield the values that f-strings of a module set into a command, each with what stands before it."""
    for text in ast.walk(ast.parse(path.read_text())):
        if isinstance(text, ast.JoinedStr):
            before = ""
            for part in text.values:
                if isinstance(part, ast.Constant):
                    before += str(part.value)
                if isinstance(part, ast.FormattedValue):
                    if re.search(r"""--[a-z][a-z-]*[ =]["'./]*$|\bcxrssl [a-z][^:;,.]*$""", before):
                        yield before, part.value
                    before += "{}"


def test_no_value_in_a_command_of_a_text_is_cut_or_quoted_by_hand() -> None:
    """A command that is cut, or splits at a blank of a path, cannot be copied: `shell_word` writes its words."""
    for name in MODULES:
        for before, value in commands_with_values(PACKAGE / name):
            assert not re.match(r"plain\(|.*!r", ast.unparse(value)), (name, before)
            is_path = re.search(r"path|with_suffix|folder", ast.unparse(value))
            assert not is_path or ast.unparse(value).startswith("shell_word("), (name, before)
            assert before[-1] not in "'\"", (name, before)


def test_a_hint_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    long = "d/" * 2000
    assert app._report_error(UsageError("no", long, f"look at {long}")) == 2
    assert capsys.readouterr().err == f"cxrssl: error: no\n  at {long}\n  hint: look at {long}\n"


def test_every_command_that_a_text_names_exists() -> None:
    for name in MODULES:
        for text in texts_of(PACKAGE / name):
            for words in re.findall(r"\bcxrssl ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", text):
                first = words.split()[0]
                if first in {"--help", "and", "is", "on", "does"} or re.search(r"[a-z] cxrssl ", text):
                    continue
                assert find_command(words.split()) or first in {"cohort", "recipe", "help"}, (name, text)


def hint_of(stderr: str) -> str:
    return stderr.rpartition("\n  hint: ")[2].strip()


def test_a_cohort_that_must_be_chosen_is_asked_for_as_the_command_takes_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    workspace.mark()
    for name in ("one", "three", "two"):
        (workspace.cohorts / name).mkdir(parents=True)
    for words in ("cohort show", "cohort flow", "cohort export", "sql FROM", "pretrain"):
        result = run(*words.split(), workspace=workspace.root)
        assert result.returncode == 2
        assert "which cohort? the workspace holds one, three, two" in result.stderr
        assert not named_options(hint_of(result.stderr)) - OPTIONS[find_command(words.split())]


def test_ingest_and_cohort_show_tell_prevalence_and_what_to_type_next(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=6)
    words = ["ingest", "nih", tmp_path / "nih", "--size", "48"]
    for result in (run(*words, workspace=workspace.root), run("cohort", "show", workspace=workspace.root)):
        (row,) = re.findall(r"^  Effusion +([0-9.]+) % +(\d+) +(\d+) +0 +0$", result.stdout, re.M)
        assert (float(row[0]), int(row[1]) + int(row[2])) == (round(100 * int(row[1]) / 12, 1), 12)
        last = result.stdout.splitlines()[-1]
        assert last == f"next: cxrssl pretrain --cohort nih --workspace {workspace.root}"
    result = run(*words, "--no-pack", workspace=workspace.root)
    assert result.stdout.splitlines()[-1].startswith("next, pack the films: cxrssl ingest nih ")
    assert "--no-pack" not in result.stdout


def test_the_next_command_is_one_that_a_shell_takes() -> None:
    from cxrssl.cli.options import DEFAULT_WORKSPACE, next_line

    line = next_line("probe", "a b;c", workspace=Path("my work"))
    assert shlex.split(line.removeprefix("next: ")) == ["cxrssl", "probe", "a b;c", "--workspace", "my work"]
    assert next_line("report", workspace=DEFAULT_WORKSPACE) == "next: cxrssl report"


def test_no_name_of_a_film_is_printed_and_where_it_stands_is(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=6)
    films = sorted((tmp_path / "nih" / "images").iterdir())
    for film in films[:2]:
        film.write_bytes(film.read_bytes()[:60])
    (tmp_path / "nih" / "SHA256SUMS.txt").write_text("".join(f"{'0' * 64}  images/{film.name}\n" for film in films))
    for words in (["ingest", "nih", tmp_path / "nih", "--size", "32"], ["check", tmp_path / "nih"]):
        for form in ([], ["--json"]):
            result = run(*words, *form, "--workspace", tmp_path / "fresh")
            assert "0000" not in (result.stdout + result.stderr).replace(str(tmp_path), ""), result
    shown = run("ingest", "nih", tmp_path / "nih", "--size", "32", "--workspace", tmp_path / "fresh").stdout
    assert f"each is named in {tmp_path / 'fresh/images/nih/rejects.csv'}" in shown
    assert films[0].name in (tmp_path / "fresh/images/nih/rejects.csv").read_text()
    del workspace


@pytest.mark.parametrize("name", ["flow.png", "flow", "flow.SVGZ", "."])
def test_a_figure_is_not_written_under_the_name_of_another_format(name: str, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=4)
    result = run("cohort", "flow", "--figure", tmp_path / name, workspace=workspace.root)
    assert result.returncode == 2
    assert "the figure is written as SVG" in result.stderr
    assert hint_of(result.stderr).endswith(".svg")
    assert not (tmp_path / name).is_file()
    assert run("cohort", "flow", "--figure", tmp_path / "a.SVG", workspace=workspace.root).returncode == 0
    assert (tmp_path / "a.SVG").read_text().startswith("<svg ")


def test_a_folder_is_not_made_under_the_name_of_a_file(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=4)
    result = run("cohort", "export", "--to", "csv", "--out", tmp_path / "films.csv", workspace=workspace.root)
    assert (result.returncode, (tmp_path / "films.csv").exists()) == (2, False)
    assert hint_of(result.stderr) == f"--out {tmp_path / 'films'}"


def test_the_dashboard_without_a_terminal_names_what_needs_none(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    result = run("dashboard", workspace=workspace.root)
    assert (result.returncode, result.stdout) == (2, "")
    assert {"--once", "--json"} <= named_options(hint_of(result.stderr))
    assert app.NAME in hint_of(result.stderr)


def test_doctor_prints_no_folder_that_may_be_called_by_a_person(tmp_path: Path) -> None:
    for number, name in enumerate(("DOE_JOHN", "MRN 77")):
        write_dicom(tmp_path / "own" / name / "1.dcm", SOPInstanceUID=f"1.2.{number}")
    for form in ([], ["--json"]):
        result = run("doctor", tmp_path / "own", *form, "--workspace", tmp_path / "ws")
        assert result.returncode == 0, result
        assert not {word for word in ("DOE", "MRN") if word in result.stdout + result.stderr}
    counts = {"files/p10": 3, "train/patient00001": 1, "train/patient00002": 2, "images_001/images": 4}
    assert _without_ids("mimic", counts) == {"files/p10": 3, "train/*": 3, "images_001/images": 4}


@pytest.mark.parametrize("option", ["--patients 39", "--epochs 0", "--seed -1", "--record looks"])
def test_a_demo_that_cannot_work_is_refused_before_it_draws(option: str, tmp_path: Path) -> None:
    result = run("demo", *option.split(), workspace=tmp_path / "ws")
    assert (result.returncode, result.stdout) == (2, "")
    assert option.partition(" ")[0] in result.stderr
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_demo_has_films_for_a_batch_and_for_every_split(seed: int) -> None:
    histories = [draw_history(seed, number) for number in range(FEWEST)]
    visits = [Visit(each, tuple(draw_studies(seed, number, each, 128))) for number, each in enumerate(histories)]
    films = Counter(row[3] for row in _split_rows(visits, seed))
    assert films["train"] >= load_recipe("demo").train.batch_size
    assert min(films["validate"], films["test"]) >= 5


def test_a_hint_to_an_option_of_another_command_names_that_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UsageError("too few", hint="choose a smaller batch: --set train.batch_size=N")

    workspace = Workspace(tmp_path / "ws").create()
    monkeypatch.setattr("cxrssl.ingest.ingest_dataset", fail)
    shown = hint_of(run("ingest", "nih", tmp_path, workspace=workspace.root).stderr)
    assert shown == "choose a smaller batch: --set train.batch_size=N (of cxrssl pretrain)"
    monkeypatch.setattr("cxrssl.train.plan.plan_run", fail)
    assert (
        hint_of(run("pretrain", workspace=workspace.root).stderr) == "choose a smaller batch: --set train.batch_size=N"
    )


def test_a_figure_is_not_written_into_a_dataset_folder(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=4)
    before = sorted((tmp_path / "nih").rglob("*"))
    refused = run("cohort", "flow", "--figure", tmp_path / "nih" / "images" / "flow.svg", workspace=workspace.root)
    assert refused.returncode == 2
    assert "inside the dataset folder, which is never written to" in refused.stderr
    assert sorted((tmp_path / "nih").rglob("*")) == before


@pytest.mark.parametrize(
    ("source", "cohort", "options", "command"),
    [
        ("nih", "nih", [], "cxrssl ingest nih PATH"),
        ("nih", "second", ["--size", "N"], "cxrssl ingest nih PATH --cohort second --size N"),
        ("folder", "ward", [], "cxrssl ingest folder PATH --map MAP --cohort ward"),
    ],
)
def test_the_command_that_makes_a_cohort_again_names_its_map_and_its_name(
    source: str, cohort: str, options: list[str], command: str
) -> None:
    assert name_ingest(source, cohort, options) == command


def test_no_command_that_makes_a_cohort_of_any_source_is_written_by_hand() -> None:
    for name in MODULES:
        for before, value in commands_with_values(PACKAGE / name):
            is_source = before.endswith("cxrssl ingest ") and ast.unparse(value).endswith(".source")
            assert not is_source, (name, "use cohort.again.name_ingest, which knows of --map")


def test_measured_features_that_are_known_of_no_film_are_counted_in_one_line() -> None:
    none: dict[str, Any] = {"films": 0, "stale": 0, "stored_later": 0, "rows": 0, "rejected": {}}
    some: dict[str, Any] = {"films": 30, "stale": 2, "stored_later": 1, "rows": 90, "rejected": {"other unit": 4}}
    title, head, row, rest = _describe_measured({"crp": none, "creatinine": some, "ldh": none | {"rejected": {"x": 3}}})
    assert title.startswith("measured features; ")
    assert head.split()[:2] == ["measured", "films"]
    assert row.split() == ["creatinine", "30", "2", "1", "90", "other", "unit", "4"]
    assert rest == "2 measured features known of no film: 0 rows used, 3 rejected"
    assert _describe_measured({"crp": none}) == ["1 measured feature known of no film: 0 rows used, 0 rejected"]
    assert _describe_measured({"creatinine": some}) == [title, head, row]
