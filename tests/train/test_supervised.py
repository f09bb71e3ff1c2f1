"""Supervised training: whose labels it learns, and that it learns them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cxrssl.core.errors import ConfigError, DataError, LeakageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.recipe.load import load_recipe
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.steps import iter_metrics
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.record import load_labels, load_record
from tests.small_runs import CPU, two_layers
from tests.world import make_workspace

__all__ = ["two_layers"]
SMALL = ["model.patch_px=8", "views.global_px=16", "train.batch_size=8", "train.num_epochs=20"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=60)


def plan_of(workspace: Workspace, *overrides: str, label: str = "") -> RunPlan:
    changes = {"model": {"backbone": "vit-micro"}, "objective": {"name": "supervised"}}
    return plan_run(workspace, "nih", load_recipe("strict", [*SMALL, *overrides], changes), CPU, label)


def test_it_learns_the_labels_of_its_own_films_and_no_others(workspace: Workspace) -> None:
    plan = plan_of(workspace, "train.split=hash")
    labels = load_labels(plan)
    assert labels is not None
    names = plan.cohort.finding_names.tolist()
    wanted = plan.cohort.labels(names)[plan.rows]
    taught = np.flatnonzero([set(column.tolist()) >= {0, 1} for column in wanted.T])
    assert [names[k] for k in taught] == ["Effusion"]
    np.testing.assert_array_equal(labels[np.ix_(plan.rows, taught)], wanted[:, taught])
    others = np.setdiff1d(np.arange(len(plan.cohort)), plan.rows)
    assert len(others)
    assert (labels[others] == -1).all()
    assert (np.delete(labels, taught, axis=1) == -1).all()
    batch = load_record(plan).batch(plan.rows[:4], 0, torch.device("cpu"))
    assert batch.labels_BL is not None
    np.testing.assert_array_equal(batch.labels_BL.numpy(), labels[plan.rows[:4]])
    garbage = plan.cohort.label_values.copy()
    garbage[others] = np.random.default_rng(24).integers(-2, 2, garbage[others].shape)
    lying = replace(plan, cohort=replace(plan.cohort, label_values=garbage))
    np.testing.assert_array_equal(load_labels(lying), labels)


def test_an_encoder_taught_with_labels_separates_the_finding_on_other_patients(workspace: Workspace) -> None:
    plan = plan_of(workspace, "train.split=hash")
    assert plan.label == "supervised"
    pretrain(plan)
    losses = [step["label_loss"] for step in iter_metrics(plan.folder)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    first, untrained, *_ = probe_run(workspace, plan.run_id, "", "", ProbeSettings(num_resamples=20), ProbeChoices())
    assert (first.settings.kind, first.settings.label) == ("run", "supervised")
    assert untrained.settings.label.startswith("random vit-micro")
    assert first.scores.findings["Effusion"].auroc.value > 0.95


def test_folds_are_refused_because_it_saw_labels_of_what_they_score(workspace: Workspace) -> None:
    plan = plan_of(workspace, "train.split=hash", "train.num_epochs=1", label="short")
    pretrain(plan)
    with pytest.raises(LeakageError, match="took part in pretraining"):
        probe_run(workspace, plan.run_id, "", "", ProbeSettings(num_resamples=20, folds=3), ProbeChoices())


def test_a_run_with_other_labels_is_another_run(workspace: Workspace) -> None:
    plan = plan_of(workspace)
    changed = plan.cohort.label_values.copy()
    changed[0, 0] = 1 - max(0, changed[0, 0])
    other = replace(plan.cohort, label_values=changed)
    assert replace(plan, cohort=other).origin["cohort_sha256"] != plan.origin["cohort_sha256"]
    assert plan_of(workspace, "objective.uncertain=ones").run_id != plan.run_id


def test_without_a_finding_that_is_both_there_and_not_it_is_refused(workspace: Workspace) -> None:
    plan = plan_of(workspace)
    blank = replace(plan.cohort, label_values=np.full_like(plan.cohort.label_values, -2))
    with pytest.raises(DataError, match="no finding of cohort nih is both present and absent"):
        load_record(replace(plan, cohort=blank))


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("train.rows=all", "would learn the labels of the films that it is tested on"),
        ("ehr.features=[\"sex\"]", "cannot join the record to a film"),
        ("views.num_focal=2", '"views.num_focal" has no effect'),
    ],
)  # fmt: skip
def test_what_makes_no_sense_with_labels_is_refused(workspace: Workspace, override: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of(workspace, override)
    assert what in caught.value.what
