"""`cxrssl predict`: the probe of an evaluation on new films, a row for each, equal to what the evaluation says."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from cxrssl.cohort.read import open_cohort
from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.external import probe_external
from cxrssl.evaluate.fitted import TOO_FEW
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.export import chosen
from cxrssl.export.chosen import PredictChoices, choose_probe
from cxrssl.export.films import open_cohort_films
from cxrssl.images.store import open_images
from cxrssl.model.external import ExternalChoices
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, open_evaluation, publish_evaluation
from cxrssl.records.fitted import (
    find_calibrations,
    find_thresholds,
    has_fitted,
    open_fitted,
)
from cxrssl.records.packing import Pack, explain_unlike_packs, pack_options
from cxrssl.records.reading import parse_reading
from tests.cli.command import Result, run
from tests.export.encoders import publish_run
from tests.world import make_workspace

MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
World = tuple[Workspace, Evaluation]
SMALL = ("views.global_px=32", "model.patch_px=8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A workspace with an encoder and a probe of Effusion, 160 patients of two films."""
    made = make_workspace(tmp_path_factory.mktemp("predict"), num_patients=160)
    packed = open_images(made.images / "nih")
    publish_run(made, "own", dataset="nih", cohort="nih", images_sha256=packed.content_sha256, changes=SMALL)
    settings = ProbeSettings(num_resamples=50)
    (evaluation,) = probe_run(made, "own", "", "hash", settings, ProbeChoices(baselines=False, may_overlap=True))
    return made, evaluation


def predict(world: World, *words: object) -> Result:
    return run("predict", "own", "--device", "cpu", *words, workspace=world[0].root)


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["film"] if "film" in row else row["image_id"]: row for row in rows}


def test_a_film_gets_what_the_probe_gave_it_in_the_test_set(world: World, tmp_path: Path) -> None:
    """The folder holds test films alone: another number of films, another batch."""
    workspace, evaluation = world
    predicted = evaluation.predictions()
    cohort = open_cohort(workspace.cohorts / "nih")
    path_of = dict(zip(cohort.image_id.tolist(), cohort.path.tolist(), strict=True))
    (tmp_path / "films").mkdir()
    for image_id in predicted.image_id.tolist():
        shutil.copy(cohort.root / path_of[image_id], tmp_path / "films")
    shown = predict(world, tmp_path / "films", "--out", tmp_path / "scores.csv")
    assert shown.returncode == 0, shown.stderr
    assert f"{len(predicted.image_id)} films scored for 1 finding" in shown.stdout
    rows = read_rows(tmp_path / "scores.csv")
    column = predicted.finding_names.tolist().index("Effusion")
    points = find_thresholds(evaluation)
    assert points is not None
    for image_id, logits in zip(predicted.image_id.tolist(), predicted.logits, strict=True):
        row = rows[Path(path_of[image_id]).name]
        assert float(row["Effusion probability"]) == pytest.approx(1 / (1 + np.exp(-logits[column])), abs=1e-6)
        assert row["fault"] == ""
        for rule, point in points.findings["Effusion"].points.items():
            if abs(logits[column] - point.threshold_logit) > 1e-4:
                assert row[f"Effusion {rule}"] == ("yes" if logits[column] >= point.threshold_logit else "no")
    assert list(next(iter(rows.values()))) == [
        "film", "fault", "Effusion logit", "Effusion probability", "Effusion calibrated", "Effusion youden",
        "Effusion sens=0.9", "Effusion spec=0.9",
    ]  # fmt: skip


def test_a_cohort_gets_the_same_scores_and_both_formats_agree(world: World, tmp_path: Path) -> None:
    _, evaluation = world
    for name in ("a.csv", "a.parquet"):
        shown = predict(world, "--cohort", "nih", "--ids", "dataset", "--out", tmp_path / name)
        assert shown.returncode == 0, shown.stderr
    rows, frame = read_rows(tmp_path / "a.csv"), pl.read_parquet(tmp_path / "a.parquet")
    assert frame["image_id"].to_list() == list(rows)
    for name in ("Effusion logit", "Effusion calibrated"):
        assert frame[name].to_list() == [float(row[name]) for row in rows.values()]
    predicted = evaluation.predictions()
    column = predicted.finding_names.tolist().index("Effusion")
    shown_logits = [float(rows[each]["Effusion logit"]) for each in predicted.image_id.tolist()]
    assert shown_logits == pytest.approx(predicted.logits[:, column].tolist(), abs=1e-9)


