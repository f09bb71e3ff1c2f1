"""Under a table stands which findings differ, adjusted for how many of them there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import group_evaluations, list_pairs, publish_comparisons
from cxrssl.report.probe_tables import macro_table
from cxrssl.stats.scores import compare_predictions
from tests.report.test_report import evaluations_of, make_evaluation


def test_the_findings_that_differ_after_holm_are_named_under_the_table(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    (group,) = group_evaluations(evaluations_of(workspace))
    differences = publish_comparisons(workspace, list_pairs(group))
    (pair,) = differences
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (300, 2))
    good, bad = labels + rng.normal(size=labels.shape), rng.normal(size=labels.shape)
    good[:, 1] = bad[:, 1] + 0.01 * rng.normal(size=300)
    made = compare_predictions(good, bad, labels, np.arange(300), ["Edema", "Mass"], num_resamples=200)
    note = macro_table(group, {pair: made}).note
    assert "Holm over findings, AUROC of " in note
    assert "(2): Edema (p below .001) differs at 0.05" in note
