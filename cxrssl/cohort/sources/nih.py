"""NIH ChestX-ray14 (ChestX-ray8), whole or in part, with the official split if its lists are available.

In: the folder with Data_Entry_2017*.csv. Out: SourceTables. Rows of films that are not on the disk are rejected.
Source: Wang et al., CVPR 2017, and the published tables.
"""

from __future__ import annotations

import polars as pl

from cxrssl.cohort.files import Folder, Layout, SourceFile, find_one_folder, iter_folders, pick_file
from cxrssl.cohort.sources import SourceOptions, SourceTables, complete_given, count_values, reject_absent_films
from cxrssl.cohort.tables.columns import Column, TableSpec
from cxrssl.cohort.tables.table import SourceTable, read_table
from cxrssl.core.errors import DataError

OPTIONS: tuple[str, ...] = ("films",)
# In the order of the official label files.
FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No Finding"
# The full table first: v2020 corrects the ages of the first release; sample_labels is Kaggle's 5,606 rows.
TABLE_NAMES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
LIST_NAMES = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
MAX_AGE_Y = 120  # the first release and Kaggle's sample have ages to 411

IMAGE_ID = Column("Image Index", form=r"[0-9]{8}_[0-9]{3}\.png")
_FINDING = "(" + "|".join(FINDINGS) + ")"
ENTRIES = TableSpec(
    "entries",
    (
        IMAGE_ID,
        # 0 for a patient's first film in the collection, in Kaggle's sample as 000.
        Column("Follow-up #", "id", form="[0-9]{1,3}", may_be_blank=True, when_bad="blank"),
        Column("Finding Labels", form=rf"{NO_FINDING}|{_FINDING}(\|{_FINDING})*"),
        Column("Patient ID", "id", form="[0-9]{1,8}"),
        # "60", or "060Y" in Kaggle's sample; M and D are months and days.
        Column("Patient Age", "id", form="[0-9]{1,3}[YMD]?", may_be_blank=True, when_bad="blank"),
        Column("Patient Gender", values=("M", "F"), may_be_blank=True, when_bad="blank", aliases=("Patient Sex",)),
        Column("View Position", may_be_blank=True, when_bad="blank"),
    ),
    key=("Image Index",),
    subject="Patient ID",
)
NAMES = TableSpec("names", (IMAGE_ID,), key=("Image Index",))


def is_here(folder: Folder) -> bool:
    """Return whether the folder has a ChestX-ray14 table."""
    return any(_has(folder, name) for name in TABLE_NAMES)


