"""R21: published cohorts with a subject moved into two splits: pretrain and probe refuse each, the audit names it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.audit.everything import audit_workspace
from cxrssl.cohort.read import SPLITS, Cohort, open_cohort
from cxrssl.core.workspace import Workspace
from tests.audit.conftest import republish_cohort
from tests.cli.command import run
from tests.scale import scaled
from tests.world import TINY

SEED = int(os.environ.get("CXRSSL_SEED", "21"))
PRETRAIN = ["pretrain", "--recipe", "demo", *(word for each in TINY for word in ("--set", each))]
PRETRAIN += ["--set", "train.num_epochs=1", "--machine", "device=cpu", "--machine", "num_threads=1"]
Arrays = dict[str, Any]
DIFFERENT = {"train": "test", "val": "train", "test": "val"}


def draw_row(cohort: Cohort, scheme: str, rng: random.Random) -> int:
    """Return a film, in a split of the scheme, of a subject who has others."""
    split = cohort.split_of(scheme)
    subjects, counts = np.unique(cohort.subject_id[np.isin(split, SPLITS)], return_counts=True)
    return int(rng.choice(np.flatnonzero(cohort.subject_id == rng.choice(subjects[counts > 1].tolist())).tolist()))


def one_film_changes_sides(cohort: Cohort, scheme: str, rng: random.Random) -> tuple[Arrays, str]:
    row, name = draw_row(cohort, scheme, rng), f"split_{scheme}"
    split = getattr(cohort, name).copy()
    split[row] = DIFFERENT[str(split[row])]
    return {name: split}, f"UPDATE split SET split = '{split[row]}' WHERE scheme = '{scheme}' AND " + _is(cohort, row)


def films_of_one_study_lose_their_split(cohort: Cohort, scheme: str, rng: random.Random) -> tuple[Arrays, str]:
    """In no split is not in the same one."""
    row, name = draw_row(cohort, scheme, rng), f"split_{scheme}"
    split = getattr(cohort, name).copy()
    split[row] = ""
    return {name: split}, f"DELETE FROM split WHERE scheme = '{scheme}' AND " + _is(cohort, row)


def film_is_given_to_a_subject_of_another_split(cohort: Cohort, scheme: str, rng: random.Random) -> tuple[Arrays, str]:
    row, split = draw_row(cohort, scheme, rng), cohort.split_of(scheme)
    others = np.flatnonzero(np.isin(split, SPLITS) & (split != split[row]))
    subject_id = cohort.subject_id.copy()
    subject_id[row] = cohort.subject_id[rng.choice(others.tolist())]
    image = f"image_id = '{cohort.image_id[row]}'"
    return {"subject_id": subject_id}, f"UPDATE image SET subject_id = '{subject_id[row]}' WHERE {image}"


def two_subjects_become_one(cohort: Cohort, scheme: str, rng: random.Random) -> tuple[Arrays, str]:
    row, split = draw_row(cohort, scheme, rng), cohort.split_of(scheme)
    other = cohort.subject_id[rng.choice(np.flatnonzero(np.isin(split, SPLITS) & (split != split[row])).tolist())]
    subject_id = np.where(cohort.subject_id == other, cohort.subject_id[row], cohort.subject_id)
    return {"subject_id": subject_id}, f"UPDATE image SET {_is(cohort, row)} WHERE subject_id = '{other}'"


def split_is_of_films(cohort: Cohort, scheme: str, rng: random.Random) -> tuple[Arrays, str]:
    """As by a script that draws films and not subjects."""
    name, drawn = f"split_{scheme}", np.random.default_rng(rng.getrandbits(32))
    return {name: drawn.permutation(getattr(cohort, name))}, f"DELETE FROM split WHERE scheme = '{scheme}'"


def _is(cohort: Cohort, row: int) -> str:
    return f"subject_id = '{cohort.subject_id[row]}'"


Sabotage = Callable[[Cohort, str, random.Random], tuple[Arrays, str]]
SABOTAGE: list[Sabotage] = [
    one_film_changes_sides, films_of_one_study_lose_their_split, film_is_given_to_a_subject_of_another_split,
    two_subjects_become_one, split_is_of_films,
]  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(clean: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clean hospital with a run. Not to be written to."""
    folder = tmp_path_factory.mktemp("pretrained") / "ws"
    shutil.copytree(clean.root, folder)
    done = run(*PRETRAIN, "--name", "whole", workspace=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.fuzz
def test_pretrain_probe_and_audit_refuse_every_cohort_with_a_subject_in_two_splits(
    pretrained: Path, tmp_path: Path
) -> None:
    cohort = open_cohort(pretrained / "cohorts/mimic")
    for number in range(scaled(5, 100)):
        rng, sabotage = random.Random(f"{SEED} {number}"), SABOTAGE[number % len(SABOTAGE)]
        scheme = rng.choice(cohort.schemes) if number % 2 else cohort.default_split
        about = f"seed {SEED}, cohort {number}, {sabotage.__name__}, {scheme}"
        workspace = Workspace(shutil.copytree(pretrained, tmp_path / "ws"))
        arrays, sql = sabotage(cohort, scheme, rng)
        republish_cohort(workspace, sql=sql, **arrays)
        for words in (PRETRAIN, ("probe", "mimic-whole", "--device", "cpu", "--resamples", "20")):
            done = run(*words, workspace=workspace.root)
            assert done.returncode == 3, f"{about}, {words[0]}: {done}"
            assert 'in two splits of "' in done.stderr, f"{about}: {done}"
            assert "Traceback" not in done.stderr, about
        assert "subject-in-two-splits" in audit_workspace(workspace).codes, about
        assert len(workspace.run_ids()) == 1, about
        assert not workspace.evals.exists() or not workspace.eval_ids(), about
        shutil.rmtree(workspace.root)
