"""Leaks between a run, its evaluations and the test films of a cohort, planted one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from cxrssl.audit.checks import CHECKS, Audit, make_audit
from cxrssl.audit.evaluations import Evaluated, audit_evaluation, audit_known, audit_reuse, read_evaluated
from cxrssl.audit.pretraining import audit_outcomes, audit_pretraining
from cxrssl.audit.seen import Pretraining, list_films
from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import FEATURES
from cxrssl.cohort.read import Cohort
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import probe_run
from cxrssl.images.store import ImageStore
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.encoder import EhrInput
from cxrssl.records.eval_settings import CandidateSettings, ProbeSettings
from cxrssl.records.evaluation import list_evaluations
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from tests.audit.test_cohort import Hospital, feature_reveals_target, with_copy
from tests.world import TINY

Planted = tuple[Pretraining, Cohort, ImageStore, tuple[str, ...]]
"""A run, the cohort and the films that it is held against, and the targets."""


def clean_run(cohort: Cohort, images: ImageStore, **changes: Any) -> Pretraining:
    """What a run on the train films of the official split was shown."""
    films = list_films(cohort, images, cohort.rows_of("train", "official"))
    run = Pretraining("run", "mimic", "mimic", "official", cohort.content_sha256, EhrInput(("sex",)), films, images)
    return dataclasses.replace(run, **changes)


def audit(
    run: Pretraining, cohort: Cohort, images: ImageStore, scheme: str = "official", targets: Sequence[str] = ()
) -> Audit:
    return make_audit("run", audit_pretraining(run, cohort, images, scheme, targets))


def as_other_dataset(cohort: Cohort) -> Cohort:
    """Return the cohort as if another hospital had published its films: no id in common."""
    names: dict[str, Any] = {n: np.char.add("x", getattr(cohort, n)) for n in ("image_id", "study_id", "subject_id")}
    return dataclasses.replace(cohort, dataset="other", name="other", **names)


# Each returns (run, cohort, images, targets).


def pretrained_on_test_film(cohort: Cohort, images: ImageStore) -> Planted:
    return clean_run(cohort, images, films=list_films(cohort, images, np.arange(len(cohort)))), cohort, images, ()


def pretrained_on_test_subject(cohort: Cohort, images: ImageStore) -> Planted:
    """A follow-up film of a test subject, which is not in the cohort itself."""
    films = clean_run(cohort, images).films
    subject = cohort.subject_id[cohort.rows_of("test")[0]]
    more: list[tuple[Any, Any]] = [
        (films.image_id, "later-film"),
        (films.subject_id, subject),
        (films.pixel_hash, b"0" * 32),
    ]
    films = type(films)(*(np.append(array, value) for array, value in more))
    return clean_run(cohort, images, films=films), cohort, images, ()


def pretrained_on_identical_film(cohort: Cohort, images: ImageStore) -> Planted:
    """The run saw train and test films of a cohort of another dataset, under other ids."""
    everything = list_films(cohort, images, np.arange(len(cohort)))
    return clean_run(cohort, images, films=everything), as_other_dataset(cohort), images, ()


def pretrained_on_near_film(cohort: Cohort, images: ImageStore) -> Planted:
    """One train film of the run is a test film of the other dataset, compressed again."""
    a, b = cohort.rows_of("train")[0], cohort.rows_of("test")[0]
    seen = with_copy(images, int(a), int(b), noise=2)
    run = clean_run(cohort, seen)
    return run, as_other_dataset(cohort), images, ()


def outcome_undeclared(cohort: Cohort, images: ImageStore) -> Planted:
    return clean_run(cohort, images, ehr=EhrInput(("mortality",), may_use_outcomes=False)), cohort, images, ()


def target_was_input(cohort: Cohort, images: ImageStore) -> Planted:
    """The target is the age; what went in was the same in bands of ten years."""
    return clean_run(cohort, images, ehr=EhrInput(("icu", "age10"))), cohort, images, ("age",)


def feature_told(cohort: Cohort, images: ImageStore) -> Planted:
    cohort, _ = feature_reveals_target(cohort, images)
    return clean_run(cohort, images, ehr=EhrInput(("position",))), cohort, images, ()


def imputed_with_test_rows(cohort: Cohort, images: ImageStore) -> Planted:
    return clean_run(cohort, images, ehr=EhrInput(("view",), "paper")), cohort, images, ()


PLANTS = {
    "pretrained-on-test-film": pretrained_on_test_film,
    "pretrained-on-test-subject": pretrained_on_test_subject,
    "pretrained-on-identical-film": pretrained_on_identical_film,
    "pretrained-on-near-film": pretrained_on_near_film,
    "outcome-undeclared": outcome_undeclared,
    "target-was-input": target_was_input,
    "feature-reveals-target": feature_told,
    "imputed-with-test-rows": imputed_with_test_rows,
}


def test_a_run_on_train_films_has_no_finding(hospital: Hospital) -> None:
    done = audit(clean_run(*hospital), *hospital)
    assert not done.findings
    assert {result.severity for result in done.results} == {"ok"}


def test_the_other_dataset_of_other_films_has_no_finding(hospital: Hospital) -> None:
    cohort, images = hospital
    run = clean_run(cohort, images)
    assert not audit(run, as_other_dataset(cohort), images).findings


@pytest.mark.parametrize("code", PLANTS)
def test_a_planted_leak_is_named_by_its_code_and_nothing_else_is(hospital: Hospital, code: str) -> None:
    run, cohort, images, targets = PLANTS[code](*hospital)
    done = audit(run, cohort, images, targets=targets)
    assert done.codes == {code}
    assert bool(done.refusals) == (code != "imputed-with-test-rows")


@pytest.mark.parametrize("feature", [each for each in FEATURES if each.reveals], ids=lambda feature: feature.name)
def test_a_feature_may_not_be_an_input_if_it_reveals_the_target(hospital: Hospital, feature: Feature) -> None:
    cohort, images = hospital
    run = clean_run(cohort, images, ehr=EhrInput((feature.name,), may_use_outcomes=True))
    done = audit(run, cohort, images, targets=(feature.reveals,))
    assert "target-was-input" in {result.code for result in done.refusals}


def test_an_outcome_that_is_declared_is_no_finding() -> None:
    assert not audit_outcomes(EhrInput(("mortality",), may_use_outcomes=True)).finding


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
@pytest.mark.parametrize("kind", ["run", "ehr-only"])
def test_only_what_is_known_when_the_film_is_taken_may_predict(feature: Feature, kind: str) -> None:
    is_refused = kind != "run" and feature.known == "after"
    assert bool(audit_known(kind, [feature.name]).finding) == is_refused


def test_films_that_are_not_here_are_said_to_be_uncompared(hospital: Hospital) -> None:
    cohort, images = hospital
    done = audit(dataclasses.replace(clean_run(cohort, images), images=None), cohort, images)
    assert [result.code for result in done.results if result.severity == "skipped"] == ["pretrained-on-near-film"]
    assert "1 not compared" in done.line()


# ---- evaluations


@pytest.fixture(scope="module")
def probed(clean: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace with one tiny run that was given an outcome, and its evaluations."""
    import shutil

    from cxrssl.core.workspace import Workspace

    folder = tmp_path_factory.mktemp("probed") / "workspace"
    shutil.copytree(clean.root, folder)
    workspace = Workspace(folder)
    ehr = {"features": ["mortality", "view"], "may_use_outcomes": True}
    recipe = load_recipe("demo", [*TINY, "train.num_epochs=1"], {"ehr": ehr})
    run = pretrain(plan_run(workspace, "mimic", recipe, Machine("cpu", 1))).run_id
    probe_run(workspace, run, "", "", ProbeSettings(num_resamples=20))
    return workspace, run


