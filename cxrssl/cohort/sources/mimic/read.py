"""The tables of MIMIC, read and checked against each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl

from cxrssl.cohort.files import Layout
from cxrssl.cohort.sources import WITHOUT_FILM, SourceTables, count_values, reject_absent_films
from cxrssl.cohort.sources.mimic.films import (
    add_paths,
    add_tags,
    count_prior,
    make_given,
    make_image,
    study_days,
    study_times,
)
from cxrssl.cohort.sources.mimic.hospital import (
    check_hospital,
    check_owner,
    is_absent,
    is_stranger,
    known_subjects,
    make_hospital,
)
from cxrssl.cohort.sources.mimic.tables import FINDINGS, SPECS
from cxrssl.cohort.sources.mimic.versions import refine_version
from cxrssl.cohort.tables.table import STRANGER, SourceTable, read_tables


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the tables of MIMIC. Films are joined with their patients, and with nothing else yet."""
    tables = read_tables(layout.files, SPECS)
    films = tables["metadata"] if "metadata" in tables else tables["records"]
    # In parallel: hospital and films share only the patients, which neither changes.
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(check_hospital, tables)
        remarks, official = _check_film_tables(films, tables, layout, present)
        checking.result()
    image = make_image(films)
    given = make_given(films.frame, image, tables["patients"].frame)
    return SourceTables(
        films=films,
        others=[table for table in tables.values() if table is not films],
        image=image,
        given=given,
        labels=_make_labels(tables),
        official=official,
        hospital=make_hospital(tables),
        views_seen=count_values(films.frame, "ViewPosition"),
        remarks=remarks + _find_remarks(tables, image, given),
        versions=layout.versions | refine_version(tables),
    )


def _check_film_tables(
    films: SourceTable, tables: dict[str, SourceTable], layout: Layout, present: dict[str, int]
) -> tuple[list[str], pl.DataFrame | None]:
    """Reject films that cannot be used; add path, times and number of prior studies; return remarks and split."""
    _check_films(films, tables["patients"])
    remarks = add_paths(films, present)
    if "records" in tables:
        remarks += add_tags(films, layout.film_folder, layout.unread)
    official = None
    for name, key in (("labels", "study_id"), ("split", "dicom_id"), ("radiologists", "study_id")):
        if name in tables:
            tables[name].check_fit(key, films.frame[key], films.file)
    if "labels" in tables:
        check_owner(tables["labels"], "study_id", films)
        check_owner(tables["split"], "dicom_id", films)
        in_cohort = tables["split"].frame.join(films.frame.select("dicom_id"), "dicom_id", "semi")
        official = in_cohort.select("subject_id", pl.col("split").replace({"validate": "val"}))
    if "radiologists" in tables:
        radiologists = tables["radiologists"]
        radiologists.reject(is_absent("study_id", films.frame), WITHOUT_FILM)
    films.frame = films.frame.with_columns(study_times(films.frame), study_days(films.frame))
    # Counted before absent films are rejected: a study that is not on this disk still took place.
    films.frame = films.frame.with_columns(count_prior(films.frame, films.doubtful()).alias("num_prior"))
    reject_absent_films(films, present)
    return remarks, official


def _check_films(films: SourceTable, patients: SourceTable) -> None:
    films.reject(pl.col("subject_id").n_unique().over("study_id") > 1, "study under two subjects")
    people = known_subjects(patients)
    films.check_fit("subject_id", people, patients.file)
    films.reject(is_stranger(people), STRANGER)


def _make_labels(tables: dict[str, SourceTable]) -> pl.DataFrame:
    """Return the labeller's findings, replaced by the radiologists' in the studies that they labelled."""
    if "labels" not in tables:
        return pl.DataFrame(schema={"study_id": pl.String()})
    columns = ["study_id", *(pl.col(name).cast(pl.Int8) for name in FINDINGS)]
    labels = tables["labels"].frame.select(columns)
    if "radiologists" not in tables:
        return labels
    theirs = tables["radiologists"].frame.select(columns)
    return pl.concat([labels.join(theirs, "study_id", "anti"), theirs])


def _find_remarks(tables: dict[str, SourceTable], image: pl.DataFrame, given: pl.DataFrame) -> list[str]:
    counts = {
        "films without a usable time": image["taken_at"].null_count(),
        "films without a usable age": given["age_y"].null_count(),
    }
    if "labels" in tables:
        split = tables["split"].frame.select(pl.col("dicom_id").alias("image_id"))
        counts |= {
            "films without a labelled study": image.join(tables["labels"].frame, "study_id", "anti").height,
            "films without a row in the split file": image.join(split, "image_id", "anti").height,
        }
    return [f"{what}: {num:,}" for what, num in counts.items() if num]
