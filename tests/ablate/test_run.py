"""A grid run from start to table: by processes of its own, killed, stopped, failing, and held to its contract."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrssl.ablate.contract import check_job
from cxrssl.ablate.grid import load_grid
from cxrssl.ablate.probes import check_probes
from cxrssl.ablate.queue import Place as Where
from cxrssl.ablate.run import bind, find_place, plan_study
from cxrssl.core.durable import write_json
from cxrssl.core.errors import CxrsslError, LeakageError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import open_ablation
from cxrssl.records.contract import CONTRACT
from cxrssl.records.eval_settings import ProbeSettings
from tests.ablate.conftest import GRID, TINY, Place, Server, make_place
from tests.cli.command import run


def test_a_grid_ends_in_one_table_and_given_again_repeats_nothing(server: Server, place: Place) -> None:
    code, text = server.run(*place.words())
    assert code == 0, text
    assert "primary comparison, declared beforehand: record - vanilla on nih, macro AUROC" in text
    ablation = open_ablation(place.folder)
    table = ablation.table
    assert [(row.arm, row.cohort, row.num_seeds) for row in table.rows.values()] == [
        ("vanilla", "nih", 2), ("record", "nih", 2), ("untrained", "nih", 2),
    ]  # fmt: skip
    assert [(each.arm, each.against, each.why) for each in table.differences.values()] == [
        ("record", "vanilla", "primary"), ("vanilla", "untrained", "untrained"),
    ]  # fmt: skip
    assert table.missing == ()
    assert sorted(place.workspace.run_ids()) == sorted(ablation.contract.runs)
    journal = (place.folder / "jobs.jsonl").read_bytes()
    before = place.table
    code, text = server.run(*place.words())
    assert code == 0, text
    assert "4 runs of 2 arms, 4 done" in text
    assert (place.folder / "jobs.jsonl").read_bytes() == journal
    assert place.table == before
    (probed,) = place.workspace.evals.glob("nih-study.record-*-s1-*")
    shutil.rmtree(probed)
    code, text = server.run(*place.words())
    assert code == 0, text
    (line,) = (line for line in text.splitlines() if "1/1 record, seed 1: " in line)
    assert line.endswith(f"{probed.name.split('-on-')[0][-8:]}, trained already")
    assert len(line) <= 80
    assert place.table == before


def test_a_run_that_fails_is_named_and_the_others_go_on_also_with_folds(
    server: Server, tmp_path: Path, template: Workspace
) -> None:
    failing = (
        GRID.replace("num_resamples", "folds = 3\nnum_resamples")
        + '[arms.failing]\nehr.features = []\nehr.predict = ["icu"]\nonly.cohorts = []\n'
    )
    place = make_place(tmp_path, template, failing.replace("only.cohorts = []\n", "").replace("[0, 1]", "[0]"))
    code, text = server.run(*place.words())
    assert code == 2
    assert "failed: failing, seed 0: pretrain: " in text
    assert '"icu" cannot be predicted: it is unknown in all training films' in text
    assert "missing: failing, seed 0" in text
    table = open_ablation(place.folder).table
    assert len(table.differences) == 2
    assert table.rows["0000"].num_films == 120
    code, text = server.run(*place.words("--collect", "--json"))
    assert code == 0
    assert json.loads(text[text.index("{") :])["missing"] == ["failing, seed 0"]


def test_the_first_run_that_fails_may_stop_the_others(server: Server, tmp_path: Path, template: Workspace) -> None:
    failing = GRID.replace("[arms.vanilla]", '[arms.failing]\nehr.predict = ["icu"]\n[arms.vanilla]')
    place = make_place(tmp_path, template, failing)
    code, text = server.run(*place.words("--fail-fast"))
    assert code == 2
    assert text.count("failed: ") == 1
    assert open_ablation(place.folder).table.primary is None
    assert [run_id for run_id in place.workspace.run_ids() if "failing" not in run_id] == []


def test_runs_of_other_code_are_refused(server: Server, place: Place) -> None:
    study = plan_study(place.workspace, load_grid(str(place.grid)))
    contract = bind(study, "cpu", 1)
    write_json(place.folder / CONTRACT, replace(contract, code={**contract.code, "train/step.py": "x"}).to_dict())
    code, text = server.run(*place.words())
    assert code == 2
    assert "ablation study began with another state: the code was changed: train/step.py" in text
    assert place.workspace.run_ids() == []


@pytest.mark.parametrize("words", [[], ["--run", "{run}"]])
def test_a_run_that_another_process_has_in_hand_is_never_called_done(
    server: Server, place: Place, words: list[str]
) -> None:
    place.grid.write_text(GRID.replace("[0, 1]", "[0]"))
    (job, other) = plan_study(place.workspace, load_grid(str(place.grid))).jobs
    with hold_lock(place.folder / "logs" / f"{job.run_id}.lock", UsageError("free")):
        code, text = server.run(*place.words(*(word.format(run=job.run_id) for word in words)))
    assert code == 2
    assert "vanilla, seed 0 is run by another process" in text
    assert "is done" not in text
    assert ("missing: vanilla, seed 0" in text) == (not words)
    assert place.workspace.run_ids() == ([] if words else [other.run_id])


def test_a_run_is_not_made_of_other_films_or_by_another_recipe_than_was_planned(place: Place) -> None:
    recipe = place.grid.parent / "own.toml"
    recipe.write_text("train.num_epochs = 3\n")
    place.grid.write_text(GRID.replace('"demo"', '"own.toml"'))
    study = plan_study(place.workspace, load_grid(str(place.grid)))
    contract, job = bind(study, "cpu", 1), study.jobs[0]
    check_job(contract, job)
    cohort, images = job.probed
    anew = replace(job, probed=(cohort, replace(images, content_sha256="old")))
    with pytest.raises(UsageError, match="must have the same data and recipes: the films of cohort nih were packed"):
        check_job(contract, anew)
    one_less = replace(cohort, subject_id=np.roll(cohort.subject_id, 1))
    with pytest.raises(UsageError, match="the same data and recipes: cohort nih was made anew"):
        check_job(contract, replace(job, probed=(one_less, images)))
    recipe.write_text("train.num_epochs = 3\ntrain.lr_per_epoch = true\n")
    with pytest.raises(UsageError, match="the recipe of arm vanilla was changed"):
        check_job(contract, job)


@pytest.mark.parametrize(
    ("arm", "kind", "what"),
    [
        ('train.rows = "all"', LeakageError, "pretrained-on-test-film: 26 test films"),
        ('ehr.features = ["view"]\ntrain.split = "icu"', UsageError, 'has no split "icu"'),
    ],
)
def test_an_arm_that_could_not_be_probed_is_refused_before_anything_is_trained(
    place: Place, arm: str, kind: type[CxrsslError], what: str
) -> None:
    place.grid.write_text(f"{GRID}[arms.last]\n{TINY}{arm}\n")
    with pytest.raises(kind, match=r"^arm last") as caught:
        plan_study(place.workspace, load_grid(str(place.grid)))
    assert what in caught.value.what
    assert caught.value.hint
    assert not place.folder.exists()


def test_arms_on_one_cohort_are_scored_on_one_split(place: Place) -> None:
    first, second = plan_study(place.workspace, load_grid(str(place.grid))).jobs[:2]
    elsewhere = replace(second, plan=replace(second.plan, scheme="other"))
    with pytest.raises(UsageError, match="vanilla and record would be scored on other films: splits hash and other"):
        check_probes([first, elsewhere], ProbeSettings())
    check_probes([first, second], ProbeSettings(folds=3))


def test_an_ablation_goes_on_where_it_began(place: Place) -> None:
    study = plan_study(place.workspace, load_grid(str(place.grid)))
    began = bind(study, "cpu", 3)
    assert bind(study, "cpu", 1) == began
    with pytest.raises(UsageError, match="began on the CPU, and would go on on a GPU"):
        bind(study, "cuda", 3)
    assert find_place(study, "auto", 2) == (Where(place.workspace, place.folder, began), 2)


def test_what_is_asked_for_and_not_there_is_one_sentence(place: Place) -> None:
    refused = run(*place.words("--run", "x"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'ablation study has no run "x"' in refused.stderr
    refused = run(*place.words("--collect"))
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "ablation study has not begun" in refused.stderr
    refused = run(*place.words("--machine", "num_threads=2"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert '"num_threads" is one for all runs of an ablation' in refused.stderr
    refused = run(*place.words("--collect", "--dry-run"))
    assert refused.returncode == 2
    assert not place.folder.exists()
