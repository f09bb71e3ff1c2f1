"""The COVID-19 image data collection: the open set whose rows hold ICU, survival and film.

In: the folder with metadata.csv, and index.csv where patients that share a picture were joined. Out: SourceTables.
Source: Cohen et al., 2020, arXiv 2006.11988. The metadata are CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from cxrssl.cohort.files import Folder, Layout, find_one_folder, has_table, pick_file
from cxrssl.cohort.sources import SourceOptions, SourceTables, complete_given, count_values, reject_absent_films
from cxrssl.cohort.tables.columns import Column, TableSpec
from cxrssl.cohort.tables.peek import peek_columns
from cxrssl.cohort.tables.table import SourceTable, read_table

OPTIONS: tuple[str, ...] = ()
# Finding in the file -> the findings that it implies. Every infection here, and lipoid pneumonia, is a pneumonia in
# this collection: its later releases label the same films Pneumonia/Viral/COVID-19, Pneumonia/Bacterial/Klebsiella,
# Pneumonia/Lipoid. ARDS and No Finding imply nothing.
PARENTS: dict[str, tuple[str, ...]] = {
    "COVID-19": ("Viral", "Pneumonia"),
    "SARS": ("Viral", "Pneumonia"),
    "MERS-CoV": ("Viral", "Pneumonia"),
    "Varicella": ("Viral", "Pneumonia"),
    "Influenza": ("Viral", "Pneumonia"),
    "Viral": ("Pneumonia",),
    "Streptococcus": ("Bacterial", "Pneumonia"),
    "Klebsiella": ("Bacterial", "Pneumonia"),
    "Legionella": ("Bacterial", "Pneumonia"),
    "Chlamydophila": ("Bacterial", "Pneumonia"),
    "E.Coli": ("Bacterial", "Pneumonia"),
    "Mycoplasma": ("Bacterial", "Pneumonia"),
    "Bacterial": ("Pneumonia",),
    "Pneumocystis": ("Fungal", "Pneumonia"),
    "Fungal": ("Pneumonia",),
    "Lipoid": ("Pneumonia",),
    "Pneumonia": (),
    "ARDS": (),
    "No Finding": (),
}
SPELLINGS = {"Mycoplasma Bacterial Pneumonia": "Mycoplasma"}
FINDINGS: tuple[str, ...] = tuple(sorted(PARENTS))
UNKNOWN_FINDINGS = ("todo", "Unknown", "?")
VIEWS = {"PA": "PA", "AP": "AP", "AP Supine": "AP", "AP Erect": "AP", "L": "LATERAL"}
POSITIONS = {"AP Supine": "Recumbent", "AP Erect": "Erect"}

FILENAME = Column("filename", form=r"[^/\\.][^/\\]{0,250}")
# Besides Y, N and blank the file has "?" and "Would have been stated": unknown.
YES_NO = ("Y", "N")
METADATA = TableSpec(
    "metadata",
    (
        FILENAME,
        Column("patientid", "id", form="[0-9A-Za-z_-]{1,40}"),
        Column("folder", form="[0-9A-Za-z_-]{1,60}"),
        Column("modality"),
        Column("finding", may_be_blank=True, when_bad="blank"),
        Column("view", may_be_blank=True, when_bad="blank"),
        Column("sex", values=("M", "F"), may_be_blank=True, when_bad="blank"),
        Column("age", "float", low=0, high=120, may_be_blank=True, when_bad="blank"),
        Column("in_icu", values=YES_NO, may_be_blank=True, when_bad="blank"),
        Column("survival", values=YES_NO, may_be_blank=True, when_bad="blank"),
    ),
    key=("filename",),
    subject="patientid",
)
# Days since admission or the first symptoms: it orders the films of a patient. Some copies leave the column out.
OFFSET = Column("offset", "float", low=-1000, high=10_000, may_be_blank=True, when_bad="blank")
INDEX = TableSpec("index", (FILENAME, Column("patient_group", "id", form="[0-9A-Za-z_-]{1,40}")), key=("filename",))


def is_here(folder: Folder) -> bool:
    """Return whether the folder has this collection's table beside a folder of films."""
    return has_table(folder, "metadata") and "images" in folder.folders