@pytest.fixture(scope="module")
def evaluated(probed: tuple[Workspace, str]) -> dict[str, Evaluated]:
    workspace, _ = probed
    evaluations, damage = list_evaluations(workspace)
    assert not damage
    return {each.settings.kind: read_evaluated(each) for each in evaluations}


def change(
    evaluated: Evaluated,
    predictions: Mapping[str, Any] | None = None,
    fit: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Evaluated:
    assert evaluated.fit is not None
    return Evaluated(
        evaluated.eval_id,
        dataclasses.replace(evaluated.settings, **settings),
        evaluated.predictions._replace(**dict(predictions or {})),
        evaluated.fit._replace(**dict(fit or {})),
    )


def known_after_film(record: Evaluated, cohort: Cohort) -> Evaluated:
    """A record probe that is told of the death, fitted as it should be."""
    assert record.fit is not None
    train = cohort.features(["mortality"])[record.fit.fitted_on].astype(np.float64)
    fit = {"mean_D": train.mean(axis=0), "scale_D": np.where(train.std(axis=0) > 0, train.std(axis=0), 1.0)}
    return change(record, fit=fit, candidate=CandidateSettings(features=("mortality",)), is_outcome_used=True)


def scored_other_films(record: Evaluated, cohort: Cohort) -> Evaluated:
    """One test film is left out, as by a last batch that is dropped."""
    arrays = record.predictions._asdict()
    return change(record, {name: array[:-1] for name, array in arrays.items() if name != "finding_names"})


def scored_other_labels(record: Evaluated, cohort: Cohort) -> Evaluated:
    labels = record.predictions.labels.copy()
    row, finding = np.argwhere(labels != -1)[0]
    labels[row, finding] = 1 - labels[row, finding]
    return change(record, {"labels": labels})


def fitted_outside_train(record: Evaluated, cohort: Cohort) -> Evaluated:
    """Means and scales over all films."""
    features = cohort.features(record.settings.features).astype(np.float64)
    return change(record, fit={"mean_D": features.mean(axis=0), "scale_D": features.std(axis=0)})


@pytest.mark.parametrize(
    "plant", [known_after_film, scored_other_films, scored_other_labels, fitted_outside_train], ids=lambda p: p.__name__
)
def test_a_planted_leak_of_an_evaluation_is_named_by_its_code(
    probed: tuple[Workspace, str],
    evaluated: dict[str, Evaluated],
    hospital: Hospital,
    plant: Callable[[Evaluated, Cohort], Evaluated],
) -> None:
    cohort, images = hospital
    record = evaluated["ehr-only"]
    clean = make_audit("", audit_evaluation(record, probed[0], cohort, images))
    assert not clean.findings
    assert {result.severity for result in clean.results} == {"ok"}
    code = plant.__name__.replace("_", "-")
    done = make_audit("", audit_evaluation(plant(record, cohort), probed[0], cohort, images))
    assert done.codes == {code}
    assert done.refusals


def test_a_probe_that_was_fitted_on_test_rows_is_refused(
    probed: tuple[Workspace, str], evaluated: dict[str, Evaluated], hospital: Hospital
) -> None:
    cohort, images = hospital
    for kind in ("run", "random-init", "view-only"):
        record = evaluated[kind]
        assert not make_audit("", audit_evaluation(record, probed[0], cohort, images)).findings
        assert record.fit is not None
        rows = np.append(record.fit.fitted_on, cohort.rows_of("test")[0])
        done = make_audit("", audit_evaluation(change(record, fit={"fitted_on": rows}), probed[0], cohort, images))
        assert done.codes == {"fitted-outside-train"}


def test_a_leak_or_an_outcome_that_an_evaluation_does_not_say_is_named(
    probed: tuple[Workspace, str], evaluated: dict[str, Evaluated], hospital: Hospital
) -> None:
    cohort, images = hospital
    run, *_ = pretrained_on_test_film(cohort, images)
    refusals = audit(run, cohort, images).refusals
    record = evaluated["run"]
    for unreported, leaks in ((record, refusals), (change(record, is_outcome_used=False), ())):
        done = make_audit("", audit_evaluation(unreported, probed[0], cohort, images, leaks))
        assert done.codes == {"leak-not-reported"}
    said = change(record, leak=refusals[0].finding)
    assert not make_audit("", audit_evaluation(said, probed[0], cohort, images, refusals)).findings


def test_the_same_test_films_scored_under_two_settings_are_named(evaluated: dict[str, Evaluated]) -> None:
    record = evaluated["run"]
    assert not audit_reuse([record]).finding
    other = change(record, probe=dataclasses.replace(record.settings.probe, uncertain="ones"))
    assert "under 2 settings" in audit_reuse([record, other]).finding
    assert CHECKS["test-set-reused"].severity == "warn"