def test_ids_of_a_cohort_are_pseudonyms_unless_asked_for(world: World) -> None:
    shown = predict(world, "--cohort", "nih", "--json")
    path = Path(json.loads(shown.stdout)["file"])
    assert path == world[0].exports / "own-predicts-nih.csv"
    assert not any(each in path.read_text() for each in world[1].predictions().image_id.tolist())
    refused = predict(world, "--cohort", "nih")
    assert "the file is there already" in refused.stderr


def test_damaged_films_have_a_row_and_are_named_and_counted(world: World, tmp_path: Path) -> None:
    films = tmp_path / "films"
    (films / "more").mkdir(parents=True)
    cohort = open_cohort(world[0].cohorts / "nih")
    good = (cohort.root / cohort.path[0]).read_bytes()
    (films / "good.png").write_bytes(good)
    (films / "more" / "cut.png").write_bytes(good[:200])
    (films / "=1+2.png").write_bytes(good)
    (films / "notes.txt").write_text("no film")
    (films / "gone.png").symlink_to(films / "nowhere.png")
    (films / ".hidden").write_text("")
    shown = predict(world, films, "--out", tmp_path / "scores.csv")
    assert shown.returncode == 0, shown.stderr
    assert "2 films scored" in shown.stdout
    assert "3 films without scores: " in shown.stdout
    assert "cut.png" not in shown.stdout + shown.stderr
    rows = read_rows(tmp_path / "scores.csv")
    assert {name: row["fault"] for name, row in rows.items()} == {
        "'=1+2.png": "",
        "gone.png": "file missing",
        "good.png": "",
        "more/cut.png": "truncated",
        "notes.txt": "not a JPEG, PNG or DICOM",
    }
    assert rows["more/cut.png"]["Effusion logit"] == rows["more/cut.png"]["Effusion youden"] == ""
    assert not list(world[0].root.glob(".predict-*"))


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        ((), 2, "name one of the two"),
        (("nowhere",), 2, "there is no such folder of films"),
        ((".", "--ids", "dataset"), 2, "--ids has no effect on a folder"),
        ((".", "--out", "a.xlsx"), 2, '".xlsx" is none'),
        (("--cohort", "mimic"), 2, 'no cohort "mimic"'),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(world: World, words: tuple[str, ...], code: int, what: str) -> None:
    refused = predict(world, *words)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert what in refused.stderr


