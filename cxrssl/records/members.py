"""The cohorts that a run was trained on, where they are several; one that is trained on one cohort says so itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One of the cohorts of a run."""

    cohort: str
    dataset: str
    split: str
    """The split whose train films the run was shown."""
    cohort_sha256: str
    images_sha256: str
    link: str = ""
    num_films: int = 0
    """Films the run is trained on; 0 where they were not counted."""
    num_left_out: int = 0
    """Its train films of patients whom another of the cohorts has in a later split."""


def name_data(cohort: str) -> str:
    """Return how the id of a run begins, which names its cohorts: "mimic+nih" for "mimic,nih"."""
    return cohort.replace(",", "+")
