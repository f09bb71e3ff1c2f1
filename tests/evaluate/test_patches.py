"""Probes that see patches: pooled by hand, one patch is a plain regression, a small lesion is found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxrssl.core.errors import DataError, SetupError, UsageError
from cxrssl.evaluate import features
from cxrssl.evaluate.external import probe_external
from cxrssl.evaluate.patches import STRENGTHS, PatchProbe, Tokens, fit_patch_probe
from cxrssl.evaluate.probe import fit_linear_probe, fit_probe_path
from cxrssl.evaluate.run import ProbeChoices
from cxrssl.model.external import ExternalChoices
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.reading import Pooling, Reading, check_reading
from cxrssl.stats.metrics import auroc
from tests.world import make_workspace

MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
each_pooling = pytest.mark.parametrize("pooling", ["attention", "max"])


def tokens_of(values: NDArray[np.floating[Any]]) -> Tokens:
    return Tokens(values.astype(np.float16), np.arange(len(values)))


def lesions(num: int, seed: int, num_patches: int = 16) -> tuple[Tokens, NDArray[np.int8]]:
    """Return films with noise in every patch, half of them with a lesion in one patch of any place."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num, num_patches, 6))
    labels = (np.arange(num) % 2).astype(np.int8)
    values[np.flatnonzero(labels), rng.integers(0, num_patches, num // 2), 0] += 5
    return tokens_of(values), labels[:, None]


@each_pooling
def test_scores_of_patches_are_pooled_as_by_hand(pooling: Pooling) -> None:
    rng = np.random.default_rng(0)
    tokens = tokens_of(rng.normal(size=(5, 4, 3)))
    query, weight = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    mean, scale = rng.normal(size=3), rng.uniform(1, 2, 3)
    probe = PatchProbe(
        pooling, torch.from_numpy(query).float(), torch.from_numpy(weight).float(), torch.tensor([0.5, -0.5]),
        mean, scale, 1.0, np.ones(2, np.bool_), np.ones(2, np.bool_),
    )  # fmt: skip
    logits = probe.predict_logits(tokens)
    for film in range(5):
        for finding in range(2):
            z = [(patch.astype(float) - mean) / scale for patch in tokens.values_NPD[film]]
            scores = [float(each @ weight[finding]) for each in z]
            shares = [np.exp(float(each @ query[finding]) / np.sqrt(3)) for each in z]
            attended = sum(a * s for a, s in zip(shares, scores, strict=True)) / sum(shares)
            expected = (attended if pooling == "attention" else max(scores)) + (0.5, -0.5)[finding]
            assert logits[film, finding] == pytest.approx(expected, abs=1e-4)


@each_pooling
def test_of_one_patch_it_is_the_linear_probe(pooling: Pooling) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(80, 1, 4)).astype(np.float16)
    labels = np.stack([values[:, 0, 0] + rng.normal(size=80) > 0, rng.random(80) > 0.5], axis=1).astype(np.int8)
    labels[::7, 1] = -1
    tokens = tokens_of(values)
    probe = fit_patch_probe(tokens, labels, tokens[np.arange(0)], labels[:0], np.empty(0), pooling, [0.1])
    path = fit_probe_path(values[:, 0].astype(np.float64), labels, [0.1])
    plain = path.choose(np.full((1, 2), np.nan))
    assert probe.predict_logits(tokens) == pytest.approx(plain.predict_logits(values[:, 0]), abs=5e-3)
    assert probe.strength == 0.1


@each_pooling
def test_a_lesion_in_one_patch_is_found_where_the_mean_of_patches_loses_it(pooling: Pooling) -> None:
    (train, train_y), (val, val_y), (test, test_y) = (lesions(num, seed) for seed, num in enumerate((160, 80, 200)))
    probe = fit_patch_probe(train, train_y, val, val_y, np.arange(80), pooling)
    found = auroc(probe.predict_logits(test)[:, 0], test_y[:, 0])
    mean_train, mean_val, mean_test = (each.values_NPD.astype(np.float64).mean(axis=1) for each in (train, val, test))
    plain = fit_linear_probe(mean_train, train_y, mean_val, val_y)
    lost = auroc(plain.predict_logits(mean_test)[:, 0], test_y[:, 0])
    assert found > 0.95
    assert found > lost + 0.05
    assert probe.strength in STRENGTHS
    assert probe.is_judged_L.tolist() == [True]


def test_the_same_fit_has_the_same_bits_and_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    (train, train_y), (val, val_y) = lesions(40, 0), lesions(20, 1)
    fits = [fit_patch_probe(train, train_y, val, val_y, np.arange(20), "attention", [0.01]) for _ in range(2)]
    assert torch.equal(fits[0].weight_LD, fits[1].weight_LD)
    monkeypatch.setattr("cxrssl.evaluate.patches.BATCH_VALUES", 16 * 6 * 7)
    apart = fit_patch_probe(train, train_y, val, val_y, np.arange(20), "attention", [0.01])
    assert apart.predict_logits(val) == pytest.approx(fits[0].predict_logits(val), abs=2e-2)


def test_a_finding_of_one_class_is_not_fitted_and_says_its_prevalence() -> None:
    train, train_y = lesions(20, 0)
    labels = np.concatenate([train_y, np.zeros_like(train_y)], axis=1)
    probe = fit_patch_probe(train, labels, train, labels, np.arange(20), "max", [0.01])
    assert probe.is_fitted_L.tolist() == [True, False]
    assert np.isneginf(probe.predict_logits(train)[:, 1]).all()
    none = fit_patch_probe(train, labels[:, 1:], train, labels[:, 1:], np.arange(20), "max")
    assert np.isnan(none.strength)


def test_tokens_beyond_half_precision_are_refused() -> None:
    train, train_y = lesions(20, 0)
    train.values_NPD[3, 2, 1] = np.inf
    with pytest.raises(DataError, match="not finite in half precision"):
        fit_patch_probe(train, train_y, train, train_y, np.arange(20), "max")


@each_pooling
def test_an_encoder_is_probed_by_its_patches(pooling: Pooling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = make_workspace(tmp_path, num_patients=24)
    settings = ProbeSettings(num_resamples=20)
    choices = ProbeChoices(baselines=False, reading=Reading(pooling))
    (found,) = probe_external(workspace, ExternalChoices(MODEL), None, "nih", "hash", settings, choices)
    assert found.settings.candidate.read == pooling
    assert found.scores.findings["Effusion"].auroc.value > 0.8
    assert set(found.scores.strengths.values()) <= set(STRENGTHS)
    assert not found.scores.is_decoded
    assert probe_external(workspace, ExternalChoices(MODEL), None, "nih", "hash", settings, choices)[0] == found
    (folder,) = [each for each in workspace.features.iterdir() if each.is_dir()]
    values = np.load(folder / "features.npy", mmap_mode="r")
    assert values.dtype == np.float16
    assert values.ndim == 3
    full = SimpleNamespace(free=2**20, total=2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    with pytest.raises(SetupError, match=r"71\.8 MiB on the disk, and 1\.0 MiB are free"):
        features.check_space(workspace, (1000, 196, 192))


@pytest.mark.parametrize(
    ("joined", "folds", "what"), [("ehr", 0, "no columns to join"), ("", 5, "with --folds there is none")]
)
def test_what_a_probe_of_patches_cannot_do_is_refused(joined: str, folds: int, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        check_reading(Reading("attention"), joined, folds)
