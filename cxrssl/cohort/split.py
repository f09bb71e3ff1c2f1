"""The split of each subject: a function of the publisher's lists, of the user's list, or of the subject alone.

In: subjects, official parts, subjects with an ICU stay, a file. Out: rows (scheme, subject_id, split).
Never: two splits for one subject, or a split that depends on the order or number of the films.

official  the publisher's, where the dataset has one; `train_val` is divided by the subject's hash.
hash      by a hash of dataset and subject alone: 70 % train, 10 % val, 20 % test, or other shares.
icu       the paper's rule: only people with an ICU stay are validated and tested on, everyone else is train. The paper
          used the lists of MedFuse, which we may not ship; here a subject with an ICU stay, at any time, keeps its part
          of `hash`, so that no test subject of `icu` is a train subject of `hash`. Nobody knows whether a subject in
          doubt (cohort/losses) had one: without one that could be read, it is in no part.
file      a CSV of the user (split_file) by subject, study or film. It may repeat a subject, with the same split.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import polars as pl

from cxrssl.core.errors import LeakageError, UsageError
from cxrssl.core.seed import subject_fraction
from cxrssl.core.text import count_noun, plain

OFFICIAL_VAL_FRAC = 0.1
"""Share of the subjects of an official `train_val` part that become `val`."""
SCHEMA = {"scheme": pl.String(), "subject_id": pl.String(), "split": pl.String()}


@dataclass(frozen=True)
class Shares:
    """Whole percents of the subjects in each part of `hash`."""

    train: int = 70
    val: int = 10
    test: int = 20


def parse_shares(text: str) -> Shares:
    """Return the shares in a text such as "70,10,20".

    Raises: UsageError for anything but three whole percents above 0 that add up to 100.
    """
    words = text.split(",")
    if len(words) == 3 and all(word.strip().isdecimal() and int(word) > 0 for word in words):
        shares = Shares(*(int(word) for word in words))
        if shares.train + shares.val + shares.test == 100:
            return shares
    hint = "write three whole percents that add up to 100: --shares 70,10,20"
    raise UsageError(f'"{plain(text, 40)}" are not shares of a split', hint=hint)


def split_subjects(
    dataset: str,
    subject_ids: Iterable[str],
    official: pl.DataFrame | None = None,
    icu_subjects: Collection[str] | None = None,
    own: pl.DataFrame | None = None,
    shares: Shares = Shares(),
    doubtful: Collection[str] = (),
) -> pl.DataFrame:
    """Return scheme, subject_id, split for every possible scheme, sorted.

    `official` and `own` have the columns subject_id and split, `icu_subjects` are those with an ICU stay; where one is
    None, the scheme is left out. `doubtful` are those of whom a stay may be missing.

    Raises: LeakageError when a list puts a subject in two parts.
    """
    subjects = sorted(set(subject_ids))
    by_hash = {subject: hash_split(dataset, subject, shares) for subject in subjects}
    schemes = {"hash": by_hash}
    if official is not None:
        parts = subject_parts(official, "official splits")
        schemes["official"] = {
            subject: divide_train_val(dataset, subject, parts[subject]) for subject in subjects if subject in parts
        }
    if icu_subjects is not None:
        schemes["icu"] = {
            subject: part if subject in icu_subjects else "train"
            for subject, part in by_hash.items()
            if subject in icu_subjects or subject not in doubtful
        }
    if own is not None:
        parts = subject_parts(own, "splits of the split file")
        schemes["file"] = {subject: parts[subject] for subject in subjects if subject in parts}
    frames = [
        pl.DataFrame({"scheme": scheme, "subject_id": list(split), "split": list(split.values())}, SCHEMA)
        for scheme, split in sorted(schemes.items())
    ]
    return pl.concat(frames)


def hash_split(dataset: str, subject_id: str, shares: Shares = Shares()) -> str:
    """Return the split of a subject by its hash."""
    percent = 100 * subject_fraction(subject_id, f"{dataset}/hash")
    if percent < shares.train:
        return "train"
    return "val" if percent < shares.train + shares.val else "test"


def divide_train_val(dataset: str, subject_id: str, part: str) -> str:
    """Return `part`, or for `train_val` one of the two by the subject's hash."""
    if part != "train_val":
        return part
    return "val" if subject_fraction(subject_id, f"{dataset}/official-val") < OFFICIAL_VAL_FRAC else "train"


def subject_parts(listed: pl.DataFrame, what: str) -> dict[str, str]:
    """Return subject_id -> part.

    Raises: LeakageError when a subject is in two parts.
    """
    pairs = listed.select("subject_id", "split").unique()
    twice = pairs.filter(pl.col("subject_id").is_duplicated())["subject_id"].n_unique()
    if twice:
        hint = "a subject belongs to one split: compare the file with its source"
        raise LeakageError(f"{count_noun(twice, 'subject')} in two {what}", hint=hint)
    return dict(zip(pairs["subject_id"].to_list(), pairs["split"].to_list(), strict=True))
