"""The record alone: further columns of noise cost little, and one that says something is used."""

from __future__ import annotations

import numpy as np
import pytest

from cxrssl.evaluate.folds import score_folds
from cxrssl.evaluate.probe import LinearProbe, fit_linear_probe, fit_probe_path
from cxrssl.evaluate.shrink import fit_shrunk_probe, weigh_columns
from cxrssl.stats.metrics import Floats, auroc

NUM_FILMS, NUM_TEST = 400, 3000


class Films:
    """Films of two findings that two columns tell, a third one too, with as many columns of noise as asked for."""

    def __init__(self, num: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.useful = rng.normal(size=(num, 3))
        a, b, c = self.useful.T
        logits = np.stack([0.5 * a + 0.4 * b + 0.5 * c, 0.6 * b + 0.5 * c], axis=1) - 1
        self.labels = (rng.random((num, 2)) < 1 / (1 + np.exp(-logits))).astype(np.int8)
        self.noise = rng.normal(size=(num, 60))
        self.subjects = np.repeat(np.arange(num // 2), 2)

    def columns(self, num_useful: int, num_noise: int) -> Floats:
        return np.concatenate([self.useful[:, :num_useful], self.noise[:, :num_noise]], axis=1)


def mean_auroc(probe: LinearProbe, test: Films, *num: int) -> float:
    logits = probe.predict_logits(test.columns(*num))
    return float(np.mean([auroc(logits[:, column], test.labels[:, column]) for column in range(2)]))


@pytest.fixture(scope="module")
def draws() -> list[tuple[Films, Films, Films]]:
    """Train, val and test films, several times."""
    return [(Films(NUM_FILMS, seed), Films(40, 10 + seed), Films(NUM_TEST, 20 + seed)) for seed in range(3)]


def score_record(draws: list[tuple[Films, Films, Films]], *num: int) -> float:
    probes = [fit_shrunk_probe(train.columns(*num), train.labels, train.subjects, 0) for train, _, _ in draws]
    return float(np.mean([mean_auroc(probe, test, *num) for probe, (_, _, test) in zip(probes, draws, strict=True)]))


def test_columns_of_noise_do_not_lower_the_record_by_more_than_noise(draws: list[tuple[Films, Films, Films]]) -> None:
    without, with_noise = score_record(draws, 2, 0), score_record(draws, 2, 60)
    assert without > 0.6
    assert abs(with_noise - without) < 0.03, "the standard error of an AUROC on 400 films"
    by_val = []
    for train, val, test in draws:
        x, y = train.columns(2, 60), train.labels
        by_val.append(mean_auroc(fit_linear_probe(x, y, val.columns(2, 60), val.labels), test, 2, 60))
    assert np.mean(by_val) < without - 0.04, "a strength that a small val chooses loses more"


def test_a_useful_column_among_noise_raises_the_record(draws: list[tuple[Films, Films, Films]]) -> None:
    assert score_record(draws, 3, 60) > score_record(draws, 2, 60) + 0.03


def test_columns_are_weighed_by_their_correlations_with_the_known_labels() -> None:
    rng = np.random.default_rng(0)
    columns, labels = rng.normal(size=(200, 3)), rng.integers(-1, 2, (200, 2)).astype(np.int8)
    labels[:, 1] = np.where(labels[:, 1] == 1, 0, labels[:, 1])  # one class: says nothing
    known = labels[:, 0] >= 0
    z = (columns - columns.mean(0)) / columns.std(0)
    y = (labels[known, 0] == 1).astype(float)
    r = np.abs(z[known].T @ (y - y.mean())) / known.sum() / y.std()
    np.testing.assert_allclose(weigh_columns(columns, labels, 1.0), r / r.max())
    np.testing.assert_allclose(weigh_columns(columns, labels, 2.0), (r / r.max()) ** 2)
    np.testing.assert_array_equal(weigh_columns(columns, labels, 0.0), 1)
    np.testing.assert_array_equal(weigh_columns(np.ones((200, 2)), labels, 1.0), 1)


def test_a_stretched_feature_is_fitted_as_if_its_values_were_larger() -> None:
    films = Films(300, 0)
    x, stretch = films.columns(3, 2), np.array([1.0, 0.5, 2.0, 1.0, 0.0])
    path = fit_probe_path(x, films.labels, [0.01, 1.0], stretch_D=stretch)
    scaled = np.concatenate([(x - x.mean(0)) / x.std(0) * stretch, np.ones((300, 1))], axis=1)
    for s, strength in enumerate((0.01, 1.0)):
        for finding in range(2):
            weight = np.append(
                path.weights_SLD[s, finding] / np.where(stretch > 0, stretch, 1), path.biases_SL[s, finding]
            )
            probs = 1 / (1 + np.exp(-scaled @ weight))
            gradient = scaled.T @ (probs - films.labels[:, finding]) + np.append(weight[:-1], 0) / strength
            np.testing.assert_allclose(gradient[:4], 0, atol=1e-4)
    assert not path.weights_SLD[:, :, 4].any()


def test_a_record_of_one_subject_takes_the_middle_strength() -> None:
    films = Films(20, 0)
    probe = fit_shrunk_probe(films.columns(2, 0), films.labels, np.zeros(20, np.int64), 0)
    assert probe.strength == 0.1
    assert not probe.is_judged_L.any(), "nothing chose it"


def test_the_record_says_which_findings_had_a_part_in_its_choice() -> None:
    """The second finding is that of all films of one person: in no fold are there people with it and people without."""
    films = Films(100, 0)
    films.labels[:, 1] = np.where(films.subjects == 7, [1, 0] * 50, -1)
    x = films.columns(2, 0)
    probe = fit_shrunk_probe(x, films.labels, films.subjects, 0)
    assert probe.is_fitted_L.tolist() == [True, True]
    assert probe.is_judged_L.tolist() == [True, False]

    def fit(k: int) -> LinearProbe:
        return fit_shrunk_probe(x, films.labels, films.subjects, k)

    folded = score_folds(x, films.labels, films.subjects % 3, fit, np.zeros(2, np.bool_))
    assert folded.is_judged_L.tolist() == [True, False]


def test_folds_of_the_record_see_no_film_of_their_own(draws: list[tuple[Films, Films, Films]]) -> None:
    films = draws[0][0]
    fold = films.subjects % 3
    x = films.columns(2, 0)

    def fit(k: int) -> LinearProbe:
        seen = fold != k
        return fit_shrunk_probe(x[seen], films.labels[seen], films.subjects[seen], 0)

    found = score_folds(x, films.labels, fold, fit, np.ones(2, np.bool_))
    assert auroc(found.logits_NL[fold == 0, 1], films.labels[fold == 0, 1]) > 0.55
    x[fold == 0] *= 100
    again = score_folds(x, films.labels, fold, fit, np.ones(2, np.bool_))
    for name in ("mean_KD", "scale_KD", "strength_K"):
        assert np.array_equal(getattr(again, name)[0], getattr(found, name)[0])
    assert not np.array_equal(again.scale_KD[1], found.scale_KD[1])
