"""Groups of films that a reliability diagram may show."""

from __future__ import annotations

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.stats.calibration import score_calibration
from cxrssl.stats.reliability import group_films
from cxrssl.stats.resample import draw_subject_counts


def test_tenths_are_joined_from_the_highest_down_until_none_is_small() -> None:
    """20 films of 20 subjects, two a tenth; the finding in every second film, so that four films have two of each."""
    scores, labels = np.arange(20.0), np.arange(20) % 2
    subjects = np.arange(20)
    counts = draw_subject_counts(subjects, 50, 0)
    groups = group_films(scores, labels, subjects, counts, 2)
    assert [group.rows.tolist() for group in groups] == [[*range(k, k + 4)] for k in (16, 12, 8, 4, 0)]
    assert [group.observed.value for group in groups] == [0.5] * len(groups)


def test_what_is_left_over_joins_the_last_group() -> None:
    labels = np.array([0] * 14 + [1, 0, 1, 0, 1, 0])
    subjects = np.arange(20)
    groups = group_films(np.arange(20.0), labels, subjects, draw_subject_counts(subjects, 50, 0), 2)
    assert [group.rows.tolist() for group in groups] == [[*range(20)]]


def test_films_of_one_subject_count_once() -> None:
    labels, subjects = np.arange(20) % 2, np.zeros(20, np.int64)
    assert group_films(np.arange(20.0), labels, subjects, draw_subject_counts(subjects, 50, 0), 2) == []


def test_films_that_are_not_scored_are_in_no_group() -> None:
    labels = np.array([-1, 0, 1, 0, 1, -1])
    subjects = np.arange(6)
    (group,) = group_films(np.arange(6.0), labels, subjects, draw_subject_counts(subjects, 50, 0), 2)
    assert group.rows.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("labels", [[], [-1, -1], [1, 1, 1], [0, 0, 0]])
def test_without_both_classes_there_is_no_group(labels: list[int]) -> None:
    subjects = np.arange(len(labels))
    counts = draw_subject_counts(subjects, 20, 0)
    assert group_films(np.arange(float(len(labels))), np.array(labels), subjects, counts, 1) == []


def test_groups_that_need_no_joining_are_the_tenths_of_the_calibration_table() -> None:
    generator = np.random.default_rng(0)
    logits, subjects = generator.normal(size=400), np.arange(400)
    labels = (generator.random(400) < 0.5).astype(np.int64)
    counts = draw_subject_counts(subjects, 200, 3)
    groups = group_films(logits, labels, subjects, counts, 2)
    bins = score_calibration(logits, labels, subjects, num_resamples=200, seed=3).bins
    assert [group.observed for group in groups[::-1]] == [each.observed for each in bins]
    assert [len(group.rows) for group in groups[::-1]] == [each.num_films for each in bins]


def test_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        group_films(np.array([np.nan, 1.0]), np.array([0, 1]), np.arange(2), np.ones((1, 2), np.uint16), 1)
