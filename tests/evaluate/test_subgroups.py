"""Alike films and groups of people in an evaluation: as the cohort knows them, and added to older evaluations."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.groups import name_groups
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import IntegrityError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.evaluation import evaluate_plan
from cxrssl.evaluate.plan import EvalPlan, plan_evaluation
from cxrssl.evaluate.subgroups import score_groups
from cxrssl.images.store import ImageStore
from cxrssl.records.eval_settings import CandidateSettings, ProbeSettings
from cxrssl.records.evaluation import Evaluation, publish_evaluation
from cxrssl.records.subgroups import SUBGROUPS
from cxrssl.stats.matched import match_predictions
from cxrssl.stats.metrics import auroc
from cxrssl.train.pooled import open_films
from tests.world import make_workspace

PROBE = ProbeSettings(num_resamples=50)
World = tuple[Workspace, Cohort, ImageStore]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    workspace = make_workspace(tmp_path_factory.mktemp("groups"), num_patients=80)
    return workspace, *open_films(workspace, "nih")


def make_plan(world: World, folds: int = 0, kind: Any = "external") -> EvalPlan:
    workspace, cohort, images = world
    candidate = Candidate(
        f"{kind}-drawn", kind, kind, CandidateSettings(), features=lambda: np.empty((0, 0), np.float32)
    )
    return plan_evaluation(workspace, candidate, cohort, images, "hash", dataclasses.replace(PROBE, folds=folds))


def draw_features(cohort: Cohort) -> Any:
    noise = np.random.default_rng(0).normal(size=(len(cohort), 3))
    noise[:, 0] += cohort.labels(["Effusion"])[:, 0]
    return noise.astype(np.float32)


@pytest.fixture(scope="module")
def made(world: World) -> Evaluation:
    return evaluate_plan(make_plan(world), lambda: draw_features(world[1]))


def test_films_are_matched_on_what_the_cohort_knows_of_view_sex_and_age(world: World, made: Evaluation) -> None:
    _, cohort, _ = world
    test, predictions = cohort.rows_of("test", "hash"), made.predictions()
    sex, view, age = (cohort.ehr_values[test, FEATURE_NAMES.index(name)] for name in ("sex", "view", "age"))
    stratum = (sex * 100 + view * 10 + np.floor(np.clip(age, 0, 99) / 20)).astype(np.int64)
    found, mean = match_predictions(
        predictions.logits, predictions.labels, predictions.subject_id, stratum, num_resamples=50
    )
    scores = made.scores
    assert (scores.is_matched, scores.matched_on) == (True, ("view", "sex", "age"))
    assert scores.matched["Effusion"] == found[predictions.finding_names.tolist().index("Effusion")]
    assert scores.macro_matched == mean
    assert scores.matched_text.startswith(mean.to_text())


def test_groups_are_those_of_the_record_and_a_film_of_unknown_group_is_in_none(world: World, made: Evaluation) -> None:
    _, cohort, _ = world
    groups = {(each.attribute, each.group): each for each in made.subgroups()}
    assert {attribute for attribute, _ in groups} == {"sex", "age", "view"}
    assert {group for attribute, group in groups if attribute == "sex"} == {"male", "female"}
    assert {group for attribute, group in groups if attribute == "age"} <= {"20-39", "40-59", "60-79", "80+"}
    macro, *findings = groups["sex", "female"].scores
    assert (macro.finding, len(findings)) == ("macro", len(cohort.finding_names))
    sex = cohort.ehr_values[cohort.rows_of("test", "hash"), FEATURE_NAMES.index("sex")]
    effusion = next(each for each in findings if each.finding == "Effusion")
    predictions = made.predictions()
    column = predictions.finding_names.tolist().index("Effusion")
    own = auroc(predictions.logits[sex == 1, column], predictions.labels[sex == 1, column])
    assert effusion.auroc.value == pytest.approx(own)

    known = cohort.ehr_known.copy()
    known[::2, FEATURE_NAMES.index("sex")] = False
    group, names = name_groups(dataclasses.replace(cohort, ehr_known=known), "sex")
    assert names == ("male", "female")
    assert (group[::2] == -1).all()
    assert set(group[1::2]) == {0, 1}


def test_ages_on_an_edge_belong_to_the_band_above(world: World) -> None:
    cohort = world[1]
    values = cohort.ehr_values.copy()
    values[:4, FEATURE_NAMES.index("age")] = 19, 20, 79.5, 80
    group, names = name_groups(dataclasses.replace(cohort, ehr_values=values), "age")
    assert [names[place] for place in group[:4]] == ["<20", "20-39", "60-79", "80+"]


def test_baselines_are_matched_and_have_no_groups(world: World) -> None:
    plan = make_plan(world, kind="pixels")
    made = evaluate_plan(plan, lambda: draw_features(world[1]))
    assert made.scores.matched
    assert not made.subgroups()
    assert not (made.path / SUBGROUPS).exists()


def test_with_folds_alike_films_and_groups_are_ranked_within_folds(world: World) -> None:
    plan = make_plan(world, folds=3)
    made = evaluate_plan(plan, lambda: draw_features(world[1]))
    predictions, folds = made.predictions(), made.find_folds()
    assert repr(made.subgroups()) == repr(score_groups(plan, predictions, folds))
    assert repr(made.subgroups()) != repr(score_groups(plan, predictions, None))


def test_an_older_evaluation_gets_them_from_its_predictions_without_a_fit(world: World, made: Evaluation) -> None:
    older = dataclasses.replace(made.scores, is_matched=False, matched_on=(), matched={}, macro_matched=None)
    more = {name: data for name, data in made.read_more().items() if name != SUBGROUPS}
    publish_evaluation(made.path, made.settings, older, made.predictions(), made.fit(), more)

    def fail() -> Any:
        pytest.fail("its features were computed again")

    again = evaluate_plan(make_plan(world), fail)
    assert again.content_sha256 == made.content_sha256
    assert repr(again.subgroups()) == repr(made.subgroups())


def test_damaged_groups_are_named(world: World, made: Evaluation) -> None:
    good = (made.path / SUBGROUPS).read_bytes()
    try:
        (made.path / SUBGROUPS).write_text('{"groups": [{"attribute": 3}]}')
        with pytest.raises(IntegrityError, match=SUBGROUPS.replace(".", r"\.")):
            made.subgroups()
    finally:
        (made.path / SUBGROUPS).write_bytes(good)
