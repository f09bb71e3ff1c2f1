"""Candidates whose encoder is read in another way than by its class token, and neighbours in place of a regression.

In: a candidate with its encoder; class tokens and labels of train films. Out: a candidate; KnnProbe.
Never: a neighbour that is no train film.

Suffix letters: N films, M train films, B films of a batch, D features, L findings.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.durable import hash_settings
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.features import extract_features, extract_tokens
from cxrssl.evaluate.probe import fit_scaling
from cxrssl.images.store import ImageStore
from cxrssl.model.reading import count_features
from cxrssl.records.reading import CLS, Reading
from cxrssl.stats.metrics import Floats, check_finite
from cxrssl.train.device import Devices

TEMPERATURE = 0.07
BATCH_VALUES = 2**24
"""Similarities at once: 128 MiB."""


def read_candidate(
    workspace: Workspace, candidate: Candidate, reading: Reading, images: ImageStore, devices: Devices
) -> Candidate:
    """Return the candidate read in this way; one without an encoder stays as it is.

    Raises: UsageError for more layers than its encoder has.
    """
    encoder, settings = candidate.encoder, candidate.settings
    if encoder is None or reading == CLS:
        return candidate
    count_features(encoder, reading)
    setup = settings.setup_sha256 and hash_settings([settings.setup_sha256, reading.name])
    return replace(
        candidate,
        candidate_id=f"{reading.slug}-{candidate.candidate_id}",
        label=f"{reading.words} of {candidate.label}",
        settings=dataclasses.replace(settings, read=reading.setting, setup_sha256=setup),
        features=partial(
            extract_tokens if reading.pooling else extract_features, workspace, encoder, images, devices, reading
        ),
    )


@dataclass(frozen=True, eq=False)
class KnnProbe:
    """Train films that vote on others, nearer ones with more weight."""

    train_x_MD: npt.NDArray[np.float32]
    """Of length 1."""
    train_y_ML: npt.NDArray[np.int8]
    num_neighbours: int
    mean_D: Floats
    """Of the train films as they are, as is `scale_D`: what they were is on record."""
    scale_D: Floats
    is_fitted_L: npt.NDArray[np.bool_]
    """False where train holds one class only (or no label)."""
    strength: float = math.nan

    @property
    def is_judged_L(self) -> npt.NDArray[np.bool_]:
        """Nothing is chosen, so that no finding has a part in a choice."""
        return np.zeros(len(self.is_fitted_L), np.bool_)

    def predict_logits(self, features_ND: npt.NDArray[Any]) -> Floats:
        """Log odds of each finding by the weighted share s of the K nearest films that have it.

        A neighbour at cosine c weighs exp(c / 0.07), and those as near as the K-th count too. The log odds are
        log(K s + 1/2) - log(K (1 - s) + 1/2): finite at 0 and 1, and ranked as s is. A neighbour whose label is not
        known has no vote; where none of them is, the share is that of all train films.

        Shapes: [N, D] -> [N, L].
        Source: Wu et al. 2018 (instance discrimination), weighted nearest neighbours; Anscombe 1956 for the halves.
        """
        check_finite(features_ND, "features")
        shares_NL = np.empty((len(features_ND), self.train_y_ML.shape[1]))
        batch = max(1, BATCH_VALUES // len(self.train_x_MD))
        for start in range(0, len(features_ND), batch):
            rows = slice(start, start + batch)
            shares_NL[rows] = self._vote(normalise(features_ND[rows]) @ self.train_x_MD.T)
        num = self.num_neighbours
        return np.asarray(np.log(num * shares_NL + 0.5) - np.log(num * (1 - shares_NL) + 0.5), np.float64)

    def _vote(self, cosine_BM: npt.NDArray[np.float32]) -> Floats:
        place = cosine_BM.shape[1] - self.num_neighbours
        nearest_B1 = np.partition(cosine_BM, place, axis=1)[:, [place]]
        # Relative to the nearest film, so that no weight overflows; a share does not change by that.
        weight_BM = np.exp((cosine_BM - cosine_BM.max(axis=1, keepdims=True)).astype(np.float64) / TEMPERATURE)
        weight_BM = np.where(cosine_BM >= nearest_B1, weight_BM, 0.0)
        pos_BL, known_BL = weight_BM @ (self.train_y_ML == 1), weight_BM @ (self.train_y_ML >= 0)
        prevalence_L = (self.train_y_ML == 1).sum(axis=0) / np.maximum((self.train_y_ML >= 0).sum(axis=0), 1)
        return np.asarray(np.where(known_BL > 0, pos_BL / np.where(known_BL > 0, known_BL, 1.0), prevalence_L))


def fit_knn(train_x_MD: npt.NDArray[Any], train_y_ML: npt.NDArray[np.int8], num_neighbours: int) -> KnnProbe:
    """Return the probe of the nearest train films; of fewer films than neighbours all vote.

    Raises: DataError if a feature is not finite.
    """
    check_finite(train_x_MD, "train features")
    mean_D, scale_D = fit_scaling(train_x_MD.astype(np.float64))
    is_fitted_L = (train_y_ML == 1).any(axis=0) & (train_y_ML == 0).any(axis=0)
    num = min(num_neighbours, len(train_x_MD))
    return KnnProbe(normalise(train_x_MD), train_y_ML, num, mean_D, scale_D, is_fitted_L)


def normalise(x_ND: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return rows of length 1, [N, D]; a row of zeros stays one."""
    length_N1 = np.linalg.norm(x_ND.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(x_ND / np.where(length_N1 > 0, length_N1, 1.0), np.float32)
