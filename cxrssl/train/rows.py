"""Which films of its cohorts a run is trained on.

In: a cohort, or several as one, with packed films; a recipe. Out: rows, and how many were left out for what.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.gate import leave_out_twins
from cxrssl.cohort.labelled import draw_subjects
from cxrssl.cohort.read import Cohort
from cxrssl.core.durable import hash_settings
from cxrssl.images.store import ImageStore
from cxrssl.recipe.objectives import FinetuneSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.train.pooled import FindFilms, check_pool, find_where


class ChosenRows(NamedTuple):
    """The films of a run, and what was left out."""

    rows: NDArray[np.int64]
    num_twins: int = 0
    """Train films that a later split shows too."""
    num_without_sex: int = 0
    num_outside: int = 0
    """Train films that do not meet `data.where`."""
    where_sha256: str = ""
    """Of the films that meet it; empty without a condition."""


def choose_rows(
    cohort: Cohort, images: ImageStore, recipe: Recipe, scheme: str, find_films: FindFilms | None = None
) -> ChosenRows:
    """Return the rows of the cohort that a recipe trains on; `find_films` asks a cohort for those of `data.where`.

    Raises: UsageError for settings that do not fit one cohort, or several.
    """
    rows = np.arange(len(cohort)) if recipe.train.rows == "all" else cohort.rows_of("train", scheme)
    rows = rows[images.is_packed_N[rows]]
    # A train film that test shows too would let the encoder learn a test film by heart.
    kept = rows if recipe.train.rows == "all" else leave_out_twins(cohort, images, scheme, rows)
    num_twins, rows = len(rows) - len(kept), kept
    num_outside, where_sha256 = 0, ""
    if recipe.data.where:
        is_met_N = find_where(cohort, recipe.data.where, find_films)
        num_outside, rows = int((~is_met_N[rows]).sum()), rows[is_met_N[rows]]
        where_sha256 = hash_settings(cohort.image_id[is_met_N].tolist())
    check_pool(cohort, rows, recipe.data.mix, recipe.ehr.features, recipe.ehr.missing)
    num_without_sex = 0
    # The published code fills every unknown but the sex, and leaves those films out.
    if recipe.ehr.features and recipe.ehr.missing == "paper":
        has_sex = cohort.ehr_known[rows, cohort.column_of("sex")]
        num_without_sex, rows = int((~has_sex).sum()), rows[has_sex]
    objective = recipe.objective
    if isinstance(objective, FinetuneSettings) and objective.label_frac < 1:
        rows = rows[draw_subjects(cohort.subject_id[rows], objective.label_frac, 0, objective.label_draw)]
    return ChosenRows(rows, num_twins, num_without_sex, num_outside, where_sha256)
