"""R22: every role of a column in every use: what a model may be given, learn, predict from, and be scored on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cxrssl.audit.checks import make_audit, refuse
from cxrssl.audit.gate import audit_candidate, check_cohort
from cxrssl.audit.pretraining import audit_pretraining
from cxrssl.cohort.features import FEATURE_NAMES, FEATURES, find_feature
from cxrssl.core.errors import LeakageError, UsageError
from cxrssl.evaluate.candidate import table_candidate
from cxrssl.recipe.load import load_recipe
from cxrssl.records.encoder import EhrInput
from tests.audit.test_cohort import Hospital
from tests.audit.test_runs import clean_run
from tests.world import TINY

IDS = ("subject_id", "study_id", "image_id", "hadm_id", "stay_id", "path")
SPLITS = ("split", "split_official", "split_hash")
LABELS = ("Edema", "No Finding")
ROLES = {
    **dict.fromkeys(IDS, "id"),
    **dict.fromkeys(SPLITS, "split"),
    **dict.fromkeys(LABELS, "label"),
    **{feature.name: feature.role for feature in FEATURES},
}
ALLOWED, LEAK, NO_FEATURE = "allowed", "a leak", "no feature"


def is_given(hospital: Hospital, name: str) -> None:
    ehr = load_recipe("demo", TINY, {"ehr": {"features": [name]}}).ehr
    hospital[0].features(ehr.features)
    check_cohort(hospital[0], EhrInput(ehr.features, may_use_outcomes=ehr.may_use_outcomes))


def is_learnt(hospital: Hospital, name: str) -> None:
    ehr = load_recipe("demo", TINY, {"ehr": {"predict": [name]}}).ehr
    hospital[0].features(ehr.predict, "zero")
    check_cohort(hospital[0], EhrInput((), predict=ehr.predict, may_use_outcomes=ehr.may_use_outcomes))


def is_given_by_permission(hospital: Hospital, name: str) -> None:
    ehr = load_recipe("demo", TINY, {"ehr": {"features": [name], "may_use_outcomes": True}}).ehr
    hospital[0].features(ehr.features)
    check_cohort(hospital[0], EhrInput(ehr.features, may_use_outcomes=True))


def is_predicted_from(hospital: Hospital, name: str) -> None:
    candidate = table_candidate(hospital[0], (name,), "ehr-only")
    candidate.features()
    audit = audit_candidate("ehr-only", candidate.settings.features or (), None, *hospital, "official")
    refuse(audit, "the probe")


def is_scored(hospital: Hospital, name: str) -> None:
    """By a run that was given the sex alone."""
    _score(hospital, ("sex",) if name != "sex" else ("view",), name)


def is_given_and_scored(hospital: Hospital, name: str) -> None:
    if name not in FEATURE_NAMES:
        raise UsageError("only features are given")
    _score(hospital, (name,), name)


def is_given_in_another_form_and_scored(hospital: Hospital, name: str) -> None:
    other = next(each.name for each in FEATURES if name in (each.form_of, each.reveals))
    _score(hospital, (other,), name)


def _score(hospital: Hospital, given: tuple[str, ...], target: str) -> None:
    run = clean_run(*hospital, ehr=EhrInput(given, may_use_outcomes=True))
    refuse(make_audit("run", audit_pretraining(run, *hospital, "official", (target,))), "the probe")


Use = Callable[[Hospital, str], None]
NOT_GIVEN = {"id": NO_FEATURE, "split": NO_FEATURE, "label": NO_FEATURE}
OUTCOMES: dict[Use, dict[str, str]] = {
    is_given: {**NOT_GIVEN, "input": ALLOWED, "outcome": LEAK},
    is_learnt: {**NOT_GIVEN, "input": ALLOWED, "outcome": LEAK},
    is_given_by_permission: {**NOT_GIVEN, "input": ALLOWED, "outcome": ALLOWED},
    is_predicted_from: {**NOT_GIVEN, "input": ALLOWED, "outcome": LEAK},
    is_scored: dict.fromkeys(("label", "input", "outcome"), ALLOWED),
    is_given_and_scored: {"label": NO_FEATURE, "input": LEAK, "outcome": LEAK},
}


@pytest.mark.parametrize("use", OUTCOMES, ids=lambda use: use.__name__)
@pytest.mark.parametrize("name", ROLES)
def test_a_column_is_used_as_its_role_allows(hospital: Hospital, name: str, use: Use) -> None:
    wanted = OUTCOMES[use].get(ROLES[name])
    if wanted is None:
        pytest.skip("no use of such a column")
    try:
        use(hospital, name)
    except LeakageError:
        found = LEAK
    except UsageError:
        found = NO_FEATURE
    else:
        found = ALLOWED
    assert found == wanted


@pytest.mark.parametrize("name", sorted({each.form_of or each.reveals for each in FEATURES} - {""}))
def test_a_column_is_no_target_of_a_run_that_was_given_it_in_another_form(hospital: Hospital, name: str) -> None:
    with pytest.raises(LeakageError, match="was a pretraining input"):
        is_given_in_another_form_and_scored(hospital, name)


def test_every_role_and_use_is_there() -> None:
    assert set(ROLES.values()) == {"id", "split", "label", "input", "outcome"}
    assert {role for wanted in OUTCOMES.values() for role in wanted} == set(ROLES.values())
    assert {find_feature(name).role for name in FEATURE_NAMES} == {"input", "outcome"}
