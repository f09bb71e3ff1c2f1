"""Learning curves: shares of the labels by subject, nested, the same findings at every share, and what shows them."""

from __future__ import annotations

import csv
import dataclasses
import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrssl.audit.everything import audit_workspace
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.probes import ProbeFolder
from cxrssl.evaluate import learning
from cxrssl.evaluate.candidate import Candidate, table_candidate
from cxrssl.evaluate.learning import check_fractions, find_curves, publish_curves, read_fractions
from cxrssl.evaluate.plan import draw_labelled, plan_evaluation
from cxrssl.evaluate.run import ProbeChoices, evaluate_candidates
from cxrssl.images.store import ImageStore
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, list_all_evaluations, list_evaluations
from cxrssl.records.published import read_published
from cxrssl.report.write import write_report
from cxrssl.stats.scores import resample_metrics
from cxrssl.train.pooled import open_films
from tests.cli import command
from tests.world import make_workspace

QUICK = ProbeSettings(num_resamples=20)
SHARES = (0.05, 0.5, 1.0)
World = tuple[Workspace, Cohort, ImageStore, Candidate]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A cohort, and features that show the finding the better the more labels there are."""
    workspace = make_workspace(tmp_path_factory.mktemp("learning"), num_patients=120)
    cohort, images = open_films(workspace, "nih")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(cohort), 20)).astype(np.float32)
    features[:, 0] += cohort.labels(["Effusion"])[:, 0]
    candidate = dataclasses.replace(table_candidate(cohort, ("view",), "view-only"), features=lambda: features)
    evaluate(workspace, cohort, images, candidate)
    return workspace, cohort, images, candidate


def evaluate(workspace: Workspace, cohort: Cohort, images: ImageStore, candidate: Candidate) -> list[Evaluation]:
    choices = ProbeChoices(fractions=SHARES, draws=2)
    return evaluate_candidates(workspace, [candidate], cohort, images, "hash", QUICK, choices)


def labelled(world: World, share: float, draw: int) -> set[str]:
    _, cohort, images, candidate = world
    settings = dataclasses.replace(QUICK, fraction=share, draw=draw)
    plan = plan_evaluation(world[0], candidate, cohort, images, "hash", settings)
    return set(cohort.subject_id[plan.rows["train"]].tolist())


def test_a_share_is_of_subjects_and_holds_the_smaller_shares_of_its_draw(world: World) -> None:
    _, cohort, _, _ = world
    train = cohort.rows_of("train", "hash")
    subjects = set(cohort.subject_id[train].tolist())
    shares = [0.01, 0.05, 0.25, 0.5, 1.0]
    drawn = [labelled(world, share, 0) for share in shares]
    assert [len(each) for each in drawn] == [max(1, round(share * len(subjects))) for share in shares]
    assert all(less <= more for less, more in pairwise(drawn))
    assert drawn[-1] == subjects
    assert labelled(world, 0.25, 1) != drawn[2]
    assert labelled(world, 0.25, 0) == drawn[2]


def test_a_subject_brings_all_of_its_train_films_and_val_and_test_stay_whole(world: World) -> None:
    workspace, cohort, images, candidate = world
    settings = dataclasses.replace(QUICK, fraction=0.25, draw=0)
    plan = plan_evaluation(workspace, candidate, cohort, images, "hash", settings)
    whole = plan_evaluation(workspace, candidate, cohort, images, "hash", QUICK)
    chosen = np.isin(cohort.subject_id[whole.rows["train"]], cohort.subject_id[plan.rows["train"]])
    assert np.array_equal(plan.rows["train"], whole.rows["train"][chosen])
    assert np.array_equal(plan.rows["val"], whole.rows["val"])
    assert np.array_equal(plan.rows["test"], whole.rows["test"])
    assert plan.num_twins_left_out == whole.num_twins_left_out
    fewer = whole.rows["train"][::3]
    kept = set(cohort.subject_id[draw_labelled(cohort, fewer, settings)].tolist())
    assert kept <= labelled(world, 1.0, 0)


def test_points_stand_apart_from_evaluations_with_all_labels(world: World) -> None:
    workspace, _, _, _ = world
    whole, points = list_evaluations(workspace)[0], read_published(workspace).points
    assert len(whole) == 1
    assert sorted((each.settings.probe.fraction, each.settings.probe.draw) for each in points) == [
        (0.05, 0), (0.05, 1), (0.5, 0), (0.5, 1),
    ]  # fmt: skip
    assert len(list_all_evaluations(workspace)[0]) == 5
    assert read_published(workspace).evaluations == tuple(whole)
    assert ProbeFolder(points[0].path).poll({"nih": "nih"}) is None
    assert whole[0].settings.to_dict()["probe"].keys().isdisjoint({"fraction", "draw"})
    assert "num_train_subjects" not in whole[0].scores.to_dict()


def test_the_labelled_subjects_with_each_finding_are_counted(world: World) -> None:
    workspace, cohort, _, _ = world
    labels = cohort.labels(["Effusion"])[:, 0]
    for point in read_published(workspace).points:
        fit = point.fit()
        assert fit is not None
        rows = fit.fitted_on
        with_it = set(cohort.subject_id[rows[labels[rows] == 1]].tolist())
        assert point.scores.train_pos_subjects["Effusion"] == len(with_it)
        assert point.scores.num_train_subjects == len(set(cohort.subject_id[rows].tolist()))


def slow_mean(draws: list[Evaluation]) -> tuple[float, NDArray[np.floating[Any]]]:
    """Return the mean AUROC of Effusion over draws, and in each resample."""
    values, samples = [], []
    for each in draws:
        predictions = each.predictions()
        value, sample = resample_metrics(
            predictions.logits[:, [2]], predictions.labels[:, [2]], predictions.subject_id, ["Effusion"],
            num_resamples=20,
        )  # fmt: skip
        values.append(float(value[0, 1]))
        samples.append(sample[0, 1])
    return float(np.mean(values)), np.mean(samples, axis=0)


def test_a_point_is_the_mean_over_draws_and_has_their_range(world: World) -> None:
    workspace, _, _, _ = world
    (curve,) = find_curves(list_evaluations(workspace)[0], read_published(workspace).points)
    assert list(curve.points) == [0.05, 0.5, 1.0]
    numbers = publish_curves(workspace, [curve])[curve.curve_id]
    assert numbers.findings == ("Effusion",)
    for share, draws in curve.points.items():
        mean = numbers.points[f"{share:g}"].macro.auroc
        expected, means_R = slow_mean(list(draws))
        assert mean.value == pytest.approx(expected, abs=1e-12)
        assert mean.se_subjects == pytest.approx(float(np.nanstd(means_R, ddof=1)), abs=1e-12)
        assert mean.by_seed == tuple(each.scores.findings["Effusion"].auroc.value for each in draws)
    whole = numbers.points["1"].macro.auroc
    (evaluation,) = curve.points[1.0]
    _, means_R = slow_mean([evaluation])
    assert (whole.lo, whole.hi) == pytest.approx(tuple(np.nanquantile(means_R, [0.025, 0.975])))


def test_a_published_curve_is_not_measured_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, _, _, _ = world
    curves = find_curves(list_evaluations(workspace)[0], read_published(workspace).points)
    first = publish_curves(workspace, curves)
    monkeypatch.setattr(learning, "measure_curve", lambda curve: pytest.fail("measured again"))
    assert publish_curves(workspace, curves) == first
    (workspace.learning / curves[0].curve_id / "numbers.json").write_text("{}")
    monkeypatch.undo()
    assert publish_curves(workspace, curves) == first


def test_a_report_shows_the_curve_as_a_table_and_as_csv(world: World) -> None:
    workspace, _, _, _ = world
    report = write_report(workspace)
    assert "Learning curve on cohort nih" in report.markdown
    assert report.markdown.count("## Probe on") == 1
    rows = list(csv.DictReader(io.StringIO((report.folder / "learning.csv").read_text())))
    macro = [row for row in rows if (row["finding"], row["metric"]) == ("macro", "auroc")]
    assert [(float(row["fraction"]), row["num_draws"]) for row in macro] == [(0.05, "2"), (0.5, "2"), (1.0, "1")]
    assert all(float(row["least"]) <= float(row["value"]) <= float(row["most"]) for row in macro)
    assert macro[0]["num_train_subjects"] == "under 10"
    assert len((report.folder / "results.csv").read_text().splitlines()) == 31


def test_points_pass_the_audit(world: World) -> None:
    workspace, cohort, images, _ = world
    evaluate(workspace, cohort, images, table_candidate(cohort, ("sex", "view"), "ehr-only"))
    audited = [each for each in audit_workspace(workspace).results if each.about.startswith("evaluation ehr-only")]
    assert len({each.about for each in audited}) == 5
    assert not [each for each in audited if each.finding]


def test_percentages_are_read_in_any_order() -> None:
    assert read_fractions("100, 1,5") == (0.01, 0.05, 1.0)


@pytest.mark.parametrize(
    ("text", "what"),
    [("0,5", 'has "0"'), ("five", 'has "five"'), ("101", 'has "101"'), ("nan", 'has "nan"'), ("5,5.0", "twice")],
)
def test_percentages_that_cannot_be_are_refused(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_fractions(text)


def test_draws_and_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="--draws is 0"):
        check_fractions((0.5,), 0, QUICK)
    with pytest.raises(UsageError, match="with --folds there is none"):
        check_fractions((0.5,), 3, dataclasses.replace(QUICK, folds=3))


def test_the_command_prints_the_curve(world: World) -> None:
    workspace, _, _, _ = world
    words = ["probe", "--external", "tests/model/external/dinov2", "--cohort", "nih", "--resamples", "20"]
    done = command.run(*words, "--fractions", "10,100", "--draws", "2", "--workspace", str(workspace.root))
    assert done.returncode == 0, done.stderr
    assert "Learning curve, mean over the 1 finding that every draw could fit:" in done.stdout, done.stdout
    assert "Labelled train subjects with each finding, in the draw with the fewest:" in done.stdout
    assert "10 %" in done.stdout
