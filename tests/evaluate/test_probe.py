"""The linear probe against scikit-learn, and what it may not look at."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cxrssl.core.errors import DataError
from cxrssl.evaluate.probe import LinearProbe, fit_linear_probe, fit_probe_path, fit_scaling
from cxrssl.stats.metrics import auroc

Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw_rows(
    seed: int, num_train: int = 120, num_features: int = 6, num_findings: int = 3, noise: float = 1.0
) -> Rows:
    """(train_x, train_y, val_x, val_y) of a logistic world with correlated features of unequal size; 80 val rows."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(num_features, num_features)) * np.geomspace(1, 0.01, num_features)
    x = rng.normal(size=(num_train + 80, num_features)) @ mixing + 5
    logits = 2 * (x - x.mean(0)) / x.std(0) @ rng.normal(size=(num_features, num_findings)) / np.sqrt(num_features)
    y = (logits + noise * rng.logistic(size=logits.shape) > 0.5).astype(np.int8)
    return x[:num_train], y[:num_train], x[num_train:], y[num_train:]


def assert_equals_scikit_learn(probe: LinearProbe, x: np.ndarray, y: np.ndarray, strength: float) -> None:
    z = (x - x.mean(0)) / x.std(0)
    for finding in range(y.shape[1]):
        is_known = y[:, finding] >= 0
        model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000, solver="newton-cholesky")
        model.fit(z[is_known], y[is_known, finding])
        error = np.linalg.norm(probe.weight_LD[finding] - model.coef_[0]) / np.linalg.norm(model.coef_[0])
        assert error < 1e-4
        assert probe.bias_L[finding] == pytest.approx(model.intercept_[0], rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(
            probe.predict(x)[is_known, finding], model.predict_proba(z[is_known])[:, 1], atol=1e-5
        )


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize(("num_train", "num_features"), [(200, 5), (120, 40), (40, 90)])
def test_weights_equal_scikit_learn(num_train: int, num_features: int, strength: float) -> None:
    rows = draw_rows(num_train, num_train, num_features)
    probe = fit_linear_probe(*rows, strengths=[strength])
    assert probe.is_fitted_L.all()
    assert_equals_scikit_learn(probe, rows[0], rows[1], strength)


def test_weights_equal_scikit_learn_with_unknown_labels() -> None:
    x, y, val_x, val_y = draw_rows(1, 200)
    y = np.where(np.random.default_rng(2).random(y.shape) < 0.6, -1, y)
    assert_equals_scikit_learn(fit_linear_probe(x, y, val_x, val_y, strengths=[0.3]), x, y, 0.3)


def test_separable_heavy_tailed_features_with_hardly_a_penalty_still_converge() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 80)) * np.exp(2 * rng.normal(size=(160, 1)))
    y = np.stack([x[:, 0] > 0, np.arange(160) < 70, np.arange(160) == 3, x[:, 0] > rng.normal(size=160)], axis=1)
    for strength in (100.0, 1e6):
        probe = fit_linear_probe(x, y, x[:0], y[:0], strengths=[strength])
        probs, z = probe.predict(x), (x - probe.mean_D) / probe.scale_D
        gradient = strength * (probs - y).T @ z + probe.weight_LD
        assert np.abs(gradient).max() < 1e-4 * np.abs(probe.weight_LD).max()


def val_aurocs(rows: Rows, strength: float) -> list[float]:
    """AUROC of each finding on the val rows at one strength, by hand."""
    logits = fit_linear_probe(*rows, [strength]).predict_logits(rows[2])
    return [auroc(logits[:, finding], rows[3][:, finding]) for finding in range(rows[3].shape[1])]


def test_the_one_strength_is_that_of_the_highest_mean_val_auroc_by_hand() -> None:
    rows = draw_rows(4, 60, 30)
    strengths = [10.0, 0.001, 0.1]
    by_hand = {strength: val_aurocs(rows, strength) for strength in sorted(strengths)}
    best_of_each = {max(by_hand, key=lambda strength: by_hand[strength][finding]) for finding in range(3)}
    assert len(best_of_each) > 1, "the findings disagree"
    probe = fit_linear_probe(*rows, strengths)
    assert probe.strength == max(by_hand, key=lambda strength: np.mean(by_hand[strength]))
    np.testing.assert_allclose(probe.weight_LD, fit_linear_probe(*rows, [probe.strength]).weight_LD, rtol=1e-4)


