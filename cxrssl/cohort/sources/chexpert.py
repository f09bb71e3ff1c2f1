"""CheXpert and its smaller copies: train.csv, valid.csv and, if available, the labels of the test set.

In: the folder of the tables. Out: SourceTables. Patient, study and view identify a film in every release:
CheXpert-v1.0, -small, resized copies, unprefixed paths, the batches of 2021.
Source: Irvin et al., AAAI 2019, and the tables as public loaders read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from cxrssl.cohort.files import Folder, Layout, SourceFile, find_one_folder, iter_folders, pick_file
from cxrssl.cohort.sources import (
    WITHOUT_FILM,
    SourceOptions,
    SourceTables,
    complete_given,
    count_values,
    join_films,
    list_table,
    reject_absent_films,
)
from cxrssl.cohort.tables.columns import POLARS_TYPES, Column, TableSpec
from cxrssl.cohort.tables.peek import peek_columns
from cxrssl.cohort.tables.table import SourceTable, read_table

OPTIONS: tuple[str, ...] = ("films",)
# In the order of train.csv.
FINDINGS: tuple[str, ...] = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
# The first existing file of each split is read. The second names are those of CheXlocalize; groundtruth.csv holds the
# released test labels, which are by study.
TABLE_NAMES = {
    "train": ("train.csv",),
    "val": ("valid.csv", "val_labels.csv"),
    "test": ("test.csv", "test_labels.csv", "groundtruth.csv"),
}
FILMS_ON_DISK = "test films on the disk"
FOLDERS = ("train", "valid", "val", "test")
# "... batch 2 (train 1)": three batches hold the patients of train.
BATCH = re.compile(r"CheXpert-v1\.0 batch [0-9].*")
MISSING = {
    "train": "nothing to train on",
    "val": "val is a part of train",
    "test": "the valid set is the test set, and val a part of train",
}
SLASH = r"[/\\]"
STUDY = r"patient[0-9]{5}/study[0-9]{1,3}"
FILM = rf"{STUDY}/view[0-9]{{1,2}}_(?:frontal|lateral)"

# Relative, absolute or of Windows: what counts is patient, study and view at its end.
PATH = Column("Path", form=rf"(?:.*[/\\])?{FILM.replace('/', SLASH)}\.(?:jpg|jpeg|png)")
PEOPLE = (
    Column("Sex", values=("Male", "Female", "Unknown"), may_be_blank=True, when_bad="blank"),
    Column("Age", "int", low=0, high=120, may_be_blank=True, when_bad="blank"),
    Column("Frontal/Lateral", values=("Frontal", "Lateral"), may_be_blank=True, when_bad="blank"),
    Column("AP/PA", may_be_blank=True, when_bad="blank"),
)
LABELS = tuple(Column(name, "float", form=r"-?[01](\.0*)?", may_be_blank=True) for name in FINDINGS)
SPEC = TableSpec("films", (PATH, *PEOPLE, *LABELS), key=("Path",))
STUDIES = TableSpec(
    "studies", (Column("Study", form=rf"(?:.*[/\\])?{STUDY.replace('/', SLASH)}"), *LABELS), key=("Study",)
)


def is_here(folder: Folder) -> bool:
    """Return whether the folder has a table of CheXpert, by its name and its columns."""
    return any(_table_name(folder, split) for split in TABLE_NAMES)


def find(options: SourceOptions) -> Layout:
    """Return where the tables and the folders of films are."""
    root = find_one_folder(options.path, "CheXpert", is_here, 'train.csv or valid.csv with the column "Path"')
    folder = next(iter_folders(root, depth=0))
    remarks: list[str] = []
    files: dict[str, SourceFile] = {}
    for split, names in TABLE_NAMES.items():
        name = _table_name(folder, split)
        if name:
            files[split] = pick_file(root, name, remarks)
        else:
            remarks.append(f"no {' or '.join(names)}: {MISSING[split]}")
    top, folders = (options.films, ("",)) if options.films else _find_films(root)
    versions = {"CheXpert": ", ".join(file.shown for file in files.values())}
    return Layout("chexpert", top, files, folders, remarks, versions=versions, film_tables=tuple(files))


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the tables of CheXpert; a film's labels are those of its study."""
    places = _find_places(present)
    parts: dict[str, SourceTable] = {}
    others: list[SourceTable] = []
    for split, file in layout.files.items():
        columns = peek_columns(file.path)
        if "Study" in columns:
            studies = _read(file, _narrow(STUDIES, columns), "Study")
            parts[split] = _films_of(studies, places, present)
            others.append(studies)
        else:
            is_whole = file.shown.startswith(("train.csv", "valid.csv"))
            parts[split] = _read(file, SPEC if is_whole else _narrow(SPEC, columns), "Path")
        _complete(parts[split], places)
        reject_absent_films(parts[split], present)
        parts[split].frame = parts[split].frame.with_columns(pl.lit(split).alias("split"))
    films = join_films(list(parts.values()))
    return SourceTables(
        films=films,
        others=others,
        image=_make_image(films.frame),
        given=_make_given(films.frame),
        labels=films.frame.select("study_id", *(pl.col(name).cast(pl.Int8) for name in FINDINGS)).unique(),
        official=_make_official(films.frame),
        views_seen=count_values(films.frame, "view_as_written"),
        versions=layout.versions,
        film_parts=list(parts.values()),
    )


def _read(file: SourceFile, spec: TableSpec, column: str) -> SourceTable:
    """Return the table, its paths with slashes."""
    table = read_table(file.path, file.shown, spec)
    table.frame = table.frame.with_columns(pl.col(column).str.replace_all("\\", "/", literal=True))
    return table


