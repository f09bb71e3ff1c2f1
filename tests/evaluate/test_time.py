"""A world whose only signal is known after the film; and nothing that is fitted has seen a val or test row."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.audit.gate import audit_candidate
from cxrssl.cohort.arrays import Films
from cxrssl.cohort.features import FEATURE_NAMES, FEATURES
from cxrssl.cohort.read import Cohort
from cxrssl.core.artefact import Artefact
from cxrssl.evaluate.candidate import baseline_candidates, table_candidate
from cxrssl.evaluate.probe import LinearProbe, fit_linear_probe
from cxrssl.evaluate.ridge import Rows, predict_by_ridge
from cxrssl.recipe.load import load_recipe
from cxrssl.stats.scores import score_predictions
from tests.world import TINY

NUM = 4_000
NO_FILMS: Any = None
"""In the place of what only candidates that look at films ask for."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """4,000 people with one film each; whoever dies has the finding, and the rest of the record is drawn by chance."""
    rng = np.random.default_rng(23)
    ids = np.array([f"{number:05d}" for number in range(NUM)])
    blank = np.full(NUM, "")
    has_finding = rng.random(NUM) < 0.4
    drawn = [rng.integers(0, f.width, NUM) if f.categories else rng.exponential(40, NUM) for f in FEATURES]
    values = np.stack(drawn, axis=1)
    values[:, FEATURE_NAMES.index("mortality")] = has_finding
    values[:, FEATURE_NAMES.index("los")] = np.where(has_finding, 30, 3) + rng.random(NUM)
    text = {name: blank for name, kind in Films.__annotations__.items() if kind == "Text"}
    known = rng.random(values.shape) < 0.9
    known[:, [FEATURE_NAMES.index(name) for name in ("mortality", "los")]] = True
    return Cohort(
        **text | {"image_id": ids, "study_id": ids, "subject_id": ids, "feature_names": np.array(FEATURE_NAMES),
                  "split_hash": rng.choice(["train", "val", "test"], NUM, p=[0.5, 0.1, 0.4]),
                  "finding_names": np.array(["Edema"])},
        gap_h=np.zeros(NUM, np.float32),
        age_is_censored=np.zeros(NUM, bool),
        ehr_values=np.where(known, values, np.nan).astype(np.float32),
        ehr_known=known,
        label_values=has_finding.astype(np.int8)[:, None],
        name="drawn", dataset="mimic", folder=tmp_path_factory.mktemp("cohort"), root=tmp_path_factory.mktemp("root"),
        default_split="hash", link="", summary={}, artefact=Artefact(Path(), {}),
    )  # fmt: skip


def fit(cohort: Cohort, features: np.ndarray, **options: Any) -> tuple[LinearProbe, float]:
    rows = {split: cohort.rows_of(split) for split in ("train", "val", "test")}
    labels = cohort.labels(["Edema"])
    probe = fit_linear_probe(
        features[rows["train"]], labels[rows["train"]], features[rows["val"]], labels[rows["val"]], **options
    )
    logits = probe.predict_logits(features[rows["test"]])
    subjects = cohort.subject_id[rows["test"]]
    scores = score_predictions(logits, labels[rows["test"]], subjects, ["Edema"], num_resamples=10, seed=0)
    return probe, scores.to_dict()["macro_auroc"]["value"]


def test_record_baseline_does_not_see_the_signal_that_is_known_after_the_film_only(cohort: Cohort) -> None:
    baselines = {
        b.kind: b for b in baseline_candidates(NO_FILMS, load_recipe("demo", TINY), cohort, NO_FILMS, NO_FILMS)
    }
    _, auroc = fit(cohort, baselines["ehr-only"].features())
    assert auroc == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["mortality", "los"])
def test_the_signal_is_there_and_its_use_at_the_time_of_the_film_is_refused(cohort: Cohort, name: str) -> None:
    candidate = table_candidate(cohort, (name,), "ehr-only")
    _, auroc = fit(cohort, candidate.features())
    assert auroc > 0.99
    audit = audit_candidate(candidate.kind, candidate.settings.features or (), None, cohort, NO_FILMS, "hash")
    assert [result.code for result in audit.refusals] == ["known-after-film"]
    assert f"{name}, known only after the film" in audit.refusals[0].finding


def test_garbage_in_val_and_test_rows_leaves_every_fitted_value_bit_identical(cohort: Cohort) -> None:
    names = tuple(f.name for f in FEATURES if f.known != "after")
    rng = np.random.default_rng(24)
    features = cohort.features(names)
    garbage = features.copy()
    outside = cohort.split_of() != "train"
    garbage[outside] = rng.normal(0, 1e3, garbage[outside].shape)
    labels = cohort.label_values.copy()
    labels[outside] = rng.permutation(labels[outside])
    lying = dataclasses.replace(cohort, label_values=labels)
    first, second = (fit(films, each, strengths=(0.1,))[0] for films, each in ((cohort, features), (lying, garbage)))
    for field in first.__dataclass_fields__:
        assert np.asarray(getattr(first, field)).tobytes() == np.asarray(getattr(second, field)).tobytes(), field
    usual = fit(cohort, features)[0]
    chosen_on_garbage = fit(cohort, garbage)[0]  # val chooses the strength, and nothing else
    assert usual.mean_D.tobytes() == chosen_on_garbage.mean_D.tobytes() == first.mean_D.tobytes()
    assert usual.scale_D.tobytes() == chosen_on_garbage.scale_D.tobytes() == first.scale_D.tobytes()


def test_garbage_in_test_rows_leaves_all_that_a_ridge_predicts_of_others_bit_identical(cohort: Cohort) -> None:
    """Of val rows only the choice of the penalty may change; without any there is no choice."""
    features = cohort.features(tuple(f.name for f in FEATURES if f.known != "after")).astype(np.float64)
    train, test = cohort.rows_of("train"), cohort.rows_of("test")
    fitted, none = Rows(features[train], features[train, :3]), Rows(features[:0], features[:0, :3])
    garbage = np.concatenate([features[train], np.random.default_rng(24).normal(0, 1e3, features[test].shape)])
    first = predict_by_ridge(fitted, none, np.concatenate([features[train], features[test]]))[: len(train)]
    assert first.tobytes() == predict_by_ridge(fitted, none, garbage)[: len(train)].tobytes()
