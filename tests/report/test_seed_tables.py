"""Setups of several seeds in a report: means beside vanilla and the wrong record, published once, in CSV and store."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.evaluate import resamples
from cxrssl.evaluate.groups import compare_groups, find_vanilla_group, group_seeds, score_group
from cxrssl.records.eval_settings import CandidateSettings
from cxrssl.records.group import NUMBERS, list_groups
from cxrssl.records.setup import read_setups
from cxrssl.report.write import Report, write_report
from cxrssl.results.store import refresh_store
from cxrssl.stats.resample import Interval
from tests.evaluate.test_groups import SHAPE, groups_of, make_arm, make_untrained
from tests.report.test_report import evaluations_of, make_evaluation

SAYS_NOTHING = "one seed: says nothing about the method"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("template") / "ws").create()
    make_arm(workspace, "vanilla", skill=1.0)
    make_arm(workspace, "right", skill=1.5, features=["sex"])
    make_arm(workspace, "shuffled", skill=0.8, features=["sex"], control="shuffled")
    make_arm(workspace, "zeros", seeds=(0,), skill=0.8, features=["sex"], control="zeros")
    make_untrained(workspace)
    make_evaluation(workspace, "view-only", kind="view-only", features=("view",), skill=0.1)
    return workspace


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(template.root, tmp_path / "ws"))


def rows_of(report: Report, title: str) -> dict[str, dict[str, str]]:
    """Return the rows of the first table with a title that begins so, by their first cell without what it is of."""
    table = next(each for each in report.document.tables if each.title.startswith(title))
    return {row[0].split(" (")[0]: dict(zip(table.columns, row, strict=True)) for row in table.texts()}


def test_what_a_report_publishes_first_it_shows_as_all_reports_after_it(workspace: Workspace) -> None:
    """What was just made has the order of what is read again."""
    assert not list_groups(workspace)[0]
    first, second = (
        {path.name: path.read_bytes() for path in write_report(workspace).folder.glob("*.*") if path.suffix != ".json"}
        for _ in range(2)
    )
    assert first == second
    assert "seeds.csv" in first


def test_setups_are_rows_with_means_and_stand_beside_vanilla_and_their_wrong_records(workspace: Workspace) -> None:
    report = write_report(workspace)
    rows, found = rows_of(report, "Means over seeds on cohort mimic"), groups_of(workspace)
    assert list(rows) == ["vanilla", "right", "shuffled", "zeros", "random vit-tiny", "view-only"]
    right = rows["right"]
    assert right["Seeds"] == "0, 1, 2"
    mean = score_group(found["right"]).macro
    assert right["AUROC"] == mean.auroc.interval.to_text()
    assert right["AUPRC"] == mean.auprc.interval.to_text()
    assert right["SD over seeds"] == f"{mean.auroc.sd_seeds:.3f}"
    assert right["SE over subjects"] == f"{mean.auroc.se_subjects:.3f}"
    for column, against, remark in (
        ("AUROC - untrained", "random vit-tiny", ""), ("AUROC - vanilla", "vanilla", ""),
        ("AUROC right - shuffled record", "shuffled", ""), ("AUROC right - zeros record", "zeros", " one seed"),
    ):  # fmt: skip
        difference = compare_groups(found["right"], found[against]).macro.auroc.interval
        assert right[column] == difference.to_text(signed=True) + remark
    assert rows["shuffled"]["AUROC - vanilla"]
    assert {rows[name]["AUROC right - shuffled record"] for name in rows if name != "right"} == {""}
    assert rows["vanilla"]["AUROC - vanilla"] == ""
    assert (rows["view-only"]["Seeds"], rows["view-only"]["SD over seeds"]) == ("", "")
    assert float(rows["view-only"]["SE over subjects"]) > 0


def test_one_seed_is_said_to_say_nothing(workspace: Workspace, tmp_path: Path) -> None:
    report = write_report(workspace)
    rows = rows_of(report, "Means over seeds on cohort mimic")
    assert rows["zeros"]["Seeds"] == "0 (one seed)"
    assert f"{SAYS_NOTHING.capitalize()}." in report.markdown
    assert rows["zeros"]["SD over seeds"] == ""
    assert "one seed" not in rows["right"]["Seeds"] + rows["view-only"]["Seeds"] + rows["random vit-tiny"]["Seeds"]
    alone = Workspace(tmp_path / "alone").create()
    make_arm(alone, "vanilla", seeds=(0,))
    single = write_report(alone)
    assert "Means over seeds" not in single.markdown
    assert f"Each row is one training run with {SAYS_NOTHING}." in single.markdown
    assert not (single.folder / "seeds.csv").exists()


def test_every_seed_has_its_own_row_below(workspace: Workspace) -> None:
    report = write_report(workspace)
    (table,) = [each for each in report.document.tables if each.title.startswith("Probe on cohort mimic")]
    assert sum(row[0].startswith("vanilla (vit-tiny, 3 epochs, seed ") for row in table.texts()) == 3
    assert report.markdown.index("## Means over seeds") < report.markdown.index("## Probe on cohort mimic")
    with open(report.folder / "results.csv") as file:
        rows = [row for row in csv.DictReader(file) if (row["finding"], row["metric"]) == ("macro", "auroc")]
    assert sorted((row["label"], row["seed"], row["control"]) for row in rows if row["kind"] == "run")[:4] == [
        ("right", "0", "none"), ("right", "1", "none"), ("right", "2", "none"), ("shuffled", "0", "shuffled"),
    ]  # fmt: skip
    assert len({row["group_id"] for row in rows}) == 6
    assert {(row["seed"], row["control"]) for row in rows if row["kind"] == "view-only"} == {("", "")}


def test_findings_are_means_over_seeds_with_the_patients_that_have_them(workspace: Workspace) -> None:
    rows = rows_of(write_report(workspace), "AUROC by finding, means over seeds")
    score = evaluations_of(workspace)[0].scores.findings["Edema"]
    assert rows["Edema"]["Subjects with / without"] == f"{score.num_pos_subjects} / {score.num_neg_subjects}"
    mean = score_group(groups_of(workspace)["right"]).findings["Edema"].auroc.interval
    assert rows["Edema"]["right (vit-tiny, 3 epochs)"] == mean.to_text()
    assert rows["Hernia"]["right (vit-tiny, 3 epochs)"] == "not defined"


def test_a_table_that_mixes_seeds_of_one_setup_says_so(workspace: Workspace, tmp_path: Path) -> None:
    text = write_report(workspace).markdown
    singles = text[text.index("## Probe on cohort mimic") :]
    mixed = "Rows that differ in the seed alone, and are of one setup: vanilla (vit-tiny, 3 epochs): seeds 0, 1, 2; "
    assert mixed in singles
    assert "random vit-tiny: seeds 0, 1, 2." in singles
    assert mixed not in text[: text.index("## Probe on cohort mimic")]
    alone = Workspace(tmp_path / "alone").create()
    make_arm(alone, "vanilla", seeds=(0,))
    assert "Rows that differ in the seed alone" not in write_report(alone).markdown


def test_thumbnails_of_the_films_are_subtracted_from_means_too(workspace: Workspace) -> None:
    assert "AUROC - pixels" not in rows_of(write_report(workspace), "Means over seeds")["right"]
    make_evaluation(workspace, "pixels", kind="pixels", skill=2.5)
    report = write_report(workspace)
    rows, found = rows_of(report, "Means over seeds on cohort mimic"), groups_of(workspace)
    difference = compare_groups(found["right"], found["pixels"]).macro.auroc
    assert (difference.num_seeds, len(difference.by_seed)) == (3, 3)
    assert rows["right"]["AUROC - pixels"] == difference.interval.to_text(signed=True)
    assert rows["random vit-tiny"]["AUROC - pixels"] == rows["pixels"]["AUROC - pixels"] == ""
    sentence = re.compile(r"shuffled \(vit-tiny, 3 epochs\) (is worse than|does not beat) pixels: macro AUROC")
    assert sentence.search(report.markdown[: report.markdown.index("## Probe on cohort mimic")])
    with open(report.folder / "seeds.csv") as file:
        numbers = [row for row in csv.DictReader(file) if (row["label"], row["against"]) == ("right", "pixels")]
    (macro,) = [row for row in numbers if (row["finding"], row["metric"]) == ("macro", "auroc")]
    assert float(macro["value"]) == difference.value


def test_every_number_says_how_its_interval_was_made(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "few").create()
    for name, num in (("vanilla", 14), ("right", 14)):
        make_arm(workspace, name, seeds=(0, 1) if name == "right" else (0,))
        for each in evaluations_of(workspace):
            if each.settings.label == name:
                shape = each.settings.candidate.architecture or SHAPE
                make_evaluation(workspace, each.settings.candidate_id, shape=shape, label=name, num_subjects=num)
    report = write_report(workspace, small="show")
    with open(report.folder / "seeds.csv") as file:
        seeds = [row for row in csv.DictReader(file) if (row["finding"], row["metric"]) == ("Edema", "auroc")]
    with open(report.folder / "results.csv") as file:
        singles = [row for row in csv.DictReader(file) if row["metric"] == "auroc"]
    alone, both = sorted(seeds, key=lambda row: row["num_seeds"])
    assert alone["ci_method"] == "95% BCa bootstrap over subjects, 100 resamples"
    assert both["ci_method"] == "95% Student's t over seeds and bootstrap over subjects, 100 resamples"
    methods = {(row["label"], row["finding"]): row for row in singles}
    assert methods["vanilla", "Edema"]["ci_method"] == "95% BCa bootstrap over subjects, 100 resamples, seed 0"
    assert methods["vanilla", "Hernia"]["ci_method"] == ""
    assert (alone["lo"], alone["hi"]) == (methods["vanilla", "Edema"]["lo"], methods["vanilla", "Edema"]["hi"])


def forbid_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        pytest.fail("a resample was drawn")

    monkeypatch.setattr(resamples, "resample_metrics", fail)


def test_a_second_report_draws_no_resample_and_a_damaged_group_is_named_and_made_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_report(workspace)
    with monkeypatch.context() as patch:
        forbid_resampling(patch)
        assert write_report(workspace).markdown == first.markdown
    record = list_groups(workspace)[0][0]
    good = (record.path / NUMBERS).read_bytes()
    (record.path / NUMBERS).write_bytes(good.replace(b"0", b"1", 1))
    second = write_report(workspace)
    assert f"- group {record.path.name}: numbers.json is damaged" in second.markdown
    assert (record.path / NUMBERS).read_bytes() == good
    assert write_report(workspace).markdown == first.markdown


def test_a_seed_that_is_added_or_made_again_changes_its_group_in_its_place(workspace: Workspace) -> None:
    write_report(workspace)
    names = workspace.group_ids()
    make_arm(workspace, "right", seeds=(3,), skill=0.1, features=["sex"])
    report = write_report(workspace)
    assert workspace.group_ids() == names
    row = rows_of(report, "Means over seeds on cohort mimic")["right"]
    assert row["Seeds"] == "0, 1, 2, 3"
    found = groups_of(workspace)
    everything = list(found.values())
    vanilla = find_vanilla_group(found["right"], everything)
    assert vanilla is not None
    difference = compare_groups(found["right"], vanilla)
    assert not difference.is_paired
    assert row["AUROC - vanilla"] == difference.macro.auroc.interval.to_text(signed=True) + " unpaired"


def test_published_numbers_are_read_as_they_were_made(workspace: Workspace) -> None:
    write_report(workspace)
    found = {each.group_id: each for each in group_seeds(evaluations_of(workspace), read_setups(workspace))}
    records, damage = list_groups(workspace)
    assert not damage
    assert len(records) == 6
    for record in records:
        assert repr(record.numbers.scores) == repr(score_group(found[record.settings.group_id]))


def test_the_store_says_of_every_number_its_seed_control_and_group(workspace: Workspace) -> None:
    report = write_report(workspace)
    with open_database(refresh_store(workspace), read_only=True) as database:
        macro = database.rows("SELECT candidate_id, seed, control FROM macro WHERE metric = 'auroc' ORDER BY ALL")
        groups_in_store = database.rows("SELECT count(DISTINCT group_id) FROM eval_result")
        query = "SELECT value, lo, hi, num_seeds, sd_seeds FROM seed_mean WHERE label = 'right' AND against = 'vanilla'"
        ((value, lo, hi, num_seeds, sd_seeds),) = database.rows(f"{query} AND finding = 'macro' AND metric = 'auroc'")
        (num_rows,) = database.rows("SELECT count(*) FROM seed_mean")[0]
    assert ("right-s1", 1, "none") in macro
    assert ("shuffled-s2", 2, "shuffled") in macro
    assert ("view-only", None, None) in macro
    assert groups_in_store == [(6,)]
    found = groups_of(workspace)
    made = compare_groups(found["right"], found["vanilla"]).macro.auroc
    assert (value, lo, hi, num_seeds, sd_seeds) == (made.value, made.lo, made.hi, 3, made.sd_seeds)
    with open(report.folder / "seeds.csv") as file:
        assert len(list(csv.DictReader(file))) == num_rows


def test_a_group_whose_evaluation_is_gone_is_named_and_in_no_table(workspace: Workspace) -> None:
    write_report(workspace)
    shutil.rmtree(workspace.evals / "zeros-s0-on-mimic")
    records, damage = list_groups(workspace)
    assert {each.what for each in damage} == {"its evaluation zeros-s0-on-mimic is gone"}
    assert len(records) == 4  # nor that of the right record, which it is subtracted from
    report = write_report(workspace)
    assert "AUROC right - zeros record" not in report.markdown


def test_groups_that_cannot_be_compared_say_why(workspace: Workspace) -> None:
    shape = groups_of(workspace)["vanilla"].evaluations[1].settings.candidate.architecture or SHAPE
    make_evaluation(workspace, "vanilla-s1", shape=shape, label="vanilla", seed=9)
    rows = rows_of(write_report(workspace), "Means over seeds on cohort mimic")
    assert rows["vanilla"]["AUROC"] == "its test films or labels are not those of the others"


def test_means_on_few_subjects_are_marked_and_have_no_digits_that_tell_a_small_cell(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "few").create()
    make_arm(workspace, "vanilla")
    for each in evaluations_of(workspace):
        shape = each.settings.candidate.architecture or SHAPE
        make_evaluation(workspace, each.settings.candidate_id, shape=shape, label="vanilla", num_subjects=9)
    report = write_report(workspace)
    row = rows_of(report, "Means over seeds on cohort mimic")["vanilla"]
    assert row["AUROC"].replace("\\", "").endswith("*")
    assert "under 10" in rows_of(report, "AUROC by finding, means over seeds")["Edema"]["Subjects with / without"]
    with open(report.folder / "seeds.csv") as file:
        values = [row[key] for row in csv.DictReader(file) for key in ("value", "lo", "hi", "sd_seeds")]
    assert {len(value) for value in values} <= {0, 3, 4, 5}


def test_an_interval_of_a_mean_is_what_json_says(workspace: Workspace) -> None:
    write_report(workspace)
    record = next(each for each in list_groups(workspace)[0] if each.settings.label == "right")
    values = json.loads((record.path / NUMBERS).read_text())["differences"]["shuffled"]["macro"]["auroc"]
    assert isinstance(record.numbers.differences["shuffled"].macro.auroc.interval, Interval)
    assert values["lo"] < values["value"] < values["hi"]
    assert len(values["by_seed"]) == 3


@pytest.mark.parametrize("weights", ["same", "other"])
def test_a_repeated_seed_with_other_weights_is_said_to_be_of_other_code_or_device(tmp_path: Path, weights: str) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    shape = replace(SHAPE, seed=1)
    for arm, sha256 in (("first", "same"), ("second", weights)):
        make_arm(workspace, arm, label="vanilla")
        candidate = CandidateSettings((), architecture=shape, setup_sha256=str(shape), num_epochs=3)
        candidate = replace(candidate, weights_sha256=sha256)
        make_evaluation(workspace, f"{arm}-s1", label="vanilla", candidate=candidate)
    note = write_report(workspace).markdown
    names = "second-s0-on-mimic, second-s1-on-mimic, second-s2-on-mimic"
    assert f"Not counted, as its seed is there already: {names}." in note
    differing = "Of the same settings and seed as a run that counts, but with other weights: second-s1-on-mimic; "
    assert (differing in note) == (weights == "other")
    assert ("with other weights" in note) == (weights == "other")
