"""A report over hand-made evaluations: what stands beside what, and what the first line says."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.audit.evaluated import EVALUATION_KIND as KIND
from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.evaluation import compare_evaluations, list_evaluations
from cxrssl.report.summary import finding_table, group_evaluations, macro_table, outcome_sentence
from cxrssl.report.write import write_report
from cxrssl.stats.scores import score_predictions

FINDINGS = ["Edema", "Hernia"]
SHAPE = {"backbone": "vit-tiny", "patch_px": 16, "view_px": 224, "seed": 0}


def make_evaluation(
    workspace: Workspace,
    name: str,
    kind: str = "run",
    features: Sequence[str] = (),
    skill: float = 1.0,
    shape: dict[str, Any] = SHAPE,
    seed: int = 0,
    **settings: Any,
) -> None:
    """Publish an evaluation of 60 films of 30 subjects; `skill` is how far the scores follow the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (60, 2)).astype(np.int8)
    labels[:, 1] = 0
    logits = labels * skill + np.random.default_rng(zlib.crc32(name.encode())).normal(size=labels.shape)
    subjects = np.array([f"s{row // 2}" for row in range(60)])
    candidate: dict[str, Any] = {"features": list(features)} if kind != "random-init" else {}
    if kind in {"run", "random-init"}:
        candidate |= {"architecture": shape, "setup_sha256": str(shape), "num_epochs": 3}
    settings = {
        "candidate_id": name, "kind": kind, "label": name, "candidate": candidate, "leak": "",
        "is_outcome_used": "mortality" in features, "cohort": "mimic", "dataset": "mimic", "split": "official",
        "cohort_sha256": "c", "images_sha256": "i",
        "probe": {"uncertain": "ignore", "blank": "zeros", "num_resamples": 100, "seed": 0},
    } | settings  # fmt: skip
    scores = score_predictions(logits, labels, subjects, FINDINGS, num_resamples=100)
    path = workspace.evals / f"{name}-on-mimic"
    np.savez(workspace.root / "p.npz", image_id=np.arange(60).astype(str), subject_id=subjects, logits=logits,
             labels=labels, finding_names=np.array(FINDINGS))  # fmt: skip
    with publish(path, KIND, settings) as folder:
        write_bytes(folder / "predictions.npz", (workspace.root / "p.npz").read_bytes())
        write_json(folder / "scores.json", {**scores.to_dict(), "num_not_packed": 0, "not_fitted": []})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "with-stay", features=["mortality"], skill=3.0)
    make_evaluation(workspace, "other-seed", shape=SHAPE | {"seed": 1})
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    make_evaluation(workspace, "view-only", kind="view-only", features=["view"], skill=0.1)
    return workspace


def test_differences_are_paired_with_the_same_architecture_and_seed_only(workspace: Workspace) -> None:
    (group,) = group_evaluations(list_evaluations(workspace))
    rows = {row[0].split(" (")[0]: row[1:] for row in macro_table(group).rows}
    assert rows["vanilla"][2].startswith("+")
    assert rows["vanilla"][3] == ""
    assert rows["with-stay"][3] != ""
    assert rows["other-seed"][2:] == ["", ""]
    assert rows["untrained"][2:] == rows["view-only"][2:] == ["", ""]


def test_a_finding_without_positives_is_not_defined_and_not_in_the_mean(workspace: Workspace) -> None:
    (group,) = group_evaluations(list_evaluations(workspace))
    table = finding_table(group)
    hernia = next(row for row in table.rows if row[0] == "Hernia")
    assert set(hernia[2:]) == {"not defined"}
    assert "macro mean over 1 finding;" in macro_table(group).note


def test_the_first_line_names_runs_that_were_given_an_outcome_or_have_seen_test_subjects(workspace: Workspace) -> None:
    assert outcome_sentence(list_evaluations(workspace)).endswith("was a pretraining input of `with-stay`.")
    make_evaluation(workspace, "leaky", leak="3 test subjects of cohort mimic took part in pretraining")
    first = write_report(workspace).markdown.splitlines()[0]
    assert "`with-stay`" in first
    assert "`leaky`: 3 test subjects of cohort mimic took part in pretraining." in first


def test_evaluations_of_other_films_or_settings_stand_in_tables_of_their_own(workspace: Workspace) -> None:
    make_evaluation(workspace, "elsewhere", cohort="nih", seed=1)
    evaluations = {e.settings["candidate_id"]: e for e in list_evaluations(workspace)}
    assert len(group_evaluations(list(evaluations.values()))) == 2
    with pytest.raises(DataError, match="not of the same test films"):
        compare_evaluations(evaluations["elsewhere"], evaluations["vanilla"])


def test_every_report_says_whether_the_files_of_its_cohorts_were_checked(workspace: Workspace) -> None:
    make_evaluation(workspace, "a")
    cohort = list_evaluations(workspace)[0].settings["cohort"]
    assert f"- {cohort}: unverified" in write_report(workspace).markdown


def test_the_first_line_names_each_outcome_and_the_published_imputation(workspace: Workspace) -> None:
    shown = {
        "architecture": SHAPE,
        "setup_sha256": "s",
        "num_epochs": 3,
        "features": ["view", "los"],
        "missing": "paper",
    }
    make_evaluation(workspace, "long-stays", features=["los"], candidate=shown, is_outcome_used=True)
    line = outcome_sentence(list_evaluations(workspace))
    assert "An outcome (in-hospital mortality, length of stay) was a pretraining input" in line
    assert "imputed from the films of all splits, as published: `long-stays`." in line


def test_titles_name_the_rule_that_linked_the_cohort(workspace: Workspace) -> None:
    make_evaluation(workspace, "by-day", link="linked by day, as published", split="icu")
    titles = [macro_table(group).title for group in group_evaluations(list_evaluations(workspace))]
    assert "Probe on cohort mimic (c), linked by day, as published, split icu" in titles
