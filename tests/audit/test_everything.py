"""`cxrssl cohort audit` and the gates of pretrain and probe on published folders, clean and sabotaged."""

from __future__ import annotations

import json
import re
import shutil
import xml.dom.minidom
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxrssl.audit.checks import CHECKS
from cxrssl.audit.everything import audit_workspace
from cxrssl.audit.looks import join_look_alikes
from cxrssl.cli.app import app
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.images.store import open_images
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import list_evaluations, publish_evaluation
from cxrssl.report.write import write_report
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from cxrssl.train.pooled import open_films
from tests.audit.conftest import rename_cohort, republish_cohort
from tests.audit.test_cohort import file_twice, subject_in_two_splits
from tests.world import TINY

SETTINGS = ProbeSettings(num_resamples=20)


def run_tiny(workspace: Workspace, *settings: str) -> str:
    recipe = load_recipe("demo", [*TINY, "train.num_epochs=1", *settings])
    return pretrain(plan_run(workspace, "mimic", recipe, Machine("cpu", 1))).run_id


def audit_command(workspace: Workspace, *words: str) -> Result:
    return CliRunner().invoke(app, ["cohort", "audit", *words, "--workspace", str(workspace.root)])


@pytest.fixture(scope="module")
def probed(clean: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The clean hospital with a run on train films, probed. Not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "workspace"
    shutil.copytree(clean.root, folder)
    workspace = Workspace(folder)
    probe_run(workspace, run_tiny(workspace), "", "", SETTINGS)
    return workspace


@pytest.fixture
def copy(probed: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(probed.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def test_the_clean_hospital_with_a_probed_run_has_no_finding(probed: Workspace) -> None:
    result = audit_command(probed)
    assert result.exit_code == 0, result.output
    assert "together:" in result.output
    assert "0 findings" in result.output.splitlines()[-1]
    values = json.loads(audit_command(probed, "--json").output)
    assert values["num_refused"] == 0
    not_ok = [(each["code"], each["finding"]) for each in values["results"] if each["severity"] != "ok"]
    assert {code for code, _ in not_ok} == {"fitted-outside-train"}, "of thumbnails, which are not kept"
    assert all(each["severity"] in ("ok", "skipped") for each in values["results"])
    assert {each["code"] for each in values["results"]} == set(CHECKS) - {
        "audit-stopped",
        "transductive",
        "start-films-unknown",
        "value-outside-window",
    }


def test_what_an_audit_finds_is_told_without_the_names_of_subjects_and_films(workspace: Workspace) -> None:
    cohort = open_cohort(workspace.cohorts / "mimic")
    changed, _ = file_twice(cohort, None)
    republish_cohort(workspace, path=changed.path)
    text = audit_command(workspace).output + audit_command(workspace, "--json").output
    assert "file-twice" in text
    assert not any(name in text for name in {*cohort.subject_id.tolist(), *cohort.image_id.tolist()})


def test_a_sabotaged_cohort_is_refused_by_the_audit_and_by_pretrain(workspace: Workspace) -> None:
    cohort = open_cohort(workspace.cohorts / "mimic")
    changed, _ = file_twice(cohort, None)
    republish_cohort(workspace, path=changed.path)
    result = audit_command(workspace, "mimic")
    assert result.exit_code == 3
    assert re.search(r"REFUSE +file-twice +1 file under several image ids", result.output)
    with pytest.raises(LeakageError, match="file-twice"):
        run_tiny(workspace)


def test_a_subject_in_two_splits_is_named_by_the_audit_though_no_cohort_opens(workspace: Workspace) -> None:
    changed, _ = subject_in_two_splits(open_cohort(workspace.cohorts / "mimic"), None)
    republish_cohort(workspace, split_official=changed.split_official)
    assert {"subject-in-two-splits", "arrays-differ-from-database"} == audit_workspace(workspace).codes
    with pytest.raises(LeakageError, match="2 subjects of 60 in two splits"):
        run_tiny(workspace)


@pytest.mark.parametrize("file", ["cohorts/mimic/films.npz", "cohorts/mimic/summary.json", "images/mimic/index.npz"])
def test_a_file_that_was_changed_after_publication_is_named(workspace: Workspace, file: str) -> None:
    path = workspace.root / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    audit = audit_workspace(workspace)
    assert audit.codes == {"changed-after-publication"}
    assert audit_command(workspace).exit_code == 3


def test_a_run_on_all_films_is_refused_by_probe_and_named_and_said_when_it_is_probed_all_the_same(
    copy: Workspace,
) -> None:
    run = run_tiny(copy, "train.rows=all")
    with pytest.raises(LeakageError, match="took part in pretraining") as error:
        probe_run(copy, run, "", "", SETTINGS, ProbeChoices(baselines=False))
    assert "--allow-overlap" in error.value.hint
    assert audit_workspace(copy).codes == {"pretrained-on-test-film"}
    probe_run(copy, run, "", "", SETTINGS, ProbeChoices(baselines=False, may_overlap=True))
    assert audit_workspace(copy).codes == {"pretrained-on-test-film"}
    assert "took part in pretraining" in write_report(copy).markdown.splitlines()[0]


def test_a_run_whose_films_are_test_films_of_another_dataset_under_other_ids_is_refused_by_probe(
    copy: Workspace,
) -> None:
    """Another publisher ships the same films: its test split shows what the run was trained on."""
    cohort = open_cohort(copy.cohorts / "mimic")
    rename_cohort(copy, "mimic", "other", dataset="other")
    other: dict[str, Any] = {
        name: np.char.add("x", getattr(cohort, name)) for name in ("image_id", "study_id", "subject_id")
    }
    swapped = np.select([cohort.split_official == part for part in ("train", "test")], ["test", "train"], "val")
    republish_cohort(copy, "other", split_official=swapped, **other)
    with np.load(copy.images / "other/index.npz") as index:
        arrays = dict(index) | {"image_id": other["image_id"]}
    rename_pack(copy, "other", arrays)
    (run,) = copy.run_ids()
    with pytest.raises(LeakageError, match="of cohort other took part in pretraining under another id"):
        probe_run(copy, run, "other", "", SETTINGS, ProbeChoices(baselines=False))
    audit = audit_workspace(copy, "other", against=[run])
    assert "pretrained-on-identical-film" in audit.codes
    pair = audit_workspace(copy, "mimic", against=["other"])
    assert "pretrained-on-identical-film" in pair.codes
    assert not pair.refusals


def rename_pack(workspace: Workspace, name: str, arrays: dict[str, np.ndarray]) -> None:
    import io

    from cxrssl.core.artefact import open_artefact, publish
    from cxrssl.core.durable import write_bytes

    folder = workspace.images / name
    artefact = open_artefact(folder, "images")
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with publish(folder, "images", artefact.settings, artefact.manifest["inputs"]) as building:
        for file, data in (files | {"index.npz": buffer.getvalue()}).items():
            write_bytes(building / file, data)


def test_a_list_of_films_that_is_cut_is_named(copy: Workspace) -> None:
    (run,) = copy.run_ids()
    path = copy.runs / run / "encoder/films.csv"
    path.write_bytes(path.read_bytes()[:-200])
    assert audit_workspace(copy).codes == {"films-not-listed"}


def test_a_cohort_that_changed_since_the_run_is_named(copy: Workspace) -> None:
    cohort = open_cohort(copy.cohorts / "mimic")
    values = cohort.ehr_values.copy()
    values[0, 1] += 1
    republish_cohort(copy, ehr_values=values)
    assert audit_workspace(copy).codes == {"cohort-changed-since-run", "arrays-differ-from-database"}


def test_names_that_do_not_exist_are_usage_errors_with_the_nearest_one(probed: Workspace) -> None:
    with pytest.raises(UsageError) as error:
        audit_workspace(probed, against=["mimc"])
    assert "mimic" in error.value.hint
    with pytest.raises(UsageError) as error:
        audit_workspace(probed, targets=["Edma"])
    assert "Edema" in error.value.hint


# ---- twins


def test_pretrain_and_probe_leave_out_twins_and_say_how_many(workspace: Workspace) -> None:
    """A train film gets the pixels of a test film: it is fitted on nowhere, and every test film is still scored."""
    cohort = open_cohort(workspace.cohorts / "mimic")
    a, b = int(cohort.rows_of("train")[0]), int(cohort.rows_of("test")[0])
    copy_film(workspace, a, b)
    recipe = load_recipe("demo", [*TINY, "train.num_epochs=1"])
    plan = plan_run(workspace, "mimic", recipe, Machine("cpu", 1))
    assert plan.num_twins_left_out == 1
    assert a not in plan.rows
    assert "1 train film left out, because validation or test has the same film" in plan.warnings
    run = pretrain(plan).run_id
    assert json.loads((workspace.runs / run / "run.json").read_text())["num_twins_left_out"] == 1
    (evaluation,) = probe_run(workspace, run, "", "", SETTINGS, ProbeChoices(baselines=False))
    assert evaluation.scores.num_twins_left_out == {"train": 1, "val": 0, "test": 0}
    assert evaluation.scores.num_films == len(cohort.rows_of("test"))
    shown = write_report(workspace, small="show")
    for report, num in ((write_report(workspace), "under 10"), (shown, "1")):
        (runs,) = [table for table in report.document.tables if table.title == "Runs"]
        assert [row[runs.columns.index("Twins left out")] for row in runs.texts()] == [num]
    assert "identical-films-in-two-splits" in shown.markdown
    assert audit_workspace(workspace).codes == {"identical-films-in-two-splits"}
    assert audit_command(workspace).exit_code == 0


def copy_film(workspace: Workspace, row: int, source: int) -> None:
    """Pack the film of `source` in the place of `row` too, with all that the index says of it."""
    from cxrssl.images.store import open_images

    images = open_images(workspace.images / "mimic")
    with np.load(workspace.images / "mimic/index.npz") as index:
        arrays = dict(index)
    for name in ("box_N4", "source_px_N2", "pixel_hash", "phash"):
        arrays[name][row] = arrays[name][source]
    shard = workspace.images / "mimic/shard-0000.npy"
    films = np.load(shard)
    films[arrays["row"][row]] = images.read_rows([source])[0]
    np.save(shard, films)
    manifest = workspace.images / "mimic/manifest.json"
    content = json.loads(manifest.read_text())
    del content["manifest_sha256"]
    from cxrssl.core.durable import hash_settings, sha256_file

    content["files"]["shard-0000.npy"]["sha256"] = sha256_file(shard)
    manifest.write_text(json.dumps({**content, "manifest_sha256": hash_settings(content)}))
    rename_pack(workspace, "mimic", arrays)


# ---- folds


def test_folds_of_films_that_were_pretrained_on_are_a_warning_and_what_was_fitted_is_checked(copy: Workspace) -> None:
    settings = replace(SETTINGS, folds=3)
    (evaluation,) = probe_run(copy, copy.run_ids()[0], "", "", settings, ProbeChoices(baselines=False))
    assert audit_workspace(copy).codes == {"transductive"}
    assert audit_command(copy).exit_code == 0
    predictions, folds = evaluation.predictions(), evaluation.folds()
    assert folds is not None
    moved = folds.fold_N.copy()
    moved[0] = (moved[0] + 1) % 3
    twice = folds._replace(fold_N=moved)
    shifted = folds._replace(mean_KD=folds.mean_KD + 0.01)
    for fit, what in ((twice, "1 person in two folds"), (shifted, "those of fold 1 are not those of the films of")):
        publish_evaluation(evaluation.path, evaluation.settings, evaluation.scores, predictions, fit)
        (found,) = [each for each in audit_workspace(copy).findings if each.code == "fitted-outside-train"]
        assert what in found.finding
    silent = replace(evaluation.settings, transductive="")
    publish_evaluation(evaluation.path, silent, evaluation.scores, predictions, folds)
    assert audit_workspace(copy).codes == {"transductive", "leak-not-reported"}


def test_subjects_who_share_a_film_are_kept_in_one_fold(workspace: Workspace) -> None:
    cohort, images = open_films(workspace, "mimic")
    rows = np.arange(2, len(cohort))
    alone = join_look_alikes(cohort, images, rows)
    _, subjects = np.unique(cohort.subject_id[rows], return_inverse=True)
    assert np.array_equal(alone[:, None] == alone, subjects[:, None] == subjects)
    a, b, c = (int(np.flatnonzero(subjects == each)[0]) for each in (1, 7, 4))
    copy_film(workspace, rows[a], rows[b])
    copy_film(workspace, rows[c], rows[b])
    joined = join_look_alikes(cohort, open_images(workspace.images / "mimic"), rows)
    assert joined[a] == joined[b] == joined[c]
    assert len(set(joined)) == len(set(alone)) - 2


# ---- flow


def test_the_flow_accounts_for_every_film_in_table_and_figure(probed: Workspace, tmp_path: Path) -> None:
    figure = tmp_path / "flow.svg"
    words = ["cohort", "flow", "mimic", "--figure", str(figure), "--workspace", str(probed.root), "--json"]
    words += ["--small-cells", "show"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    values = json.loads(result.output)
    assert values["steps"][-1]["films"] == sum(part[0]["films"] for part in values["parts"]) == 205
    (evaluation, *_), _ = list_evaluations(probed)
    assert [part[-1]["what"] for part in values["parts"]] == ["fitted on", "chosen on", "scored"]
    xml.dom.minidom.parse(str(figure))
    text = figure.read_text()
    assert f"{evaluation.scores.num_films:,}</text>" in text
    report = write_report(probed, small="show")
    assert (report.folder / "flow-mimic-official.svg").read_text() == text
    assert re.search(r"!\[Films of cohort mimic, .*split official\]\(flow-mimic-official.svg\)", report.markdown)
    assert re.search(r"- cohort mimic: \d+ checks, 0 findings\n", report.markdown)
