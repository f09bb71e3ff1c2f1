"""A report over hand-made evaluations: what stands beside what, and what the first line says."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import (
    Differences,
    compare_evaluations,
    group_evaluations,
    list_pairs,
    publish_comparisons,
)
from cxrssl.records.arrays import Predictions
from cxrssl.records.eval_settings import CandidateSettings, EvalSettings, ProbeSettings
from cxrssl.records.evaluation import EvalScores, Evaluation, list_evaluations, publish_evaluation
from cxrssl.records.features import Architecture
from cxrssl.report.formats.markdown import line_text
from cxrssl.report.probe_tables import finding_table, macro_table, outcome_sentence
from cxrssl.report.write import write_report
from cxrssl.stats.scores import score_predictions

FINDINGS = ["Edema", "Hernia"]
SHAPE = Architecture("vit-tiny", 16, 224, 0.5, 0.3, seed=0)


def make_evaluation(
    workspace: Workspace,
    name: str,
    kind: str = "run",
    features: tuple[str, ...] = (),
    skill: float = 1.0,
    shape: Architecture = SHAPE,
    seed: int = 0,
    num_subjects: int = 30,
    **changes: Any,
) -> None:
    """Publish an evaluation of 60 films; `skill` is how far the scores follow the labels."""
    labels = np.random.default_rng(seed).integers(0, 2, (60, 2)).astype(np.int8)
    labels[:, 1] = 0
    logits = labels * skill + np.random.default_rng(zlib.crc32(name.encode())).normal(size=labels.shape)
    subjects = np.array([f"s{row * num_subjects // 60}" for row in range(60)])
    candidate = CandidateSettings(None if kind == "random-init" else features)
    if kind in {"run", "random-init"}:
        candidate = replace(candidate, architecture=shape, setup_sha256=str(shape), num_epochs=3)
    settings = EvalSettings(
        candidate_id=name,
        kind=kind,
        label=name,
        candidate=candidate,
        is_outcome_used="mortality" in features,
        cohort="mimic",
        dataset="mimic",
        split="official",
        cohort_sha256="c",
        images_sha256="i",
        probe=ProbeSettings(num_resamples=100),
    )
    scores = EvalScores.of(score_predictions(logits, labels, subjects, FINDINGS, num_resamples=100), 0, {}, ())
    predictions = Predictions(np.arange(60).astype(str), subjects, logits, labels, np.array(FINDINGS))
    publish_evaluation(workspace.evals / f"{name}-on-mimic", replace(settings, **changes), scores, predictions, None)


def evaluations_of(workspace: Workspace) -> list[Evaluation]:
    evaluations, damage = list_evaluations(workspace)
    assert not damage
    return evaluations


def differences_in(workspace: Workspace) -> Differences:
    return publish_comparisons(workspace, list_pairs(evaluations_of(workspace)))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "with-stay", features=("mortality",), skill=3.0)
    make_evaluation(workspace, "other-seed", shape=replace(SHAPE, seed=1))
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    make_evaluation(workspace, "view-only", kind="view-only", features=("view",), skill=0.1)
    return workspace


def test_differences_are_paired_with_the_same_architecture_and_seed_only(workspace: Workspace) -> None:
    (group,) = group_evaluations(evaluations_of(workspace))
    rows = {row[0].split(" (")[0]: row[1:] for row in macro_table(group, differences_in(workspace)).texts()}
    assert rows["vanilla"][2].startswith("+")
    assert rows["vanilla"][3] == ""
    assert rows["with-stay"][3] != ""
    assert rows["other-seed"][2:] == ["", ""]
    assert rows["untrained"][2:] == rows["view-only"][2:] == ["", ""]


def test_the_record_alone_of_an_older_version_is_told_from_that_of_this_one(workspace: Workspace) -> None:
    make_evaluation(workspace, "older", kind="ehr-only", features=("sex",))
    make_evaluation(
        workspace, "newer", kind="ehr-only", candidate=CandidateSettings(("sex",), chosen_by="folds of train")
    )
    (group,) = group_evaluations(evaluations_of(workspace))
    table = macro_table(group, differences_in(workspace))
    labels = [row[0] for row in table.texts()]
    assert {"newer", "older (by an older version: val chose its strength)"} <= set(labels)
    assert "That of the record alone is chosen in folds of train." in table.note


def test_a_finding_without_positives_is_not_defined_and_not_in_the_mean(workspace: Workspace) -> None:
    (group,) = group_evaluations(evaluations_of(workspace))
    table = finding_table(group)
    hernia = next(row for row in table.texts() if row[0] == "Hernia")
    assert hernia[1:3] == ["0 / 60", "0 / 30"]
    assert set(hernia[3:]) == {"not defined"}
    assert "macro mean over 1 finding;" in macro_table(group, differences_in(workspace)).note


def test_the_first_line_names_runs_that_were_given_an_outcome_or_have_seen_test_subjects(workspace: Workspace) -> None:
    assert line_text(outcome_sentence(evaluations_of(workspace))).endswith("was a pretraining input of `with-stay`.")
    make_evaluation(workspace, "leaky", leak="3 test subjects of cohort mimic took part in pretraining")
    first = write_report(workspace).markdown.splitlines()[0]
    assert "`with-stay`" in first
    assert "`leaky`: under 10 test subjects of cohort mimic took part in pretraining." in first


def test_evaluations_of_other_films_or_settings_stand_in_tables_of_their_own(workspace: Workspace) -> None:
    make_evaluation(workspace, "elsewhere", cohort="nih", seed=1)
    evaluations = {e.settings.candidate_id: e for e in evaluations_of(workspace)}
    assert len(group_evaluations(list(evaluations.values()))) == 2
    with pytest.raises(DataError, match="not of the same test films"):
        compare_evaluations(evaluations["elsewhere"], evaluations["vanilla"])


def test_every_report_says_whether_the_files_of_its_cohorts_were_checked(workspace: Workspace) -> None:
    make_evaluation(workspace, "a")
    cohort = evaluations_of(workspace)[0].settings.cohort
    assert f"{cohort} (`c`), unverified" in write_report(workspace).markdown


def test_the_first_line_names_each_outcome_and_the_published_imputation(workspace: Workspace) -> None:
    shown = CandidateSettings(("view", "los"), "paper", 3, SHAPE, setup_sha256="s")
    make_evaluation(workspace, "long-stays", features=("los",), candidate=shown, is_outcome_used=True)
    line = line_text(outcome_sentence(evaluations_of(workspace)))
    assert "An outcome (in-hospital mortality, length of stay) was a pretraining input" in line
    assert "imputed from the films of all splits, as published: `long-stays`." in line


def test_titles_name_the_rule_that_linked_the_cohort(workspace: Workspace) -> None:
    make_evaluation(workspace, "by-day", link="linked by day, as published", split="icu")
    titles = [
        macro_table(group, differences_in(workspace)).title for group in group_evaluations(evaluations_of(workspace))
    ]
    assert "Probe on cohort mimic (c), linked by day, as published, split icu" in titles


def test_what_is_said_of_many_runs_is_said_once(workspace: Workspace) -> None:
    for number in range(5):
        make_evaluation(workspace, f"seen-{number}", transductive="60 films took part in pretraining")
    make_evaluation(workspace, "alone", transductive="9 films took part in pretraining")
    line = line_text(outcome_sentence(evaluations_of(workspace)))
    many = "5 runs (`seen-0`, `seen-1`, `seen-2` and others) are transductive: 60 films took part in pretraining."
    assert many in line
    assert "`alone` is transductive: 9 films took part in pretraining." in line
