"""Hostile texts as findings, films, runs, candidates and words of a command: none leaves the place where it is shown.

The texts are drawn by CXRSSL_FUZZ_SEED; a few in CI, 2,000 with CXRSSL_FULL=1.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cxrssl.core.text import from_csv_text, plain, valid
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.text import format_value
from cxrssl.records.arrays import Predictions
from cxrssl.records.eval_settings import CandidateSettings, EvalSettings, ProbeSettings
from cxrssl.records.evaluation import EvalScores, publish_evaluation
from cxrssl.stats.scores import score_predictions
from tests.cli.command import Result, run
from tests.cohort.dicom_files import write_dicom
from tests.hostile import hostile_texts, runs_in_a_spreadsheet, tags_of, unsafe_chars
from tests.records.folders import make_run, write_lines
from tests.scale import scaled

pytestmark = pytest.mark.fuzz
SEED = int(os.environ.get("CXRSSL_FUZZ_SEED", "5"))
TEXTS = list(dict.fromkeys(map(valid, hostile_texts(scaled(60, 2000), SEED))))
NUM_EACH, NUM_FILMS = 60, 16
ROUNDS = [TEXTS[start : start + NUM_EACH] for start in range(0, len(TEXTS), NUM_EACH)]
MARKDOWN_TAGS = {
    "h1",
    "h2",
    "h3",
    "h4",
    "p",
    "blockquote",
    "strong",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "ul",
    "li",
    "code",
    "img",
}


def check(result: Result, seen: object) -> Result:
    """Fail on a bug, and on a character that may drive a terminal."""
    assert "a bug" not in result.stderr, (seen, result.stderr)
    assert result.returncode in (0, 2, 3), (seen, result.stderr)
    assert not unsafe_chars(result.stdout + result.stderr), seen
    return result


def file_names(texts: list[str]) -> Iterator[str]:
    """Yield those of the texts that a file may be called."""
    for text in texts:
        if not set(text) & {"/", "\0"} and text.strip(".") and len(text.encode()) < 200:
            yield text


def finding_names(texts: list[str]) -> list[str]:
    """Return those of the texts that a map takes for names of findings: it refuses control characters itself."""
    return [text for text in texts if text and text == plain(text, 100).strip()]


def write_films(root: Path, texts: list[str]) -> None:
    """Write films that are called by the texts, with a table whose findings the map calls by them."""
    rng, names = np.random.default_rng(SEED), finding_names(texts)
    rows = [",".join(["study", *(f"f{number}" for number in range(len(names)))])]
    for number, name in enumerate(list(file_names(texts))[:NUM_FILMS], 1):
        uids = {"SOPInstanceUID": f"1.2.{number}.1", "StudyInstanceUID": f"1.2.{number}", "PatientID": str(number)}
        write_dicom(root / "films" / name, Rows=64, Columns=64, num_bytes=4096, PatientSex="F", **uids)
        rows.append(",".join([uids["StudyInstanceUID"], *map(str, rng.integers(0, 2, len(names)))]))
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    findings = "\n".join(f'{format_value(text)} = "f{number}"' for number, text in enumerate(names))
    head = '[labels]\nfile = "labels.csv"\ncolumn = "study"\nkey = "study"\npresent = ["1"]\nabsent = ["0"]\n'
    (root / "map.toml").write_text(f"{head}[labels.findings]\n{findings}\n")
    assert list(tomllib.loads((root / "map.toml").read_text())["labels"]["findings"]) == names


def publish_probe(workspace: Workspace, number: int, text: str, texts: list[str], **changes: Any) -> None:
    """Publish an evaluation of a candidate that is called by a text, on findings that are."""
    rng = np.random.default_rng(number)
    labels = rng.integers(0, 2, (30, len(texts))).astype(np.int8)
    logits, subjects = rng.normal(size=labels.shape), np.array([f"s{row // 2}" for row in range(30)])
    settings = EvalSettings(
        candidate_id=text,
        kind="run",
        label=text,
        candidate=CandidateSettings(("mortality",)),
        is_outcome_used=True,
        cohort="odd",
        dataset="dicom",
        split="hash",
        cohort_sha256="c",
        images_sha256="i",
        probe=ProbeSettings(num_resamples=20),
        leak=text,
        link=text,
    )
    scores = EvalScores.of(score_predictions(logits, labels, subjects, texts, num_resamples=20), 0, {}, tuple(texts))
    films = Predictions(np.arange(30).astype(str), subjects, logits, labels, np.array(texts))
    publish_evaluation(workspace.evals / f"e{number}", replace(settings, **changes), scores, films, None)


@pytest.fixture(scope="module", params=range(len(ROUNDS)))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[str]]:
    """A workspace whose findings, films, runs and candidates are called by the texts of a round."""
    texts, root = ROUNDS[request.param], tmp_path_factory.mktemp("hostile")
    workspace = Workspace(root / "ws").create()
    write_films(root, texts)
    words = ["ingest", "dicom", root / "films", "--map", root / "map.toml", "--cohort", "odd", "--size", "32"]
    made = check(run(*words, "--workers", "1", workspace=workspace.root), texts)
    assert made.returncode == 0, made.stderr
    for number, name in enumerate(file_names(texts[:12])):
        about: dict[str, Any] = dict.fromkeys(("cohort", "dataset", "split", "device", "objective"), name)
        folder = make_run(workspace, name, range(2), ehr=(name,), end="fail" if number % 2 else "", **about)
        event = {"ts": 1.0, "event": "alarm", "step": name, "what": name}
        write_lines(folder / "events.jsonl", [event, event | {"event": "guard"}])
    for number, text in enumerate(texts[:4]):
        publish_probe(workspace, number, text, texts)
    return workspace, texts


def test_no_command_lets_a_text_drive_the_terminal(world: tuple[Workspace, list[str]]) -> None:
    workspace, _ = world
    lines = [
        "cohort list", "cohort show", "cohort audit", "cohort flow", "dashboard --once", "report", "sql --tables",
        "sql --results --tables", "cohort export", "cohort export --to meds",
    ]  # fmt: skip
    for line in lines:
        assert check(run(*line.split(), workspace=workspace.root), line).returncode in (0, 3), line
    for query in ("FROM label", "FROM label_count", "FROM film", "FROM reject"):
        check(run("sql", query, "--limit", "0", workspace=workspace.root), query)
    for query in ("FROM run", "FROM evaluation", "FROM score", "FROM damage"):
        check(run("sql", query, "--results", "--limit", "0", workspace=workspace.root), query)


def test_json_is_whole_and_printable(world: tuple[Workspace, list[str]]) -> None:
    workspace, texts = world
    lines = ["cohort list", "cohort show", "cohort audit", "cohort flow", "dashboard", "report", "sql --tables"]
    for words in [line.split() for line in lines] + [["sql", "FROM label", "--limit", "0"]]:
        result = check(run(*words, "--json", workspace=workspace.root), words)
        assert result.stdout.isascii()
        json.loads(result.stdout)
    labels = json.loads(run("sql", "FROM label", "--limit=0", "--json", workspace=workspace.root).stdout)
    assert {row["finding"] for row in labels} == set(finding_names(texts))


def test_a_report_is_text_and_its_tables_are_whole(world: tuple[Workspace, list[str]]) -> None:
    workspace, _ = world
    assert run("report", workspace=workspace.root).returncode == 0
    folder = workspace.reports / "latest"
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert not unsafe_chars(markdown)
    tags = tags_of(markdown)
    assert {tag for tag, _ in tags} <= MARKDOWN_TAGS
    images = [str(attributes["src"]) for tag, attributes in tags if tag == "img"]
    assert sorted(images) == sorted(path.name for path in folder.glob("*.svg"))
    assert "flow-odd-hash.svg" in images
    for name in images:
        figure = (folder / name).read_text(encoding="utf-8")
        assert not unsafe_chars(figure)
        assert not {"script", "image", "a"} & {
            each.tag.rpartition("}")[2] for each in ElementTree.fromstring(figure).iter()
        }
    rows = list(csv.reader(io.StringIO((folder / "results.csv").read_text(encoding="utf-8"), newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    for row in rows:
        assert not [cell for cell in row if runs_in_a_spreadsheet(cell) or unsafe_chars(cell, "")]
    check_svg((folder / "flow-odd-hash.svg").read_text(encoding="utf-8"))


def check_svg(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert {element.tag.removeprefix(space) for element in root.iter()} <= {
        "svg",
        "title",
        "style",
        "rect",
        "text",
        "path",
    }
    assert not unsafe_chars(svg)


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_an_export_runs_in_no_spreadsheet(to: str, world: tuple[Workspace, list[str]], tmp_path: Path) -> None:
    workspace, texts = world
    check(run("cohort", "export", "--to", to, "--out", tmp_path / "out", workspace=workspace.root), texts)
    found = 0
    for path in [*(tmp_path / "out").glob("*.csv"), *workspace.root.rglob("rejects.csv")]:
        for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")):
            assert not [cell for cell in row if runs_in_a_spreadsheet(cell) or unsafe_chars(cell, "")], path
            found += sum(from_csv_text(cell) in texts for cell in row)
    assert found >= len(finding_names(texts))
    for query in ("FROM film", "FROM label"):
        result = check(run("sql", query, "--csv", "--limit", "0", workspace=workspace.root), query)
        for row in csv.reader(io.StringIO(result.stdout, newline="")):
            assert not [cell for cell in row if runs_in_a_spreadsheet(cell) or unsafe_chars(cell, "")], query


COMMANDS = [
    ["cohort", "show", "TEXT"], ["cohort", "audit", "TEXT"], ["cohort", "audit", "--against", "TEXT"],
    ["cohort", "export", "--to", "TEXT"], ["cohort", "export", "--out", "TEXT/x"],
    ["cohort", "flow", "--split", "TEXT"],
    ["cohort", "flow", "--figure", "TEXT"], ["cohort", "audit", "--target", "TEXT"], ["help", "TEXT"], ["TEXT"],
    ["recipe", "show", "TEXT"], ["recipe", "diff", "TEXT", "strict"], ["report", "--name", "TEXT"], ["probe", "TEXT"],
    ["pretrain", "--cohort", "TEXT"], ["pretrain", "--recipe", "TEXT"], ["pretrain", "--set", "TEXT"],
    ["pretrain", "--ehr", "TEXT"], ["pretrain", "--name", "TEXT"], ["pretrain", "--machine", "TEXT"],
    ["pretrain", "--slurm", "TEXT"], ["pretrain", "--device", "TEXT"], ["pretrain", "--backbone", "TEXT"],
    ["sql", "TEXT"], ["sql", "--cohort", "TEXT", "FROM film"], ["ingest", "TEXT", "."], ["ingest", "nih", "TEXT"],
    ["ingest", "dicom", "FILMS", "--map", "TEXT"], ["ingest", "dicom", "FILMS", "--cohort", "TEXT"],
    ["ingest", "dicom", "FILMS", "--shares", "TEXT"], ["ingest", "dicom", "FILMS", "--split-file", "TEXT"],
    ["doctor", "TEXT"], ["check", "TEXT"], ["ingest", "mimic", "FILMS", "--labels", "TEXT"],
    ["ingest", "mimic", "FILMS", "--link", "TEXT"], ["ingest", "nih", "FILMS", "--size", "TEXT"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_word_of_a_command_comes_back_as_it_was(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    workspace = Workspace(tmp_path / "ws").create()
    texts = hostile_texts(scaled(6, 60), SEED + COMMANDS.index(words))
    for text in texts if scaled(0, 1) else [*texts[:2], *hostile_texts(90, SEED + COMMANDS.index(words))[-4:]]:
        if "\0" in text:  # no word of a command line can hold it
            continue
        typed = [word.replace("TEXT", text) for word in words]
        result = run(*(word if word != "FILMS" else "films" for word in typed), workspace=workspace.root)
        assert result.returncode in (2, 3, 4), (text, result)
        assert "a bug" not in result.stderr, (text, result.stderr)
        assert not unsafe_chars(result.stdout + result.stderr), text
