"""Ridge regression against scikit-learn, and what chooses its penalty."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from cxrssl.core.errors import DataError
from cxrssl.evaluate import ridge
from cxrssl.evaluate.ridge import PENALTIES, Rows, predict_by_ridge


def draw(num: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, 12)) * np.geomspace(1, 0.01, 12) + 5
    return Rows(x, x[:, :3] @ rng.normal(size=(3, 2)) + 0.5 * rng.normal(size=(num, 2)))


def predict_by_hand(fitted: Rows, inputs: np.ndarray, penalty: float) -> np.ndarray:
    mean, scale = fitted.inputs_ND.mean(0), fitted.inputs_ND.std(0)
    model = Ridge(alpha=penalty * len(fitted.inputs_ND)).fit((fitted.inputs_ND - mean) / scale, fitted.values_NT)
    predicted: np.ndarray = model.predict((inputs - mean) / scale)
    return predicted


@pytest.mark.parametrize("penalty", PENALTIES)
def test_predictions_equal_scikit_learn(monkeypatch: pytest.MonkeyPatch, penalty: float) -> None:
    monkeypatch.setattr(ridge, "PENALTIES", (penalty,))
    fitted, val, scored = draw(80, 0), draw(30, 1), draw(25, 2)
    predicted = predict_by_ridge(fitted, val, scored.inputs_ND)
    np.testing.assert_allclose(predicted, predict_by_hand(fitted, scored.inputs_ND, penalty), rtol=1e-6)


def test_the_penalty_is_that_of_the_least_val_error_and_the_middle_one_without_val() -> None:
    fitted, val, scored = draw(20, 3), draw(40, 3), draw(25, 4)
    errors = {each: np.square(predict_by_hand(fitted, val.inputs_ND, each) - val.values_NT).sum() for each in PENALTIES}
    best = min(errors, key=lambda penalty: errors[penalty])
    assert best != PENALTIES[3]
    expected = predict_by_hand(fitted, scored.inputs_ND, best)
    np.testing.assert_allclose(predict_by_ridge(fitted, val, scored.inputs_ND), expected, rtol=1e-6)
    none = Rows(val.inputs_ND[:0], val.values_NT[:0])
    expected = predict_by_hand(fitted, scored.inputs_ND, PENALTIES[3])
    np.testing.assert_allclose(predict_by_ridge(fitted, none, scored.inputs_ND), expected, rtol=1e-6)


def test_constant_inputs_predict_the_mean_and_inputs_that_are_not_finite_are_refused() -> None:
    fitted, val = draw(20, 5), draw(10, 6)
    flat = Rows(np.full((20, 12), 0.1), fitted.values_NT)
    predicted = predict_by_ridge(flat, Rows(np.full((10, 12), 0.1), val.values_NT), np.full((4, 12), 0.1))
    np.testing.assert_allclose(predicted, np.tile(fitted.values_NT.mean(0), (4, 1)))
    with pytest.raises(DataError, match="not finite"):
        predict_by_ridge(fitted, val, np.full((4, 12), np.nan))
