"""On how many subjects a number rests: recorded, and of older records counted when they are opened."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import list_pairs, publish_comparisons
from cxrssl.records.comparison import open_comparison
from cxrssl.records.evaluation import Evaluation, open_evaluation
from cxrssl.results.rows import difference_rows, result_rows
from cxrssl.stats.scores import Comparison
from tests.records.breaking import publish_again
from tests.records.folders import make_scores
from tests.report.test_report import evaluations_of, make_evaluation

ADDED = ("num_pos_subjects", "num_neg_subjects", "num_resamples", "num_rarer", "mark", "delong")


def forget_counts(folder: Path, file: str) -> None:
    """Publish it again as an older version wrote it."""
    values = json.loads((folder / file).read_text())
    kept = values["num_resamples"]
    publish_again(folder, **{file.replace(".", "__"): json.dumps({**_without(values), "num_resamples": kept}).encode()})


def _without(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: _without(value) for key, value in values.items() if key not in ADDED}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    return workspace


def without_counts(workspace: Workspace, name: str) -> Evaluation:
    folder = workspace.evals / f"{name}-on-mimic"
    forget_counts(folder, "scores.json")
    return open_evaluation(folder)


def test_an_evaluation_of_an_older_version_is_read_with_its_marks(workspace: Workspace) -> None:
    now = {each.settings.candidate_id: each for each in evaluations_of(workspace)}["vanilla"]
    old = without_counts(workspace, "vanilla")
    assert (now.was_counted, old.was_counted) == (True, False)
    findings = {name: replace(score, delong=None) for name, score in now.scores.findings.items()}
    assert repr(old.scores) == repr(replace(now.scores, findings=findings))
    edema = old.scores.findings["Edema"]
    assert (edema.num_pos_subjects, edema.auroc.num_resamples) == (now.scores.findings["Edema"].num_pos_subjects, 100)


def test_an_old_interval_of_one_subject_is_not_shown(workspace: Workspace) -> None:
    make_evaluation(workspace, "one", num_subjects=1)
    folder = workspace.evals / "one-on-mimic"
    values = json.loads((folder / "scores.json").read_text())
    certain = {"value": 0.573, "lo": 0.573, "hi": 0.573, "num_defined": 100}
    values["findings"]["Edema"]["auroc"] = values["macro_auroc"] = certain
    publish_again(folder, scores__json=json.dumps(values).encode())
    old = without_counts(workspace, "one").scores
    assert old.findings["Edema"].auroc.to_text() == old.macro_auroc.to_text() == "0.573 no interval"


def test_a_comparison_of_an_older_version_shows_no_interval_and_is_made_again(workspace: Workspace) -> None:
    pairs = list_pairs(evaluations_of(workspace))
    (now,) = publish_comparisons(workspace, pairs).values()
    assert isinstance(now, Comparison)
    (name,) = workspace.comparison_ids()
    path = workspace.comparisons / name
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["settings"]["method"].endswith("counted")
    forget_counts(path, "differences.json")
    old = open_comparison(path)
    assert {each.mark for each in old.differences.intervals} == {"no interval", "not defined"}
    assert old.differences.macro_auroc.value == now.macro_auroc.value
    assert {row.lo for row in difference_rows(old)} == {None}


def test_every_row_says_what_its_number_rests_on(workspace: Workspace) -> None:
    evaluation = evaluations_of(workspace)[0]
    rows = {(row.finding, row.metric): row for row in result_rows(evaluation)}
    edema, hernia = rows["Edema", "auroc"], rows["Hernia", "auroc"]
    assert (edema.num_defined, edema.num_resamples, edema.mark) == (100, 100, "")
    assert (edema.num_pos_subjects or 0) > 10
    assert (hernia.value, hernia.mark, hernia.num_pos_subjects, hernia.num_neg_subjects) == (None, "not defined", 0, 30)


def test_a_finding_called_macro_is_not_taken_for_the_mean(workspace: Workspace) -> None:
    evaluation = evaluations_of(workspace)[0]
    scores = make_scores(0.7)
    findings = {"macro": scores.findings["Edema"], **scores.findings}
    named = Evaluation(
        evaluation.eval_id, evaluation.settings, type(scores)(**{**vars(scores), "findings": findings}),
        evaluation.path, evaluation.content_sha256,
    )  # fmt: skip
    names = [row.finding for row in result_rows(named) if row.metric == "auroc"]
    assert names[:2] == ["macro", "macro (finding)"]
    assert len(set(names)) == len(names)
