"""What has to go from scores before they leave: also numbers of people that two exact counts tell by subtraction."""

from __future__ import annotations

import pytest

from cxrssl.export.cut import find_cut
from cxrssl.records.scores import EvalScores
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import FindingScore

NUMBER = Interval(0.7, 0.6, 0.8, 100, 100, 40)


def scores_of(num_pos_subjects: int, num_neg_subjects: int, num_subjects: int = 100) -> EvalScores:
    finding = FindingScore(NUMBER, NUMBER, 300, 0, 240, num_pos_subjects, num_neg_subjects)
    return EvalScores({"Edema": finding}, NUMBER, NUMBER, 300, num_subjects, 100, 0.95, 0)


@pytest.mark.parametrize(
    ("pos", "neg", "is_coarse"),
    [
        (95, 40, True),  # five people have no film without it
        (60, 43, True),  # three have films of both kinds
        (60, 95, True),  # five have no film with it
        (60, 60, False),
        (60, 40, False),
    ],
)
def test_counts_that_tell_a_small_one_by_subtraction_are_rounded(pos: int, neg: int, is_coarse: bool) -> None:
    assert find_cut(scores_of(pos, neg)).is_coarse is is_coarse