def _table_name(folder: Folder, split: str) -> str:
    """Return the name of the table of a split, or ""."""
    for name in TABLE_NAMES[split]:
        for path in (folder.path / f"{name}.gz", folder.path / name):
            if path.name in folder.files:
                columns = {*peek_columns(path)}
                if "Edema" in columns and columns & {"Path", "Study"}:
                    return name
    return ""


def _find_films(root: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder that film paths are relative to, and those in it that hold films."""
    for top in (root, root.parent):
        folder = next(iter_folders(top, depth=0))
        batches = tuple(sorted(name for name in folder.folders if BATCH.fullmatch(name)))
        if batches:
            return top, batches
    return root, tuple(name for name in FOLDERS if (root / name).is_dir()) or ("",)


def _find_places(present: Mapping[str, int]) -> dict[str, str]:
    """Return "patient00001/study1/view1_frontal" -> path on the disk."""
    pattern = re.compile(rf"(?:^|/)({FILM})\.[a-z]+$")
    found = ((pattern.search(path), path) for path in sorted(present, reverse=True))
    return {match[1]: path for match, path in found if match}


def _narrow(spec: TableSpec, columns: Sequence[str]) -> TableSpec:
    """Return `spec` without absent columns, key excepted: tables of test labels lack some."""
    kept = [column for column in spec.columns if column.name in columns or column.name in spec.key]
    return replace(spec, columns=tuple(kept))


def _films_of(studies: SourceTable, places: Mapping[str, str], present: Mapping[str, int]) -> SourceTable:
    """Return the films on the disk of the studies in a table that does not name films."""
    study = pl.col("Study").str.extract(rf"({STUDY})$")
    labels = studies.frame.with_columns(study.alias("study")).drop("line", "Study")
    wanted = set(labels["study"])
    paths = {path: present[path] for film, path in places.items() if film.rpartition("/")[0] in wanted}
    films = list_table(FILMS_ON_DISK, "Path", paths)
    key = pl.col("Path").str.extract(rf"({STUDY})/[^/]*$").alias("study")
    films.frame = films.frame.drop("path").with_columns(key).join(labels, "study", "left", maintain_order="left")
    studies.reject(~study.is_in(films.frame["study"].implode()), WITHOUT_FILM)
    return films


def _complete(films: SourceTable, places: Mapping[str, str]) -> None:
    """Add ids, the path on the disk, the view and absent columns, and apply the rules for films."""
    absent = [pl.lit(None, POLARS_TYPES[column.kind]).alias(column.name) for column in SPEC.columns]
    films.frame = films.frame.with_columns(
        each for each in absent if each.meta.output_name() not in films.frame.columns
    )
    films.frame = films.frame.with_columns(pl.col("Path").str.extract(rf"({FILM})\.[a-z]+$").alias("image_id"))
    image_id = pl.col("image_id")
    from_name = pl.when(image_id.str.ends_with("_lateral")).then(pl.lit("Lateral")).otherwise(pl.lit("Frontal"))
    side = pl.coalesce("Frontal/Lateral", from_name)
    films.frame = films.frame.with_columns(
        image_id.str.extract(r"^(patient[0-9]+)").alias("subject_id"),
        image_id.str.extract(rf"^({STUDY})").alias("study_id"),
        image_id.replace_strict(
            list(places), list(places.values()), default=pl.col("Path"), return_dtype=pl.String
        ).alias("path"),
        side.alias("side"),
        pl.concat_str(side, "AP/PA", separator=" ", ignore_nulls=True).alias("view_as_written"),
    )
    # One person in train.csv has unknown sex and age 0: the age was unknown as well.
    films.blank((pl.col("Sex") == "Unknown") & (pl.col("Age") == 0), "0 with unknown sex", ("Age",))
    films.reject(image_id.is_duplicated(), "the same film under two paths", "Path")
    films.reject(pl.struct(FINDINGS).n_unique().over("study_id") > 1, "study with two sets of labels")


def _make_image(frame: pl.DataFrame) -> pl.DataFrame:
    # A few frontal films have LL or RL in AP/PA, a contradiction: their view is unknown.
    frontal = pl.when(pl.col("AP/PA").is_in(["AP", "PA"])).then(pl.col("AP/PA"))
    return frame.select(
        "image_id",
        "study_id",
        "subject_id",
        pl.lit(None, pl.String).alias("patient_id"),
        "path",
        pl.when(pl.col("side") == "Lateral").then(pl.lit("LATERAL")).otherwise(frontal).alias("view"),
        pl.lit(None, pl.String).alias("position"),
        pl.lit(None, pl.Datetime("us")).alias("taken_at"),
        pl.lit(None, pl.Int64).alias("rows"),
        pl.lit(None, pl.Int64).alias("columns"),
    )


def _make_given(frame: pl.DataFrame) -> pl.DataFrame:
    sex = pl.col("Sex").replace_strict({"Male": "male", "Female": "female"}, default=None, return_dtype=pl.String)
    return complete_given(frame.select("image_id", sex.alias("sex"), pl.col("Age").cast(pl.Float64).alias("age_y")))


def _make_official(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the split of each subject.

    Without a test table, the valid set, which radiologists labelled, becomes test. Then, or without a valid table, val
    is a part of train.
    """
    pairs = frame.select("subject_id", "split").unique()
    there = set(pairs["split"])
    if "test" not in there:
        pairs = pairs.with_columns(pl.col("split").replace({"val": "test"}))
    if not {"val", "test"} <= there:
        pairs = pairs.with_columns(pl.col("split").replace({"train": "train_val"}))
    return pairs
