"""Where a probe of patches looks: its patch scores against the boxes that radiologists drew on test films.

In: the plan of an evaluation, its probe, patch tokens. Out: BoxScores. Never: a film that the probe was fitted on.

Suffix letters: N films with boxes, P patches, G patches along a side, K boxes, R resamples.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from cxrssl.cohort.boxes import Boxes, read_boxes
from cxrssl.evaluate.patches import PatchProbe, Tokens
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.records.boxes import BoxScore, BoxScores
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import Interval, draw_subject_counts, percentile_interval

Looks = dict[str, Floats]
"""Of each film with a box, by what is measured: [N]."""


def find_boxes(plan: EvalPlan) -> Boxes | None:
    """Return the boxes of the cohort of a probe that sees patches; None of other probes, or where there are none."""
    return read_boxes(plan.cohort) if plan.reading.pooling else None


def score_boxes(plan: EvalPlan, probe: PatchProbe, tokens: Tokens, boxes: Boxes) -> BoxScores:
    """Return how much of the patch scores of each finding lies in its boxes, on the test films that have one.

    share: of the sum over patches of max(0, s), s being what a patch adds to the log odds (attention) or its score
    (maximum), each spread evenly over its patch; 0 where no patch is above 0. Source: Wang et al. 2020 (Score-CAM),
    section 4.3. pointing: whether the centre of the highest patch is in the box. Source: Zhang et al. 2018
    (Excitation Backprop), section 5.2. Differs: without a margin around the box.
    """
    rows_N, names_N, found = _look(plan, probe, tokens, boxes)
    subject_N, how = plan.cohort.subject_id[rows_N], plan.settings.probe
    kept = {"": np.ones(len(rows_N), np.bool_)} if len(rows_N) else {}
    kept |= {name: names_N == name for name in plan.findings if name in names_N}
    scores = []
    for name, is_kept_N in kept.items():
        looks = {key: each[is_kept_N] for key, each in found.items()}
        num_films = len(np.unique(rows_N[is_kept_N]))
        scores.append(_score(name, num_films, looks, subject_N[is_kept_N], (how.num_resamples, how.seed)))
    return BoxScores(boxes.file, boxes.sha256, tuple(scores), boxes.num_unread)


def _look(
    plan: EvalPlan, probe: PatchProbe, tokens: Tokens, boxes: Boxes
) -> tuple[NDArray[np.int64], NDArray[np.str_], Looks]:
    """Return the row, the finding and what is measured of each test film with a box of a fitted finding."""
    fitted = [name for name, is_fitted in zip(plan.findings, probe.is_fitted_L, strict=True) if is_fitted]
    test = set(plan.rows["test"].tolist())
    pairs = sorted({(int(row), name) for row, name in zip(boxes.rows_K, boxes.findings_K, strict=True)})
    pairs = [(row, name) for row, name in pairs if row in test and name in fitted]
    rows_N, names_N = np.array([row for row, _ in pairs], np.int64), np.array([name for _, name in pairs], np.str_)
    found: Looks = {name: np.zeros(len(pairs)) for name in ("share", "area", "pointing")}
    for place, (row, name) in enumerate(pairs):
        is_own_K = (boxes.rows_K == row) & (np.array(boxes.findings_K) == name)
        added_P = score_patches(probe, tokens[np.array([row])], plan.findings.index(name))
        side = round(len(added_P) ** 0.5)
        film_44 = place_on_view(np.array([[0.0, 0.0, 1.0, 1.0]]), plan.images.box_N4[row], side)
        boxes_K4 = place_on_view(boxes.box_K4[is_own_K], plan.images.box_N4[row], side)
        share, pointing = look(added_P.reshape(side, side), boxes_K4)
        found["share"][place], found["pointing"][place] = share, pointing
        found["area"][place] = cover_patches(boxes_K4, side).sum() / cover_patches(film_44, side).sum()
    return rows_N, names_N, found


def score_patches(probe: PatchProbe, tokens: Tokens, finding: int) -> Floats:
    """Return of one film what each patch adds to the log odds of a finding; of the maximum its score. [P]"""
    mean_D, scale_D = (torch.from_numpy(each).float() for each in (probe.mean_D, probe.scale_D))
    ((_, tokens_1PD),) = tokens.batches()
    z_PD = (tokens_1PD[0] - mean_D) / scale_D
    score_P = z_PD @ probe.weight_LD[finding]
    if probe.pooling == "attention":
        score_P = score_P * (z_PD @ probe.query_LD[finding] / z_PD.shape[1] ** 0.5).softmax(dim=0)
    return cast(Floats, score_P.double().numpy())


def place_on_view(fractions_K4: Floats, valid_4: NDArray[np.integer[Any]], side: int) -> Floats:
    """Return boxes of a film on the view that an encoder is shown: left, top, right, bottom in patches.

    The film fills the longer side of the view and stands in the middle of the shorter one, as `whole_views` shows it.
    """
    height, width = (float(each) for each in valid_4[2:])
    longest = max(height, width)
    left, top, wide, high = fractions_K4.T
    starts = 0.5 + (left - 0.5) * width / longest, 0.5 + (top - 0.5) * height / longest
    ends = starts[0] + wide * width / longest, starts[1] + high * height / longest
    return np.asarray(np.clip(np.stack([*starts, *ends], axis=1), 0.0, 1.0) * side, np.float64)


def cover_patches(boxes_K4: Floats, side: int) -> Floats:
    """Return which share of each patch lies in any of the boxes, [G, G]: exact, however they overlap."""
    edges = np.arange(side + 1)
    across, down = (np.unique(np.concatenate([edges, boxes_K4[:, [at, at + 2]].ravel()])) for at in (0, 1))
    x, y = ((each[1:] + each[:-1]) / 2 for each in (across, down))
    is_in = np.zeros((len(y), len(x)), np.bool_)
    for left, top, right, bottom in boxes_K4:
        is_in |= ((y >= top) & (y <= bottom))[:, None] & ((x >= left) & (x <= right))
    covered_GG = np.zeros((side, side))
    np.add.at(covered_GG, np.ix_(y.astype(int), x.astype(int)), is_in * np.outer(np.diff(down), np.diff(across)))
    return covered_GG


def look(added_GG: Floats, boxes_K4: Floats) -> tuple[float, bool]:
    """Return the share of the positive scores in the boxes, and whether the centre of the highest patch is in one."""
    positive_GG = np.maximum(added_GG, 0.0)
    total = positive_GG.sum()
    share = float((positive_GG * cover_patches(boxes_K4, len(added_GG))).sum() / total) if total > 0 else 0.0
    row, column = np.unravel_index(int(np.argmax(added_GG)), added_GG.shape)
    x, y = float(column) + 0.5, float(row) + 0.5
    return share, any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in boxes_K4.tolist())


def _score(finding: str, num_films: int, found: Looks, subject_N: NDArray[np.str_], drawn: tuple[int, int]) -> BoxScore:
    """Return the means over films with their intervals over subjects; a film of two findings counts for each.

    `drawn` are the number of resamples and their seed.
    """
    num_subjects, counts_RN = len(np.unique(subject_N)), draw_subject_counts(subject_N, *drawn)

    def mean(values_N: Floats) -> Interval:
        total_R = counts_RN.sum(axis=1, dtype=np.float64)
        samples_R = np.where(total_R > 0, counts_RN @ values_N / np.maximum(total_R, 1), np.nan)
        return percentile_interval(float(values_N.mean()), samples_R, num_subjects)

    share, area, pointing = found["share"], found["area"], found["pointing"]
    return BoxScore(
        finding,
        num_films,
        num_subjects,
        mean(share),
        float(area.mean()),
        mean(share - area),
        mean(pointing),
        mean(pointing - area),
    )
