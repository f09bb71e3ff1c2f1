"""The record of a run's films: what is predicted, what is withheld, and the wrong records of a control."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from cxrssl.cohort.encoding import feature_columns
from cxrssl.cohort.features import FEATURES
from cxrssl.core.errors import ConfigError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.record import draw_donors, draw_withheld, load_record
from tests.world import TINY, make_workspace

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=90)


def plan_with(workspace: Workspace, *overrides: str, ehr: Sequence[str] = ("sex", "age"), **changes: Any) -> RunPlan:
    recipe = load_recipe("demo", [*TINY, *overrides], {"ehr": {"features": list(ehr), **changes}})
    return plan_run(workspace, "nih", recipe, Machine("cpu", 1))


# ---- controls


def test_a_shuffled_record_is_that_of_another_person_of_the_split_and_each_is_given_once(workspace: Workspace) -> None:
    plan = plan_with(workspace, "train.rows=all")
    split, subject = plan.cohort.split_of(plan.scheme), plan.cohort.subject_id
    for seed in range(20):
        donors = draw_donors(plan, seed)
        assert sorted(donors) == sorted(plan.rows)
        assert (subject[donors] != subject[plan.rows]).all()
        assert (split[donors] == split[plan.rows]).all()
    assert not np.array_equal(draw_donors(plan, 0), draw_donors(plan, 1))


def test_every_tenth_person_is_withheld_with_all_films() -> None:
    subject = np.repeat(np.array([f"p{n}" for n in range(40)]), 3)
    withheld = draw_withheld(subject, 0).reshape(40, 3)
    assert (withheld == withheld[:, :1]).all()
    assert withheld[:, 0].sum() == 4
    assert not np.array_equal(withheld.ravel(), draw_withheld(subject, 1))


def test_a_control_changes_the_record_of_the_runs_films_and_nothing_else(workspace: Workspace) -> None:
    right = load_record(plan_with(workspace))
    rows = plan_with(workspace).rows
    for control in ("shuffled", "zeros", "noise"):
        wrong = load_record(plan_with(workspace, control=control))
        assert not np.array_equal(wrong.given_NM[rows], right.given_NM[rows])
        assert wrong.columns == right.columns
    shuffled = load_record(plan_with(workspace, control="shuffled"))
    assert sorted(map(tuple, shuffled.given_NM[rows])) == sorted(map(tuple, right.given_NM[rows]))
    others = np.setdiff1d(np.arange(len(right.given_NM)), rows)
    assert np.array_equal(shuffled.given_NM[others], right.given_NM[others])
    assert not load_record(plan_with(workspace, control="zeros")).given_NM.any()


def test_a_part_of_the_record_can_be_wrong_alone(workspace: Workspace) -> None:
    ehr = ("sex", "age", "view")
    columns = feature_columns(ehr)
    right = load_record(plan_with(workspace, ehr=ehr)).given_NM
    wrong = load_record(plan_with(workspace, ehr=ehr, control="shuffled:meta")).given_NM
    for k, name in enumerate(columns):
        assert np.array_equal(wrong[:, k], right[:, k]) == (not name.startswith("view") or not right[:, k].any()), name


def test_noise_has_mean_and_spread_of_the_record(workspace: Workspace) -> None:
    plan = plan_with(workspace)
    right, wrong = (load_record(plan_with(workspace, control=c)).given_NM[plan.rows] for c in ("none", "noise"))
    np.testing.assert_allclose(wrong.mean(axis=0), right.mean(axis=0), atol=4 * right.std() / np.sqrt(len(right)))
    assert np.all((wrong.std(axis=0) > 0) == (right.std(axis=0) > 0))


def test_a_control_makes_another_run_and_says_so(workspace: Workspace) -> None:
    plans = [plan_with(workspace, control=c) for c in ("none", "shuffled", "shuffled:sex")]
    assert len({plan.run_id for plan in plans}) == 3
    assert [any("wrong on purpose" in sentence for sentence in plan.warnings) for plan in plans] == [False, True, True]
    assert "+shuffled-sex-" in plans[2].run_id


def test_a_control_that_cannot_be_is_refused_in_a_sentence(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match='shuffles "stay", which takes no part'):
        plan_with(workspace, control="shuffled:stay")
    with pytest.raises(ConfigError, match="predicted features cannot be replaced by"):
        plan_with(workspace, control="zeros", predict=["view"])


def test_one_person_with_most_of_the_films_cannot_be_shuffled(workspace: Workspace) -> None:
    plan = plan_with(workspace, control="shuffled")
    subject, counts = np.unique(plan.cohort.subject_id[plan.rows], return_counts=True)
    own = plan.rows[plan.cohort.subject_id[plan.rows] == subject[counts.argmax()]]
    other = np.setdiff1d(plan.rows, own)[: len(own) - 1]
    object.__setattr__(plan, "rows", np.concatenate([own, other]))
    with pytest.raises(UsageError, match="one person has"):
        load_record(plan)


# ---- dropout


def test_a_withheld_record_is_unknown_and_depends_on_the_step_alone(workspace: Workspace) -> None:
    record = load_record(plan_with(workspace, dropout=0.5))
    rows, columns = plan_with(workspace).rows[:8], feature_columns(("sex", "age"))
    unknown = [float(name.endswith(" unknown")) for name in columns]
    counts = []
    for step in range(40):
        given, again = (record.batch(rows, step, CPU).given_BM for _ in range(2))
        assert given is not None
        assert again is not None
        assert torch.equal(given, again)
        withheld = (given == torch.tensor(unknown)).all(dim=1)
        assert torch.equal(given[~withheld], torch.from_numpy(record.given_NM[rows])[~withheld])
        counts.append(int(withheld.sum()))
    assert 0.35 < sum(counts) / (40 * len(rows)) < 0.65


# ---- predicted features


def test_scales_are_those_of_the_known_training_films_alone(workspace: Workspace) -> None:
    plan = plan_with(workspace, ehr=(), predict=["sex", "age"])
    sex, age = load_record(plan).columns.predicted
    cohort = plan.cohort
    share = (cohort.features(["sex"], "zero")[plan.rows]).mean(axis=0)
    assert sex.scale == pytest.approx(-(share * np.log(share)).sum(), rel=1e-6)
    assert age.scale == pytest.approx(cohort.features(["age"], "zero")[plan.rows].var(), rel=1e-5)
    changed = cohort.ehr_values.copy()
    changed[np.setdiff1d(np.arange(len(cohort)), plan.rows)] = 1
    object.__setattr__(cohort, "ehr_values", changed)
    assert load_record(plan).columns.predicted == (sex, age)


CONTROLS: list[dict[str, Any]] = [
    {}, {"missing": "zero"}, {"control": "shuffled"}, {"control": "shuffled:age"}, {"control": "zeros"},
    {"control": "noise"}, {"predict": ["view"], "predict_gate": "skill"},
]  # fmt: skip


@pytest.mark.parametrize("changes", CONTROLS, ids=str)
def test_garbage_in_val_and_test_rows_leaves_all_that_a_run_is_shown_bit_identical(
    workspace: Workspace, changes: dict[str, Any]
) -> None:
    """R24: scales, drawn noise, donors of other people's records."""
    plan = plan_with(workspace, **changes)
    cohort, rng = plan.cohort, np.random.default_rng(24)
    first, outside = load_record(plan), np.setdiff1d(np.arange(len(plan.cohort)), plan.rows)
    arrays = {name: getattr(cohort, name).copy() for name in ("ehr_values", "ehr_known")}
    for column, feature in enumerate(FEATURES):
        arrays["ehr_values"][outside, column] = rng.integers(0, feature.width + 50 * (not feature.categories), 1)
    arrays["ehr_known"][outside] = rng.random((len(outside), len(FEATURES))) < 0.5
    object.__setattr__(plan, "cohort", dataclasses.replace(cohort, **arrays))
    second = load_record(plan)
    assert second.columns == first.columns
    for name in ("given_NM", "values_NP", "known_NF", "unknown_M", "withheld_N"):
        one, other = getattr(first, name), getattr(second, name)
        if name != "unknown_M":
            one, other = one[plan.rows], other[plan.rows]
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes(), name
    assert not np.array_equal(first.given_NM[outside], second.given_NM[outside]) or changes.get("control") == "zeros"


def test_what_never_varies_or_is_never_known_cannot_be_predicted(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=r'"icu" cannot be predicted: it is unknown in all training films'):
        load_record(plan_with(workspace, ehr=(), predict=["icu"]))


def test_skill_without_a_withheld_person_is_refused(workspace: Workspace) -> None:
    plan = plan_with(workspace, "ehr.predict_gate=skill", ehr=(), predict=["sex"])
    assert load_record(plan).withheld_N[plan.rows].any()
    withheld = draw_withheld(plan.cohort.subject_id, plan.recipe.train.seed)
    object.__setattr__(plan, "rows", plan.rows[withheld[plan.rows] == 0])
    with pytest.raises(UsageError, match="the skill of sex cannot be measured"):
        load_record(plan)


def test_an_outcome_is_predicted_only_if_somebody_says_so(workspace: Workspace) -> None:
    with pytest.raises(LeakageError, match="outcome-undeclared"):
        plan_with(workspace, ehr=(), predict=["mortality"])
    assert plan_with(workspace, ehr=(), predict=["mortality"], may_use_outcomes=True).recipe.ehr.may_use_outcomes