def test_equal_val_aurocs_choose_the_stronger_penalty() -> None:
    x = np.array([[-1.0], [1.0], [-2.0], [2.0]])
    y = np.array([[0], [1], [1], [1]])
    assert fit_linear_probe(x, y, x, y, [1.0, 0.01, 0.1]).strength == 0.01


def test_a_finding_without_a_val_auroc_has_no_part_in_the_choice_and_alone_takes_the_middle() -> None:
    x, y, val_x, val_y = rows = draw_rows(4, 60, 30)
    strengths = [0.1, 1.0, 10.0]
    together = fit_linear_probe(x, y, val_x, np.where([True, False, False], 0, val_y), strengths)
    means = [np.mean(val_aurocs(rows, strength)[1:]) for strength in strengths]
    assert together.strength == strengths[int(np.argmax(means))] == 0.1
    assert together.is_judged_L.tolist() == [False, True, True]
    assert fit_linear_probe(x, y, val_x[:0], val_y[:0], strengths).strength == 1.0


def test_a_val_set_of_one_subject_chooses_no_strength() -> None:
    rows = draw_rows(4, 60, 30)
    strengths = [0.1, 1.0, 10.0]
    one = fit_linear_probe(*rows, strengths, val_subject_ids_N=np.full(80, "p"))
    assert one.strength == 1.0
    assert not one.is_judged_L.any()
    two = fit_linear_probe(*rows, strengths, val_subject_ids_N=np.array(["p"] + ["q"] * 79))
    assert two.is_judged_L.all()
    assert two.strength == fit_linear_probe(*rows, strengths).strength != 1.0
    y = np.where(np.arange(80)[:, None] == 0, -1, rows[3])  # the other subject's label is not known
    assert not fit_linear_probe(
        *rows[:3], y, strengths, val_subject_ids_N=np.array(["p"] + ["q"] * 79)
    ).is_judged_L.any()


@pytest.mark.parametrize(("label", "prevalence"), [(0, 0.0), (1, 1.0), (-1, 0.5)])
def test_finding_with_one_class_in_train_predicts_its_prevalence_and_is_not_fitted(
    label: int, prevalence: float
) -> None:
    x, y, val_x, val_y = draw_rows(5)
    alone = fit_linear_probe(x, y[:, 1:], val_x, val_y[:, 1:])
    y = np.where([True, False, False], label, y)
    probe = fit_linear_probe(x, y, val_x, val_y)
    assert probe.is_fitted_L.tolist() == [False, True, True]
    assert (probe.predict(val_x)[:, 0] == prevalence).all()
    np.testing.assert_array_equal(probe.weight_LD[1:], alone.weight_LD)


def test_garbage_in_val_leaves_mean_scale_and_weights_bit_identical() -> None:
    x, y, val_x, val_y = draw_rows(6)
    garbage = np.random.default_rng(0).normal(size=val_x.shape) * 1e6
    clean, dirty = (fit_linear_probe(x, y, rows, val_y, strengths=[0.1]) for rows in (val_x, garbage))
    for field in ("mean_D", "scale_D", "weight_LD", "bias_L"):
        assert getattr(clean, field).tobytes() == getattr(dirty, field).tobytes()


def test_features_of_rows_with_unknown_labels_do_not_pull_the_weights() -> None:
    x, y, val_x, val_y = draw_rows(7, num_findings=1)
    half = np.arange(len(x)) % 2 == 0
    y = np.where(half[:, None], y, -1)
    moved = x.copy()
    moved[~half] = moved[~half][::-1]
    probes = [fit_linear_probe(rows, y, val_x, val_y, strengths=[1.0]) for rows in (x, moved)]
    np.testing.assert_allclose(probes[0].weight_LD, probes[1].weight_LD, rtol=1e-5)


