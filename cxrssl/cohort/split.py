"""Which split a subject belongs to: a function of the publisher's lists, or of the subject alone.

In: subjects, and the official parts where a dataset has them. Out: rows (scheme, subject_id, split).
Never: two splits for one subject, or a split that depends on the order or number of the films.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from cxrssl.core.errors import LeakageError
from cxrssl.core.seed import subject_fraction
from cxrssl.core.text import count_noun

TRAIN_FRAC, VAL_FRAC = 0.7, 0.1
OFFICIAL_VAL_FRAC = 0.1
"""Share of the subjects of an official `train_val` part that become `val`."""


def split_subjects(dataset: str, subject_ids: Iterable[str], official: pl.DataFrame | None) -> pl.DataFrame:
    """Return scheme, subject_id, split for every scheme that the dataset has, sorted.

    Raises: LeakageError when a subject is in two official splits.
    """
    subjects = sorted(set(subject_ids))
    rows = [("hash", subject, hash_split(dataset, subject)) for subject in subjects]
    if official is not None:
        parts = official_parts(official)
        rows += [
            ("official", subject, divide_train_val(dataset, subject, parts[subject]))
            for subject in subjects
            if subject in parts
        ]
    schema = {"scheme": pl.String, "subject_id": pl.String, "split": pl.String}
    return pl.DataFrame(rows, schema, orient="row").sort("scheme", "subject_id")


def hash_split(dataset: str, subject_id: str) -> str:
    """Return the split of a subject by its hash: 70 % train, 10 % val, 20 % test."""
    fraction = subject_fraction(subject_id, f"{dataset}/hash")
    if fraction < TRAIN_FRAC:
        return "train"
    return "val" if fraction < TRAIN_FRAC + VAL_FRAC else "test"


def divide_train_val(dataset: str, subject_id: str, part: str) -> str:
    """Return `part`, or for `train_val` one of the two by the subject's hash."""
    if part != "train_val":
        return part
    return "val" if subject_fraction(subject_id, f"{dataset}/official-val") < OFFICIAL_VAL_FRAC else "train"


def official_parts(official: pl.DataFrame) -> dict[str, str]:
    """Return subject_id -> part.

    Raises: LeakageError when a subject is in two parts.
    """
    pairs = official.unique()
    twice = pairs.filter(pl.col("subject_id").is_duplicated())["subject_id"].n_unique()
    if twice:
        what = f"{count_noun(twice, 'subject')} in two official splits"
        raise LeakageError(what, hint="the split file is not the publisher's: compare its SHA-256 with SHA256SUMS.txt")
    return dict(zip(pairs["subject_id"].to_list(), pairs["split"].to_list(), strict=True))
