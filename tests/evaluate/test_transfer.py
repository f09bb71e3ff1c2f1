"""A fitted probe in another hospital: unchanged, beside one fitted there, its probabilities off and repaired."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrssl.cohort.groups import name_groups
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.cohort.split import Shares
from cxrssl.core.errors import DataError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.apart import find_fitted_on, measure_change
from cxrssl.evaluate.compare import list_carried
from cxrssl.evaluate.evaluation import DROPPED
from cxrssl.evaluate.fitted import to_probe
from cxrssl.evaluate.plan import plan_evaluation
from cxrssl.evaluate.protocol import Fit, Protocol, Show
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.evaluate.transfer import Transfer, carry_probe, run_maker
from cxrssl.images.store import open_images
from cxrssl.ingest import ingest_dataset
from cxrssl.records.eval_settings import ProbeSettings, objective_of
from cxrssl.records.evaluation import Evaluation, list_evaluations
from cxrssl.records.features import FeatureKey, open_features
from cxrssl.records.fitted import find_calibrations, find_source, find_thresholds, has_fitted, open_fitted
from cxrssl.records.reading import CLS, parse_reading
from cxrssl.report.cells import Number, show_cell
from cxrssl.report.small import HIDDEN
from cxrssl.report.transfer_tables import _bin_cells, _shares
from cxrssl.stats.calibration import Bin, Calibration, is_off, sigmoid
from cxrssl.stats.matched import match_predictions
from cxrssl.stats.metrics import auroc
from cxrssl.stats.resample import Interval
from cxrssl.stats.thresholds import Decisions
from cxrssl.train.pooled import open_films
from tests.cli.command import Result, run
from tests.export.encoders import publish_run
from tests.world import HEADER

SMALL = ("views.global_px=32", "model.patch_px=8")
SETTINGS = ProbeSettings(num_resamples=200)
HEADS = Protocol(
    name="heads", drops_last=True, show=Show(flip_prob=0.5), fit=Fit("adam", (1e-2,), batch_films=7, epochs=2)
)
World = tuple[Workspace, Evaluation, list[Transfer]]


def write_films(root: Path, rate: float, first: int, seed: int, num_patients: int = 240, px: int = 48) -> Path:
    """Write a hospital in which `rate` of the films have an effusion, and look the same whatever the rate."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    rows = [HEADER]
    for patient in range(first, first + num_patients):
        for follow_up in range(2):
            name, has = f"{patient:08d}_{follow_up:03d}.png", rng.random() < rate
            film = rng.integers(40, 120, (px, px)).astype(np.uint8)
            film[px // 2 :] += np.uint8(np.clip(rng.normal(45 + 40 * has, 20), 0, 130))
            Image.fromarray(film).save(root / "images" / name)
            finding = "Effusion" if has else "No Finding"
            rows.append(f"{name},{finding},{follow_up},{patient},{20 + patient % 60},M,PA,{px},{px},0.1,0.1")
    (root / "Data_Entry_2017.csv").write_text("\n".join(rows) + "\n")
    return root


def ingest(workspace: Workspace, root: Path, name: str) -> None:
    options = IngestOptions("nih", root, name=name, size_px=48, num_workers=1, shares=Shares(40, 30, 30))
    ingest_dataset(workspace, options)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A probe fitted in a hospital where half of the films have an effusion, carried to one where a fourth have."""
    folder = tmp_path_factory.mktemp("transfer")
    workspace = Workspace(folder / "workspace").create()
    ingest(workspace, write_films(folder / "half", 0.5, 1, 0), "half")
    ingest(workspace, write_films(folder / "fourth", 1 / 4, 5001, 2), "fourth")
    packed = open_images(workspace.images / "half")
    publish_run(workspace, "own", dataset="nih", cohort="half", images_sha256=packed.content_sha256, changes=SMALL)
    (evaluation,) = probe_run(workspace, "own", "half", "hash", SETTINGS, ProbeChoices(baselines=False))
    maker = run_maker(workspace, evaluation, "cpu")
    return workspace, evaluation, carry_probe(workspace, evaluation, ["fourth"], maker, ProbeChoices())


@pytest.fixture(scope="module")
def twin(world: World) -> str:
    """Another cohort of the films of the first, under the same split."""
    ingest(world[0], world[0].root.parent / "half", "twin")
    return "twin"


def probe(workspace: Workspace, *words: object) -> Result:
    return run("probe", "own", "--no-baselines", "--resamples", 50, "--device", "cpu", *words, workspace=workspace.root)


def test_where_the_finding_is_rarer_the_ranking_stays_and_the_probabilities_are_off_until_val_there_repairs_them(
    world: World,
) -> None:
    _, _, (transfer,) = world
    assert transfer.carried.scores.macro_auroc.value > 0.75
    for stays in (transfer.difference.findings["Effusion"].auroc, transfer.change["Effusion"]):
        assert stays.lo <= 0 <= stays.hi
    calibrations = find_calibrations(transfer.carried)
    assert calibrations is not None
    found = calibrations.findings["Effusion"]
    assert found.raw is not None
    assert found.after_platt is not None
    assert found.after_there is not None
    assert is_off(found.raw.intercept)
    assert found.raw.intercept.value == pytest.approx(-np.log(3), abs=0.6)
    assert is_off(found.after_platt.intercept)  # the map of the first hospital does not know the second
    assert not is_off(found.after_there.intercept)
    assert found.after_there.brier.value < found.raw.brier.value
    assert calibrations.fitted_on == "half, split hash"
    assert calibrations.there == "fourth, split hash"


def test_a_carried_probe_is_matched_and_scored_by_groups_as_the_one_that_is_fitted_there(world: World) -> None:
    workspace, _, (transfer,) = world
    cohort, _ = open_films(workspace, "fourth")
    for made in (transfer.carried, transfer.there):
        films = made.predictions()
        rows = [cohort.image_id.tolist().index(each) for each in films.image_id.tolist()]
        bands = name_groups(cohort, "age")[0][rows]
        of_films = films.logits, films.labels, films.subject_id, bands
        found, mean = match_predictions(*of_films, num_resamples=SETTINGS.num_resamples, seed=SETTINGS.seed)
        assert (made.scores.is_matched, made.scores.matched_on) == (True, ("age",))
        assert made.scores.matched["Effusion"] == found[films.finding_names.tolist().index("Effusion")]
        assert made.scores.macro_matched == mean
        assert {each.attribute for each in made.subgroups()} == {"age"}


def test_the_carried_probe_is_the_one_that_was_fitted_weight_for_weight(world: World) -> None:
    workspace, evaluation, (transfer,) = world
    settings = transfer.carried.settings
    assert settings.candidate.weights_sha256 is not None
    assert settings.candidate.architecture is not None
    key = FeatureKey(settings.candidate.weights_sha256, settings.images_sha256, settings.candidate.architecture)
    images, predicted = open_images(workspace.images / "fourth"), transfer.carried.predictions()
    rows = [images.image_id.tolist().index(each) for each in predicted.image_id.tolist()]
    fitted = open_fitted(evaluation)
    column = fitted.weights.finding_names.tolist().index("Effusion")
    logits = to_probe(fitted).predict_logits(open_features(key.folder(workspace))[rows])[:, column]
    assert predicted.logits[:, 0] == pytest.approx(logits, abs=1e-12)
    assert transfer.carried.scores.macro_auroc.value == auroc(logits, predicted.labels[:, 0])
    assert (has_fitted(transfer.carried), has_fitted(transfer.there)) == (False, True)
    source = find_source(transfer.carried)
    assert source is not None
    assert (source.eval_id, source.findings) == (evaluation.eval_id, {"Effusion": "Effusion"})
    with pytest.raises(DataError, match="applied the probe of another cohort, half"):
        open_fitted(transfer.carried)


def test_the_change_from_home_resamples_both_cohorts_apart(world: World) -> None:
    _, evaluation, (transfer,) = world
    home, there = evaluation.scores.findings["Effusion"].auroc, transfer.carried.scores.findings["Effusion"].auroc
    change = transfer.change["Effusion"]
    assert change.value == pytest.approx(there.value - home.value, abs=1e-12)
    assert change == transfer.change["macro"]
    wide = np.hypot(home.hi - home.lo, there.hi - there.lo)
    assert change.hi - change.lo == pytest.approx(wide, rel=0.3)


def test_both_are_scored_on_the_same_films_and_say_where_they_were_fitted(world: World) -> None:
    workspace, evaluation, (transfer,) = world
    carried, there = transfer.carried, transfer.there
    assert carried.settings.carried is not None
    assert (carried.settings.carried.cohort, there.settings.carried) == ("half", None)
    assert carried.settings.label == f"{there.settings.label}, probe of half"
    assert objective_of(carried.settings) == objective_of(there.settings) == "MSN"
    assert carried.predictions().image_id.tolist() == there.predictions().image_id.tolist()
    assert carried.settings.terms != there.settings.terms
    assert evaluation.settings.carried is None
    evaluations, damage = list_evaluations(workspace)
    assert not damage
    assert [(a.eval_id, b.eval_id) for a, b in list_carried(evaluations)] == [(there.eval_id, carried.eval_id)]


def test_thresholds_are_carried_and_scored_there(world: World) -> None:
    _, evaluation, (transfer,) = world
    here, there = find_thresholds(evaluation), find_thresholds(transfer.carried)
    assert here is not None
    assert there is not None
    assert there.fitted_on == "half, split hash"
    predicted = transfer.carried.predictions()
    for rule, point in there.findings["Effusion"].points.items():
        assert point.threshold_logit == here.findings["Effusion"].points[rule].threshold_logit
        called = predicted.logits[:, 0] >= point.threshold_logit
        assert point.threshold == pytest.approx(float(sigmoid(np.array(point.threshold_logit))))
        assert point.test is not None
        assert point.test.sensitivity.value == pytest.approx(called[predicted.labels[:, 0] == 1].mean())
        assert point.test.ppv.value == pytest.approx((predicted.labels[called, 0] == 1).mean())
    own = here.findings["Effusion"].points["youden"].test
    rarer = there.findings["Effusion"].points["youden"].test
    assert own is not None
    assert rarer is not None
    assert rarer.ppv.value < own.ppv.value  # the finding is rarer


def test_the_same_transfer_is_made_once_and_again_when_its_probe_is_another(world: World) -> None:
    workspace, evaluation, (transfer,) = world
    maker = run_maker(workspace, evaluation, "cpu")
    before = (transfer.carried.path / "manifest.json").stat().st_mtime_ns
    carry_probe(workspace, evaluation, ["fourth"], maker, ProbeChoices())
    assert (transfer.carried.path / "manifest.json").stat().st_mtime_ns == before
    other = dataclasses.replace(evaluation, content_sha256="0" * 64)
    (again,) = carry_probe(workspace, other, ["fourth"], maker, ProbeChoices())
    source = find_source(again.carried)
    assert again.carried.eval_id == transfer.carried.eval_id
    assert source is not None
    assert source.content_sha256 == "0" * 64
    carry_probe(workspace, evaluation, ["fourth"], maker, ProbeChoices())


def test_probe_and_report_say_which_is_which(world: World) -> None:
    workspace, _, _ = world
    shown = probe(workspace, "--on", "half", "--split", "hash", "--test-on", "fourth")
    assert shown.returncode == 0, shown.stderr
    text = " ".join(shown.stdout.split())
    assert "Carried to cohort fourth, split hash: " in text
    (row,) = [line for line in shown.stdout.splitlines() if "probe of half, unchanged" in line]
    assert row.count("[") == 2, "its macro AUROC, and the matched one"
    for row in ("probe of half, unchanged 0.", "probe fitted on fourth 0.", "fitted there - carried ", "on half "):
        assert row in text
    assert "Thresholds (youden, sens=0.9, spec=0.9) fitted on val for 1 of " in text
    asked = probe(workspace, "--on", "half", "--split", "hash", "--test-on", "fourth", "--json")
    summary: dict[str, Any] = json.loads(asked.stdout)
    (carried,) = [each for each in summary.values() if "carried" in each["settings"]]
    assert carried["settings"]["carried"]["cohort"] == "half"
    assert carried["fitted_there"] in summary
    assert carried["fitted_there_minus_carried"]["macro_auroc"]["num_resamples"] == 50


def test_the_report_says_where_probes_were_fitted_and_how_true_they_are(world: World) -> None:
    workspace, _, (transfer,) = world
    shown = run("report", "--name", "fits", workspace=workspace.root)
    assert shown.returncode == 0, shown.stderr
    folder = workspace.reports / "fits"
    text = (folder / "report.md").read_text()
    assert "split hash; findings Effusion; probe fitted on cohort half, split hash" in text
    assert "Probes carried to other cohorts" in text
    assert "Calibration on test films" in text
    rows = list(csv.DictReader((folder / "calibration.csv").read_text().splitlines()))
    (raw,) = [each for each in rows if each["eval_id"] == transfer.carried.eval_id and each["map"] == "raw"]
    assert float(raw["intercept hi"]) < 0
    repaired = next(each for each in rows if each["map"] == "platt there")
    assert repaired["map_fitted_on"] == "fourth, split hash"
    rows = list(csv.DictReader((folder / "thresholds.csv").read_text().splitlines()))
    assert {each["rule"] for each in rows if each["eval_id"] == transfer.there.eval_id} >= {"youden", "sens=0.9"}
    assert any(each["why_none"] == "there is no probe" for each in rows)


def test_a_bin_of_few_subjects_is_hidden_and_cannot_be_computed() -> None:
    interval = Interval(0.25, 0.1, 0.4, 10, 10, 40)
    bins = (Bin(40, 10, 10, 30, 0.2, interval), Bin(57, 3, 3, 40, 0.5, interval))
    scored = Calibration(interval, interval, interval, bins)
    assert list(_bin_cells(scored, "hide")) == [
        [1, "about 40", "about 10", Number(0.2), Number(0.25)],
        [2, "about 60", HIDDEN, Number(0.5), HIDDEN],
    ]
    assert [cells[1:3] for cells in _bin_cells(scored, "show")] == [["40", "10"], ["57", "3"]]
    few, many = dataclasses.replace(interval, num_rarer=4), dataclasses.replace(interval, num_rarer=10)
    decisions = Decisions(few, many, many, many, 5, 50)
    assert [show_cell(each) for each in _shares(decisions, "hide")][:2] == [HIDDEN, "0.250 [0.100, 0.400]"]
    assert HIDDEN not in _shares(decisions, "show")


def test_a_cohort_whose_test_subjects_the_probe_was_fitted_on_is_refused(world: World, tmp_path: Path) -> None:
    """The same people under another split: some are test subjects here and were train subjects there."""
    workspace, evaluation, (transfer,) = world
    shares = Shares(10, 10, 80)
    root = workspace.root.parent / "half"
    ingest_dataset(workspace, IngestOptions("nih", root, name="again", size_px=48, num_workers=1, shares=shares))
    maker = run_maker(workspace, evaluation, "cpu")
    with pytest.raises(LeakageError, match="took part in fitting the probe on cohort half"):
        carry_probe(workspace, evaluation, ["again"], maker, ProbeChoices())
    (leaky,) = carry_probe(workspace, evaluation, ["again"], maker, ProbeChoices(may_overlap=True))
    assert "took part in fitting the probe" in leaky.carried.settings.leak
    assert not leaky.there.settings.leak
    assert transfer.carried.settings.leak == ""


def test_people_whose_films_chose_the_probe_are_no_test_people_elsewhere(world: World) -> None:
    """Val films chose the strength, the thresholds and the calibration, which are carried with the weights."""
    workspace, evaluation, _ = world
    cohort, images = open_films(workspace, "half")
    maker = run_maker(workspace, evaluation, "cpu")
    plan = plan_evaluation(workspace, maker(cohort, images, "hash"), cohort, images, "hash", SETTINGS)
    val = cohort.rows_of("val", "hash")
    num = len(set(cohort.subject_id[val[:9]]))
    leak = find_fitted_on(workspace, evaluation, dataclasses.replace(plan, rows={**plan.rows, "test": val[:9]}))
    assert leak == f"{num} test subjects of cohort half took part in fitting the probe on cohort half"
    assert find_fitted_on(workspace, evaluation, plan) == "", "its own test films"


def test_two_test_sets_without_a_finding_that_both_define_have_no_change(world: World) -> None:
    _, evaluation, (transfer,) = world
    findings = {name: dataclasses.replace(score, num_pos=0) for name, score in transfer.carried.scores.findings.items()}
    none = dataclasses.replace(transfer.carried.scores, findings=findings)
    assert not any(score.is_defined for score in none.findings.values())
    assert measure_change(evaluation, dataclasses.replace(transfer.carried, scores=none)) == {}


def test_films_that_look_alike_are_found_between_data_sets(world: World) -> None:
    workspace, evaluation, (transfer,) = world
    maker = run_maker(workspace, evaluation, "cpu")
    images = open_images(workspace.images / "half")
    cohort, _ = open_films(workspace, "half")
    renamed = dataclasses.replace(cohort, dataset="dicom", subject_id=np.char.add("x", cohort.subject_id))
    plan = plan_evaluation(workspace, maker(cohort, images, "hash"), cohort, images, "hash", SETTINGS)
    fit = evaluation.fit()
    assert fit is not None
    rows = {**plan.rows, "test": fit.fitted_on[:7]}
    leak = find_fitted_on(workspace, evaluation, dataclasses.replace(plan, cohort=renamed, rows=rows))
    assert leak.startswith("7 test films of cohort half look")
    assert find_fitted_on(workspace, evaluation, dataclasses.replace(plan, cohort=renamed)) == ""
    assert transfer.carried.scores.num_films > 7


def test_a_run_that_has_seen_the_other_cohort_is_refused_alike(world: World) -> None:
    workspace, evaluation, _ = world
    cohort = workspace.cohorts / "fourth"
    from cxrssl.cohort.read import open_cohort

    opened = open_cohort(cohort)
    maker = run_maker(workspace, evaluation, "cpu")
    images = open_images(workspace.images / "fourth")
    candidate = maker(opened, images, "hash")
    assert candidate.pretraining is not None
    films = candidate.pretraining.films
    test = opened.rows_of("test", "hash")
    seen = dataclasses.replace(films, image_id=opened.image_id[test][:3], subject_id=opened.subject_id[test][:3])
    shown = dataclasses.replace(candidate, pretraining=dataclasses.replace(candidate.pretraining, films=seen))
    with pytest.raises(LeakageError, match="of cohort fourth took part in pretraining"):
        carry_probe(workspace, evaluation, ["fourth"], lambda *_: shown, ProbeChoices())


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("--test-on", "half"), 2, "the cohort that the probe is fitted on"),
        (("--test-on", "third"), 2, 'no cohort "third"'),
        (("--test-on", ","), 2, "--test-on names no cohort"),
        (("--test-on", "fourth", "--folds", "5"), 2, "none that could be carried"),
        (("--threshold", "f1"), 2, '"f1" is no rule for a threshold'),
        (("--threshold", "youden", "--folds", "5"), 2, "--threshold has no effect on folds"),
    ],
)
def test_what_cannot_be_carried_is_one_sentence(world: World, words: tuple[str, ...], code: int, what: str) -> None:
    refused = (
        probe(world[0], "--on", "half", "--split", "hash", *words)
        if "--folds" not in words
        else probe(world[0], "--on", "half", *words)
    )
    assert (refused.returncode, refused.stdout) == (code, "")
    assert what in refused.stderr


@pytest.mark.parametrize("way", ["patches", "last:2", "knn:9", "attention", "max", "protocol"])
def test_every_kind_of_probe_says_of_the_same_films_elsewhere_what_it_said_at_home(
    world: World, twin: str, way: str
) -> None:
    workspace = world[0]
    reading = CLS if way == "protocol" else parse_reading(way)
    choices = ProbeChoices(
        baselines=False, may_overlap=True, reading=reading, protocol=HEADS if way == "protocol" else None
    )
    (source,) = probe_run(workspace, "own", "half", "hash", SETTINGS, choices)
    (transfer,) = carry_probe(workspace, source, [twin], run_maker(workspace, source, "cpu"), choices)
    for each in (transfer.carried, transfer.there):
        here, there = source.predictions(), each.predictions()
        assert there.image_id.tolist() == here.image_id.tolist()
        column = here.finding_names.tolist().index("Effusion")
        assert there.logits[:, 0] == pytest.approx(here.logits[:, column], abs=1e-5)
        assert there.finding_names.tolist() == ["Effusion"]
    carried = transfer.carried
    assert carried.settings.candidate.read == source.settings.candidate.read
    assert carried.settings.probe.protocol == source.settings.probe.protocol
    assert (carried.scores.strengths, carried.scores.head) == (source.scores.strengths, source.scores.head)
    assert carried.scores.num_dropped == source.scores.num_dropped
    assert (carried.path / DROPPED).exists() == (way == "protocol")
    at_home, there_too = (find_thresholds(each) for each in (source, carried))
    assert at_home is not None
    assert there_too is not None
    assert there_too.findings["Effusion"].points == at_home.findings["Effusion"].points
    assert not list_evaluations(workspace)[1]


def test_neighbours_of_a_cohort_that_has_changed_are_not_taken(world: World) -> None:
    workspace = world[0]
    choices = ProbeChoices(baselines=False, reading=parse_reading("knn:9"))
    (source,) = probe_run(workspace, "own", "half", "hash", SETTINGS, choices)
    changed = dataclasses.replace(source, settings=dataclasses.replace(source.settings, cohort_sha256="0" * 64))
    with pytest.raises(DataError, match="has changed since its films were taken as neighbours"):
        carry_probe(workspace, changed, ["fourth"], run_maker(workspace, source, "cpu"), choices)


def test_rules_of_ones_own_make_an_evaluation_of_its_own(world: World) -> None:
    workspace, evaluation, _ = world
    shown = probe(workspace, "--on", "half", "--split", "hash", "--threshold", "spec=0.8, youden", "--json")
    assert shown.returncode == 0, shown.stderr
    (eval_id,) = json.loads(shown.stdout)
    assert eval_id != evaluation.eval_id
    (made,) = [each for each in list_evaluations(workspace)[0] if each.eval_id == eval_id]
    thresholds = find_thresholds(made)
    assert thresholds is not None
    assert list(thresholds.findings["Effusion"].points) == ["spec=0.8", "youden"]


def test_a_probe_without_folds_is_asked_for(world: World) -> None:
    workspace, evaluation, _ = world
    settings = dataclasses.replace(evaluation.settings, probe=ProbeSettings(folds=3))
    with pytest.raises(UsageError, match="none that could be carried"):
        carry_probe(
            workspace,
            dataclasses.replace(evaluation, settings=settings),
            ["fourth"],
            run_maker(workspace, evaluation, "cpu"),
            ProbeChoices(),
        )