def test_unknown_val_labels_do_not_count_in_the_choice() -> None:
    x, y, val_x, val_y = draw_rows(4, 60, 30)
    strangers = np.concatenate([val_x, x.mean(0) + 3 * x.std(0) * np.random.default_rng(0).normal(size=(400, 30))])
    chosen = [
        fit_linear_probe(x, y, strangers, np.concatenate([val_y, np.full((400, 3), label)])).strength
        for label in (-1, 0, 1)
    ]
    assert chosen[0] == fit_linear_probe(x, y, val_x, val_y).strength
    assert set(chosen[1:]) != {chosen[0]}, "the strangers would change the choice if they counted"


def test_constant_feature_gets_scale_one_and_no_weight() -> None:
    x, y, val_x, val_y = draw_rows(8)
    x[:, 2] = 0.1
    probe = fit_linear_probe(x, y, val_x, val_y)
    assert (probe.mean_D[2], probe.scale_D[2]) == (0.1, 1.0)
    assert (probe.weight_LD[:, 2] == 0).all()
    collapsed = fit_linear_probe(np.full_like(x, 0.1), y, val_x, val_y)
    assert (collapsed.weight_LD == 0).all()
    np.testing.assert_allclose(collapsed.predict(val_x), np.tile(y.mean(axis=0), (80, 1)))


def test_same_fit_twice_has_the_same_bits() -> None:
    rows = draw_rows(9, 300, 40, 8)
    first, second = fit_linear_probe(*rows), fit_linear_probe(*rows)
    assert first.weight_LD.tobytes() == second.weight_LD.tobytes()
    assert first.bias_L.tobytes() == second.bias_L.tobytes()


def test_caller_arrays_are_not_changed() -> None:
    rows = draw_rows(10)
    copies = [array.copy() for array in rows]
    fit_linear_probe(*rows)
    for array, copy in zip(rows, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_shuffled_train_labels_give_a_val_auroc_of_one_half() -> None:
    x, y, val_x, val_y = draw_rows(11, 200, 5, 10)
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(20):
        logits = fit_linear_probe(x, rng.permuted(y, axis=0), val_x[:0], val_y[:0], [0.1]).predict_logits(val_x)
        areas += [auroc(logits[:, finding], val_y[:, finding]) for finding in range(10)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)


def test_feature_that_is_not_finite_is_refused_with_its_place() -> None:
    x, y, val_x, val_y = draw_rows(12)
    val_x[3, 1] = np.nan
    with pytest.raises(DataError, match=r"first: \[3, 1\].*val features"):
        fit_linear_probe(x, y, val_x, val_y)
    probe = fit_linear_probe(x, y, x, y)
    with pytest.raises(DataError, match="not finite"):
        probe.predict(val_x)


def test_no_train_row_is_refused() -> None:
    x, y, val_x, val_y = draw_rows(13)
    with pytest.raises(DataError, match="no train row"):
        fit_linear_probe(x[:0], y[:0], val_x, val_y)


@pytest.mark.parametrize(("num_features", "dtype"), [(1, np.float64), (17, np.float64), (192, np.float32)])
def test_features_that_are_scaled_in_blocks_have_the_bits_of_the_whole(num_features: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x: np.ndarray = (rng.normal(size=(700, num_features)) * 3 + rng.normal(size=num_features)).astype(dtype)
    whole = x.astype(np.float64)
    for found, expected in zip(fit_scaling(x), (whole.mean(axis=0), whole.std(axis=0)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_fit_leaves_its_features_as_they_are_and_makes_one_copy_of_them() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 192)).astype(np.float32)
    x[:, 5] = 1.5
    y, before = (x[:, :1] > 0).astype(np.int8), x.copy()
    tracemalloc.start()
    path = fit_probe_path(x, y, [1e-3])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(x, before)
    assert path.weights_SLD[0, 0, 5] == 0
    assert peak_bytes < 1.6 * 8 * x.size