def find(options: SourceOptions) -> Layout:
    """Return where the table, the lists and the folders of films are; the full official table is preferred."""
    root = find_one_folder(options.path, "NIH ChestX-ray14", is_here, " or ".join(TABLE_NAMES))
    folder = next(iter_folders(root, depth=0))
    remarks: list[str] = []
    name = next(name for name in TABLE_NAMES if _has(folder, name))
    files = {"entries": pick_file(root, name, remarks)}
    missing: list[DataError] = []
    if any(_has(folder, name) for name in LIST_NAMES.values()):
        for part, list_name in LIST_NAMES.items():
            try:
                files[part] = pick_file(root, list_name, remarks)
            except DataError as error:
                missing.append(error)
    else:
        remarks.append(f"no {' and '.join(LIST_NAMES.values())}: no official split")
    film_folders = tuple(sorted(name for name in folder.folders if name == "images" or name.startswith("images_")))
    if options.films:
        root, film_folders = options.films, ("",)
    versions = {"ChestX-ray14": f"labels of {name}"}
    folders = film_folders or ("",)
    return Layout("nih", root, files, folders, remarks, versions=versions, film_tables=("entries",), missing=missing)


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the tables of ChestX-ray14."""
    films = _read(layout.files["entries"], ENTRIES)
    is_own = pl.col("Image Index").str.slice(0, 8) == pl.col("Patient ID").str.zfill(8)
    films.reject(~is_own, "not the patient in the file name", "Patient ID")
    films.frame = films.frame.with_columns(
        # Zero-padded in Kaggle's sample only.
        pl.col("Patient ID").str.strip_chars_start("0").str.replace("^$", "0").alias("subject_id"),
        _age_y().alias("age_y"),
    )
    films.blank(pl.col("age_y") > MAX_AGE_Y, "out of range", ("age_y",))
    others, official = _read_lists(layout, films)
    _add_path(films, present)
    reject_absent_films(films, present)
    image = _make_image(films.frame)
    return SourceTables(
        films=films,
        others=others,
        image=image,
        given=_make_given(films.frame),
        labels=_make_labels(films.frame),
        official=official,
        views_seen=count_values(films.frame, "View Position"),
        versions=layout.versions,
    )


def _read(file: SourceFile, spec: TableSpec, has_header: bool = True) -> SourceTable:
    return read_table(file.path, file.shown, spec, has_header)


def _has(folder: Folder, name: str) -> bool:
    return name in folder.files or f"{name}.gz" in folder.files


def _age_y() -> pl.Expr:
    number = pl.col("Patient Age").str.extract("^([0-9]+)").cast(pl.Float64)
    unit = pl.col("Patient Age").str.slice(-1)
    return number / pl.when(unit == "M").then(12.0).when(unit == "D").then(365.25).otherwise(1.0)


def _read_lists(layout: Layout, films: SourceTable) -> tuple[list[SourceTable], pl.DataFrame | None]:
    """Return the list tables, and the part of each subject; cohort/split refuses a subject in both parts."""
    tables, parts = [], []
    for part in LIST_NAMES:
        if part not in layout.files:
            continue
        table = _read(layout.files[part], NAMES, has_header=False)
        tables.append(table)
        table.check_fit("Image Index", films.frame["Image Index"], films.file)
        listed = films.frame.join(table.frame.select("Image Index"), "Image Index", "semi")
        parts.append(listed.select("subject_id", pl.lit(part).alias("split")))
    return tables, pl.concat(parts) if parts else None


def _add_path(films: SourceTable, present: dict[str, int]) -> None:
    """Add the path of each film by its name: in images/, or in images_001/images/ to images_012/images/."""
    paths = {path.rsplit("/", 1)[-1]: path for path in sorted(present, reverse=True)}
    path = pl.col("Image Index").replace_strict(list(paths), list(paths.values()), default=None, return_dtype=pl.String)
    films.frame = films.frame.with_columns(path.alias("path"))


def _make_image(frame: pl.DataFrame) -> pl.DataFrame:
    view = pl.col("View Position")
    return frame.select(
        pl.col("Image Index").alias("image_id"),
        pl.col("Image Index").str.strip_suffix(".png").alias("study_id"),  # patient and follow-up number
        "subject_id",
        pl.lit(None, pl.String).alias("patient_id"),
        "path",
        pl.when(view.is_in(["PA", "AP"])).then(view).alias("view"),
        pl.lit(None, pl.String).alias("position"),
        pl.lit(None, pl.Datetime("us")).alias("taken_at"),
        # OriginalImage[Width,Height] describes the sources of the 1024 px files, not the files that are shipped.
        pl.lit(None, pl.Int64).alias("rows"),
        pl.lit(None, pl.Int64).alias("columns"),
    )


def _make_given(frame: pl.DataFrame) -> pl.DataFrame:
    """Return sex, age, and the follow-up number, which counts a patient's films in the whole collection from 0."""
    sex = pl.col("Patient Gender").replace_strict({"M": "male", "F": "female"}, return_dtype=pl.String)
    num_prior = pl.col("Follow-up #").cast(pl.Int64).alias("num_prior")
    return complete_given(frame.select(pl.col("Image Index").alias("image_id"), sex.alias("sex"), "age_y", num_prior))


def _make_labels(frame: pl.DataFrame) -> pl.DataFrame:
    """Return 1 for each finding named and 0 for all others: the table leaves nothing blank."""
    named = pl.col("Finding Labels").str.split("|")
    findings = [named.list.contains(name).cast(pl.Int8).alias(name) for name in FINDINGS]
    return frame.select(pl.col("Image Index").str.strip_suffix(".png").alias("study_id"), *findings)
