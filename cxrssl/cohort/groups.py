"""Groups of people and films, such as women, an age band or a view.

In: a cohort. Out: the group of each film. Never: a film of unknown sex among men or women.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.encoding import band_index
from cxrssl.cohort.feature import band_labels
from cxrssl.cohort.features import find_feature
from cxrssl.cohort.read import Cohort

AGE_EDGES = (20, 40, 60, 80)
"""Of the age bands. Source: Seyyed-Kalantari et al. 2021 (Nat Med 27:2176), whose bands are of 20 years, too."""
UNKNOWN = -1
Index = NDArray[np.int64]


def name_groups(cohort: Cohort, attribute: str) -> tuple[Index, tuple[str, ...]]:
    """Return the group of each film of a cohort, UNKNOWN where that is not known, and the names of the groups."""
    column, names = cohort.column_of(attribute), find_feature(attribute).categories
    known_N, values_N = cohort.ehr_known[:, column], cohort.ehr_values[:, column].astype(np.float64)
    if not names:
        values_N, names = band_index(values_N, AGE_EDGES), band_labels(AGE_EDGES)
    return np.where(known_N, np.where(known_N, values_N, 0), UNKNOWN).astype(np.int64), names