def test_a_folder_without_films_is_refused_and_nothing_is_written(world: World, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    assert "the folder holds no file" in predict(world, tmp_path / "films").stderr
    (tmp_path / "films" / "a.txt").write_text("x")
    refused = predict(world, tmp_path / "films", "--out", tmp_path / "a.csv")
    assert (refused.returncode, (tmp_path / "a.csv").exists()) == (3, False)
    assert "no film can be packed: 1 not a JPEG, PNG or DICOM" in refused.stderr


def test_an_older_evaluation_stays_readable_and_says_that_the_probe_must_be_fitted_again(
    world: World, tmp_path: Path
) -> None:
    _, evaluation = world
    path = tmp_path / evaluation.eval_id
    publish_evaluation(path, evaluation.settings, evaluation.scores, evaluation.predictions(), evaluation.fit())
    older = open_evaluation(path)
    assert not has_fitted(older)
    assert (find_thresholds(older), find_calibrations(older)) == (None, None)
    with pytest.raises(DataError, match="did not keep the fitted probe") as caught:
        open_fitted(older)
    assert caught.value.hint == "fit it again: cxrssl probe own --cohort nih"
    of_folds = dataclasses.replace(evaluation.settings, probe=ProbeSettings(folds=5))
    folded = dataclasses.replace(older, settings=of_folds)
    with pytest.raises(DataError, match="has a probe for each fold"):
        open_fitted(folded)


@pytest.mark.parametrize(
    ("packed", "wanted", "paths", "unlike"),
    [
        (Pack(48), Pack(48), ["a.dcm"], ""),
        (Pack(48), Pack(64), ["a.png"], "at 48 px, those of the probe at 64"),
        (
            Pack(48, by_shape=True), Pack(48), ["a.png", "b.dcm"],
            "with polarity by PresentationLUTShape, those of the probe with polarity by PhotometricInterpretation",
        ),
        (Pack(48, by_shape=True), Pack(48), ["a.png", "b.jpg"], ""),
        (
            Pack(48, png_bits=12), Pack(48), ["a.dcm", "b.PNG"],
            "with PNGs of 12 bits, those of the probe with the bits that each shows",
        ),
        (Pack(48, png_bits=12), Pack(48), ["a.dcm", "b.jpeg"], ""),
        (
            Pack(48, True), Pack(64, False, 12), ["no-ending"],
            "at 48 px, those of the probe at 64; with polarity by PresentationLUTShape, those of the probe with "
            "polarity by PhotometricInterpretation; with PNGs of the bits that each shows, those of the probe with "
            "12 bits",
        ),
    ],
)  # fmt: skip
def test_films_packed_in_another_way_are_told_where_it_changes_them(
    packed: Pack, wanted: Pack, paths: list[str], unlike: str
) -> None:
    assert explain_unlike_packs(packed, wanted, paths) == unlike


def test_a_cohort_whose_films_are_packed_by_other_rules_is_refused_with_the_options_of_ingest(world: World) -> None:
    workspace, evaluation = world
    wanted = Pack(64, png_bits=12)
    with pytest.raises(DataError, match="packed at 48 px, those of the probe at 64; with PNGs of the bits") as caught:
        open_cohort_films(workspace, "nih", wanted, "pseudonyms")
    assert caught.value.hint.endswith("cxrssl ingest nih PATH --size 64 --png-bits 12")
    assert pack_options(Pack(48, by_shape=True)) == ["--size", "48", "--polarity", "shape"]
    assert open_cohort_films(workspace, "nih", open_fitted(evaluation).about.pack, "pseudonyms").faults == {}


@pytest.mark.parametrize("read", ["patches", "last:1", "attention", "max"])
def test_every_reading_gives_a_film_what_its_probe_gave_it_in_the_test_set(
    world: World, tmp_path: Path, read: str
) -> None:
    workspace, _ = world
    choices = ProbeChoices(baselines=False, may_overlap=True, reading=parse_reading(read))
    (evaluation,) = probe_run(workspace, "own", "", "hash", ProbeSettings(num_resamples=10), choices)
    shown = run(
        "predict", evaluation.eval_id, "--cohort", "nih", "--ids", "dataset", "--device", "cpu", "--out",
        tmp_path / "scores.csv", workspace=workspace.root,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    rows, predicted = read_rows(tmp_path / "scores.csv"), evaluation.predictions()
    column = predicted.finding_names.tolist().index("Effusion")
    found = [float(rows[each]["Effusion logit"]) for each in predicted.image_id.tolist()]
    assert found == pytest.approx(predicted.logits[:, column].tolist(), abs=1e-5)


def test_a_probe_of_an_encoder_of_others_asks_for_its_files_and_knows_them(world: World, tmp_path: Path) -> None:
    workspace, _ = world
    path, other = MODEL, tmp_path / "other"
    shutil.copytree(MODEL, other)
    weights = load_file(other / "model.safetensors")
    save_file({name: value * 1.01 for name, value in weights.items()}, other / "model.safetensors")
    (evaluation, *_) = probe_external(
        workspace, ExternalChoices(path), None, "nih", "hash", ProbeSettings(num_resamples=10),
        ProbeChoices(baselines=False),
    )  # fmt: skip

    def ask(*words: object) -> Result:
        out = "--force", "--device", "cpu", "--out", tmp_path / "scores.csv"
        return run(
            "predict", evaluation.eval_id, "--cohort", "nih", "--ids", "dataset", *out, *words, workspace=workspace.root
        )

    asked = ask()
    assert asked.returncode == 2
    assert "whose weights the workspace does not keep" in asked.stderr
    assert "--external PATH" in asked.stderr
    wrong = ask("--external", other)
    assert wrong.returncode == 3
    assert "this encoder is another one than the probe was fitted on" in wrong.stderr
    assert "there is no such file or folder" in ask("--external", tmp_path / "absent").stderr
    shown = ask("--external", path)
    assert shown.returncode == 0, shown.stderr
    rows, predicted = read_rows(tmp_path / "scores.csv"), evaluation.predictions()
    column = predicted.finding_names.tolist().index("Effusion")
    found = [float(rows[each]["Effusion logit"]) for each in predicted.image_id.tolist()]
    assert found == pytest.approx(predicted.logits[:, column].tolist(), abs=1e-5)
    own = predict(world, "--cohort", "nih", "--external", path)
    assert own.returncode == 2
    assert "reads the encoder of a run" in own.stderr


@pytest.mark.parametrize(
    ("kind", "read", "what"),
    [
        ("pixels", None, "reads a thumbnail of each film"),
        ("ehr-only", None, "reads the health record, which new films come without"),
        ("joined", None, "reads the health record, which new films come without"),
        ("random-init", None, "reads an encoder that was never trained"),
        ("run", "knn:20", "reads 20 nearest films by class token: it is the train films themselves"),
    ],
)
def test_a_probe_that_cannot_read_new_films_says_what_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: Any, read: str | None, what: str
) -> None:
    workspace, evaluation = world
    settings = evaluation.settings
    candidate = dataclasses.replace(settings.candidate, read=read)
    other = dataclasses.replace(evaluation, settings=dataclasses.replace(settings, kind=kind, candidate=candidate))
    monkeypatch.setattr(chosen, "find_evaluation", lambda *_: other)
    with pytest.raises(DataError, match=f"the probe of evaluation {evaluation.eval_id} {what}") as caught:
        choose_probe(workspace, "own", PredictChoices(cohort="nih"))
    assert caught.value.hint.startswith("name a run that was probed")


def test_probing_again_keeps_the_probe_and_the_scores_of_an_older_evaluation(world: World) -> None:
    workspace, evaluation = world
    before = evaluation.scores.to_dict()
    publish_evaluation(
        evaluation.path, evaluation.settings, evaluation.scores, evaluation.predictions(), evaluation.fit()
    )
    assert "did not keep the fitted probe" in predict(world, workspace.cohorts).stderr
    choices = ProbeChoices(baselines=False, may_overlap=True)
    (again,) = probe_run(workspace, "own", "", "hash", evaluation.settings.probe, choices)
    assert again.eval_id == evaluation.eval_id
    assert has_fitted(again)
    assert again.scores.to_dict() == before
    assert again.content_sha256 == evaluation.content_sha256


def test_what_was_fitted_says_all_that_it_needs_to_be_applied(world: World) -> None:
    _, evaluation = world
    fitted = open_fitted(evaluation)
    about = fitted.about
    assert fitted.finding_names == ["Effusion"]
    assert (about.reads, about.uncertain, about.blank) == ("class token", "ignore", "zeros")
    assert about.weights_sha256 == evaluation.settings.candidate.weights_sha256
    assert about.pack.size_px == 48
    assert about.strength == evaluation.scores.strengths["all"]
    artefact = open_artefact(evaluation.path, "evaluation")
    assert {"fitted.npz", "fitted.json", "thresholds.json", "calibration.json"} < set(artefact.manifest["files"])
    thresholds, calibrations = find_thresholds(evaluation), find_calibrations(evaluation)
    assert thresholds is not None
    assert calibrations is not None
    assert thresholds.fitted_on == calibrations.fitted_on == "nih, split hash"
    point = thresholds.findings["Effusion"].points["sens=0.9"]
    assert point.val_sensitivity >= 0.9
    assert point.test is not None
    assert point.test.num_scored == evaluation.scores.num_films
    found = calibrations.findings["Effusion"]
    assert found.raw is not None
    assert found.after_platt is not None
    assert found.after_isotonic is not None
    assert sum(each.num_films for each in found.raw.bins) == evaluation.scores.num_films
    assert calibrations.findings["Hernia"].why_none == "there is no probe"


def test_too_few_val_subjects_give_no_threshold_and_say_so(tmp_path: Path) -> None:
    made = make_workspace(tmp_path, num_patients=60)
    packed = open_images(made.images / "nih")
    publish_run(made, "own", dataset="nih", cohort="nih", images_sha256=packed.content_sha256, changes=SMALL)
    settings = ProbeSettings(num_resamples=10)
    (evaluation,) = probe_run(made, "own", "", "hash", settings, ProbeChoices(baselines=False, may_overlap=True))
    thresholds = find_thresholds(evaluation)
    assert thresholds is not None
    assert thresholds.findings["Effusion"].why_none == TOO_FEW
    shown = run("predict", "own", "--cohort", "nih", "--device", "cpu", workspace=made.root)
    assert f"no threshold, because {TOO_FEW}: Effusion" in shown.stdout
    header = (made.exports / "own-predicts-nih.csv").read_text().splitlines()[0]
    assert header == "image_id,subject_id,fault,Effusion logit,Effusion probability"


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["polars", "duckdb", "textual"]))
from cxrssl.cli.app import main
main()
"""


def test_a_folder_is_predicted_on_a_machine_without_polars_and_duckdb(world: World, tmp_path: Path) -> None:
    workspace, _ = world
    (tmp_path / "films").mkdir()
    cohort = open_cohort(workspace.cohorts / "nih")
    shutil.copy(cohort.root / cohort.path[0], tmp_path / "films" / "a.png")
    words = ["predict", "own", "films", "--out", "a.csv", "--device", "cpu", "--workspace", str(workspace.root)]
    result = subprocess.run([sys.executable, "-c", WITHOUT, *words], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert list(read_rows(tmp_path / "a.csv")) == ["a.png"]


def test_a_damaged_byte_of_a_fitted_probe_is_found(world: World, tmp_path: Path) -> None:
    path = tmp_path / world[1].eval_id
    shutil.copytree(world[1].path, path)
    data = bytearray((path / "fitted.npz").read_bytes())
    data[400] ^= 1
    (path / "fitted.npz").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"fitted\.npz is damaged"):
        open_evaluation(path)
