"""Whose names the films and subjects of a table have: pseudonyms, or where the user asks for them the dataset's own.

In: ids of a cohort. Out: names. No torch. Never: an id of the dataset where the user did not ask for it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.pseudonym import make_key, name_id
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

Ids = Literal["pseudonyms", "dataset"]
IDS: tuple[Ids, ...] = ("pseudonyms", "dataset")


def parse_ids(text: str) -> Ids:
    """Return whose names films and subjects get. Raises: UsageError."""
    for name in IDS:
        if text == name:
            return name
    raise UsageError(f'--ids is "{plain(text, 40)}"', hint=nearest_hint(text, IDS))


def name_all(cohort: Cohort, *columns: NDArray[np.str_]) -> tuple[NDArray[np.str_], ...]:
    """Return the columns with pseudonyms in place of ids."""
    key = make_key(cohort.image_id.tolist())
    return tuple(np.array([name_id(text, key) for text in column.tolist()], np.str_) for column in columns)