def find(options: SourceOptions) -> Layout:
    """Return where the tables and the films are."""
    root = find_one_folder(
        options.path, "COVID-19 image data collection", is_here, "metadata.csv beside a folder named images"
    )
    remarks: list[str] = []
    files = {"metadata": pick_file(root, "metadata.csv", remarks)}
    if any((root / name).is_file() for name in ("index.csv", "index.csv.gz")):
        files["index"] = pick_file(root, "index.csv", remarks)
    else:
        remarks.append("no index.csv: subjects are patientid, under which one known case occurs twice (16660)")
    versions = {"collection": "with joined patients (index.csv)" if "index" in files else "as published"}
    return Layout("covid", root, files, ("images",), remarks, versions=versions, film_tables=("metadata",))


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the tables of the collection."""
    file = layout.files["metadata"]
    has_offset = OFFSET.name in peek_columns(file.path)
    films = read_table(file.path, file.shown, replace(METADATA, columns=METADATA.columns + (OFFSET,) * has_offset))
    if not has_offset:
        films.frame = films.frame.with_columns(pl.lit(None, pl.Float64).alias(OFFSET.name))
    others: list[SourceTable] = []
    subject_id = pl.col("patientid").alias("subject_id")
    if "index" in layout.files:
        index = read_table(layout.files["index"].path, layout.files["index"].shown, INDEX)
        others.append(index)
        films.frame = films.frame.join(index.frame.drop("line"), "filename", "left", maintain_order="left")
        films.reject(pl.col("patient_group").is_null(), "not in index.csv")
        films.reject(pl.col("patient_group").n_unique().over("patientid") > 1, "patient in two groups", "patientid")
        subject_id = pl.col("patient_group").alias("subject_id")
    films.frame = films.frame.with_columns(subject_id, pl.format("{}/{}", "folder", "filename").alias("path"))
    films.reject(pl.col("modality") != "X-ray", "not an X-ray", "modality")
    # Counted before absent films are rejected: a film that is not on this disk was still taken.
    films.frame = films.frame.with_columns(_num_prior().alias("num_prior"))
    reject_absent_films(films, present)
    labels, remarks = _make_labels(films.frame)
    return SourceTables(
        films=films,
        others=others,
        image=_make_image(films.frame),
        given=_make_given(films.frame),
        labels=labels,
        views_seen=count_values(films.frame, "view"),
        remarks=remarks,
        versions=layout.versions,
    )


def label_findings(text: str | None) -> dict[str, int | None] | None:
    """Return each finding's 1, 0 or None (unknown) for one cell, or None when the cell has a word we do not know.

    A film called only "Pneumonia" or "Bacterial" leaves the agents under it unknown, one called only "ARDS" its cause.
    """
    words = [SPELLINGS.get(word.strip(), word.strip()) for word in (text or "").replace("/", ",").split(",")]
    if any(word not in PARENTS for word in words):
        return None
    present = set(words).union(*(PARENTS[word] for word in words))
    open_parents = {word for word in present if not any(word in PARENTS[other] for other in present)}
    values: dict[str, int | None] = {}
    for finding in FINDINGS:
        if finding in present:
            values[finding] = 1
        elif open_parents & set(PARENTS[finding]) or (present == {"ARDS"} and finding != "No Finding"):
            values[finding] = None
        else:
            values[finding] = 0
    return values


def _make_image(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.col("filename").alias("image_id"),
        pl.col("filename").alias("study_id"),  # the collection has no studies
        "subject_id",
        pl.col("patientid").alias("patient_id"),
        "path",
        pl.col("view").replace_strict(VIEWS, default=None, return_dtype=pl.String).alias("view"),
        pl.col("view").replace_strict(POSITIONS, default=None, return_dtype=pl.String).alias("position"),
        pl.lit(None, pl.Datetime("us")).alias("taken_at"),
        pl.lit(None, pl.Int64).alias("rows"),
        pl.lit(None, pl.Int64).alias("columns"),
    )


def _make_given(frame: pl.DataFrame) -> pl.DataFrame:
    """Return sex, age, ICU at the moment of the film, death in the end (`survival` N) and number of earlier films."""

    def meaning(column: str, words: dict[str, str]) -> pl.Expr:
        return pl.col(column).replace_strict(words, default=None, return_dtype=pl.String)

    given = frame.select(
        pl.col("filename").alias("image_id"),
        meaning("sex", {"M": "male", "F": "female"}).alias("sex"),
        pl.col("age").alias("age_y"),
        meaning("in_icu", {"Y": "icu", "N": "not_icu"}).alias("icu"),
        meaning("survival", {"Y": "alive", "N": "died"}).alias("mortality"),
        "num_prior",
    )
    return complete_given(given)


def _num_prior() -> pl.Expr:
    """Return the number of the subject's films in the collection from earlier days; null where a day is unknown."""
    is_ordered = pl.col("offset").is_not_null().all().over("subject_id")
    return pl.when(is_ordered).then(pl.col("offset").rank("min").over("subject_id").cast(pl.Int64) - 1)


def _make_labels(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    unknown: dict[str, int | None] = dict.fromkeys(FINDINGS)
    rows, strange = [], []
    for name, text in frame["filename", "finding"].rows():
        values = label_findings(text)
        rows.append({"study_id": name, **(values or unknown)})
        if text and values is None and text not in UNKNOWN_FINDINGS:
            strange.append(text)
    remarks = [f"films with a finding that is not in the table: {len(strange):,}"] if strange else []
    schema = {"study_id": pl.String(), **{name: pl.Int8() for name in FINDINGS}}
    return pl.DataFrame(rows, schema), remarks
