"""What all setups of a table share, as figures say it: cohort, split, films and subjects.

In: the setups of a table. Out: words, names of files. Never: a small count that tables hide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.eval_settings import EvalSettings
from cxrssl.report.conditions import hide_films, show_asked
from cxrssl.report.probe_tables import count_cells
from cxrssl.report.small import Count, SmallCells, hide_small
from cxrssl.stats.scores import FindingScore


def name_terms(table: Sequence[SeedGroup]) -> str:
    """Return "cohort nih, split official" and what else was asked."""
    settings = table[0].settings
    asked = f", {plain(show_asked(settings.probe), 120)}" if settings.probe.asked else ""
    carried = f", probe of cohort {settings.carried.cohort}" if settings.carried else ""
    return f"cohort {settings.cohort}, split {settings.split}{asked}{carried}"


def count_films(table: Sequence[SeedGroup], small: SmallCells) -> str:
    """Return how many films and subjects were scored."""
    scores = table[0].evaluations[0].scores
    counts = [Count(scores.num_films, scores.num_subjects), Count(scores.num_subjects)]
    films, subjects = hide_small(counts, small=small)
    return f"{count_noun(films, 'film')} of {count_noun(subjects, 'test subject')}"


def name_file(table: Sequence[SeedGroup]) -> str:
    """Return a name that no other table of the report has."""
    settings = table[0].settings
    return f"{settings.cohort}-{settings.split}-{hash_terms(settings)}"


def hash_terms(settings: EvalSettings) -> str:
    """Return a short name of the terms of an evaluation."""
    return hashlib.sha256(hide_films(settings).terms.encode()).hexdigest()[:6]


def count_subjects(score: FindingScore | None, small: SmallCells) -> str:
    """Return subjects with a finding and without it as "43 / 85", small counts hidden as in tables."""
    return "" if score is None else str(count_cells(score, small)[1])
