"""What the tags of DICOM films say, where a map and its tables do not; films stripped of their tags are films too.

In: the films of a folder. Out: sex, age, view, position and time by film. Never: a tag that precedes the user's table.
"""

from __future__ import annotations

import polars as pl

from cxrssl.cohort.dicom_headers import read_headers
from cxrssl.cohort.dicom_person import read_person
from cxrssl.cohort.files import FILM_SUFFIXES, Layout
from cxrssl.cohort.sources.dicom import CLASSES, MAX_AGE_Y, MODALITIES, taken_at
from cxrssl.cohort.tables.table import SourceTable

SAID = ("sex", "age_y", "view", "position", "taken_at")


def add_tags(films: SourceTable, layout: Layout) -> list[str]:
    """Reject DICOM files that are no radiographs, and add "tag sex" and the like; return remarks.

    Of the modality nothing is asked of a file that does not say it: the user's table calls it a film.
    """
    is_dicom = ~pl.col("path").str.to_lowercase().str.contains("({})$".format("|".join(FILM_SUFFIXES)))
    paths = films.frame.filter(is_dicom.fill_null(False))["path"].to_list()
    if not paths:
        return []
    headers = read_headers(layout.film_folder, paths, layout.unread).with_columns(taken_at().alias("taken_at"))
    known, remarks = read_person(headers)
    known = known.with_columns(pl.when(pl.col("age_y").is_between(0, MAX_AGE_Y)).then("age_y").alias("age_y"))
    judged = ("rule", "modality", "sop_class_uid", "number_of_frames", "samples_per_pixel")
    columns = ["path", *(pl.col(name).alias(f"tag {name}") for name in (*SAID, *judged))]
    films.frame = films.frame.join(known.select(columns), "path", "left", maintain_order="left")
    for rule in films.frame["tag rule"].drop_nulls().unique().sort():
        films.reject(pl.col("tag rule") == rule, rule)
    is_other = ~pl.col("tag modality").is_in(MODALITIES)
    is_other |= pl.col("tag modality").is_null() & ~pl.col("tag sop_class_uid").is_in(CLASSES)
    films.reject(is_other, "not CR or DX", "Modality")
    films.reject(pl.col("tag number_of_frames") > 1, "several frames", "NumberOfFrames")
    films.reject(pl.col("tag samples_per_pixel") > 1, "not grey", "PhotometricInterpretation")
    return remarks
