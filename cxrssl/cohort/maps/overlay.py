"""Findings and features of a map laid over those that a dataset has itself.

In: the tables of any dataset, a map. Out: the same tables with the map's findings and features, which come first
wherever they are known. Never: a label by film in a dataset whose studies have several films.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from cxrssl.cohort.files import Layout
from cxrssl.cohort.maps.declared import LabelMap, RecordMap
from cxrssl.cohort.maps.labels import read_labels
from cxrssl.cohort.maps.parse import read_map
from cxrssl.cohort.maps.record import read_ehr
from cxrssl.cohort.maps.tables import MAP, film_ids, find_tables, table_name
from cxrssl.cohort.sources import GIVEN_SCHEMA, Source, SourceOptions, SourceTables
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import count_noun

OF_FILM = ("image", "file")


FOLDER_ONLY = ("collection", "films", "admission", "icu", "measures", "declared")


def find_dataset(source: Source, options: SourceOptions) -> Layout:
    """Return the layout of a dataset, with the tables of the map.

    Raises: ConfigError for a section of the map that has no effect here, and what `source.find` raises.
    """
    layout = source.find(options)
    if options.map is None:
        return layout
    record_map = read_map(options.map)
    for section in FOLDER_ONLY if options.dataset != "folder" else ():
        if getattr(record_map, section):
            what = f"[{section}] has no effect with cxrssl ingest {options.dataset}"
            raise ConfigError(what, options.map, "it is for cxrssl ingest folder: leave it out")
    if options.dataset != "dicom" and (record_map.body_part or record_map.ids != "tags"):
        what = f"body_part and ids have no effect with cxrssl ingest {options.dataset}"
        raise ConfigError(what, options.map, "they are for cxrssl ingest dicom: leave them out")
    layout.files.update(find_tables(options.map, record_map, layout.root))
    return layout


def name_collection(options: SourceOptions) -> str:
    """Return what the films of a dataset are of: the collection that the map of a folder names, else the dataset."""
    named = read_map(options.map).collection if options.map and options.dataset == "folder" else ""
    return named or options.dataset


def read_dataset(source: Source, layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the tables of a dataset, with what the map's tables say of its films.

    Raises: ConfigError, DataError.
    """
    tables = source.read(layout, present)
    if MAP not in layout.files:
        return tables
    path = layout.files[MAP].path
    try:
        return lay_over(tables, layout, read_map(path))
    except ConfigError as error:
        raise ConfigError(error.what, error.where or path, error.hint) from None


def lay_over(tables: SourceTables, layout: Layout, record_map: RecordMap) -> SourceTables:
    """Return the tables of a dataset with what the map's own tables say of its films.

    Raises: ConfigError, DataError.
    """
    films = tables.image
    by_film = any(each.file and each.key in OF_FILM for each in record_map.labels)
    if by_film:
        tables = _study_of_each_film(tables, layout.dataset)
    for number, each in enumerate(record_map.labels):
        if each.file:
            table = read_labels(layout.files[table_name("labels", number)], each)
            ids = film_ids(films, table, each.key)
            tables = _lay_labels(tables, table, each, ids)
    for number, ehr in enumerate(record_map.ehr):
        if ehr.file:
            table = read_ehr(layout.files[table_name("ehr", number)], ehr)
            ids = film_ids(films, table, ehr.key)
            tables = _lay_features(tables, table, ids)
    return tables


def _study_of_each_film(tables: SourceTables, dataset: str) -> SourceTables:
    """Return the tables with a study a film."""
    is_own = tables.image["study_id"].n_unique() == tables.image.height
    if is_own and tables.findings:
        return tables
    if tables.findings:
        what = f"the labels of the map are by film, and those of {dataset} are by study"
        raise ConfigError(what, hint='write key = "study" in [labels], and the ids of studies')
    image = tables.image.with_columns(pl.col("image_id").alias("study_id"))
    return replace(tables, image=image, labels=image.select("study_id"))


def _lay_labels(tables: SourceTables, table: SourceTable, labels: LabelMap, ids: pl.Series) -> SourceTables:
    """Return the tables with the map's findings: in a study that the map's table has a row of, these count."""
    names = list(labels.findings)
    pairs = pl.DataFrame({"study_id": tables.image["study_id"], "id": ids}).drop_nulls().unique()
    theirs = pairs.join(table.frame, "id").select("study_id", *names).unique("study_id", keep="first")
    own = [] if labels.others == "drop" else list(tables.findings)
    studies = tables.image.select("study_id").unique(maintain_order=True)
    ours = studies.join(tables.labels.select("study_id", *own), "study_id", "left", maintain_order="left")
    both = ours.join(theirs.with_columns(pl.lit(True).alias("@is_theirs")), "study_id", "left", suffix=" of map")
    shared = [name for name in names if name in own]
    is_theirs = pl.col("@is_theirs").fill_null(False)
    laid = both.select(
        "study_id",
        *(
            pl.when(is_theirs).then(pl.col(f"{name} of map")).otherwise(pl.col(name)).alias(name)
            if name in shared
            else pl.col(name)
            for name in dict.fromkeys([*own, *names])
        ),
    )
    if shared:
        num = both.select(is_theirs.sum()).item()
        what = f"{count_noun(len(shared), 'finding')} of the dataset replaced by the map in {num:,} of"
        table.remarks.append(f"{what} {count_noun(studies.height, 'study')}")
    versions = {**tables.versions, "labels": table.file}
    return replace(tables, labels=laid, others=[*tables.others, table], versions=versions)


def _lay_features(tables: SourceTables, table: SourceTable, ids: pl.Series) -> SourceTables:
    """Return the tables with the map's values where it has any."""
    names = [name for name in table.frame.columns if name not in ("line", "id")]
    theirs = pl.DataFrame({"image_id": tables.image["image_id"], "id": ids}).join(
        table.frame.select("id", *(pl.col(name).alias(f"own {name}") for name in names)), "id", "left"
    )
    theirs = theirs.drop("id")
    given = tables.given.join(theirs, "image_id", "left", maintain_order="left").select(
        pl.coalesce(f"own {name}", name).alias(name) if name in names else pl.col(name) for name in GIVEN_SCHEMA
    )
    image = tables.image.join(theirs, "image_id", "left", maintain_order="left").select(
        pl.coalesce(f"own {name}", name).alias(name) if name in names else pl.col(name) for name in tables.image.columns
    )
    return replace(tables, given=given, image=image, others=[*tables.others, table])
