"""A folder of the user's own: films as PNG, JPEG or DICOM, and tables that a map explains.

In: a folder, and the TOML of cohort/maps. Out: SourceTables. Never: a line of code for one folder, or a guess: what the
map does not say is unknown.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import polars as pl

from cxrssl.cohort.files import FILM_SUFFIXES, Folder, Layout
from cxrssl.cohort.maps.clock import read_days, read_moments
from cxrssl.cohort.maps.declared import FilmsMap, RecordMap, TimeMap
from cxrssl.cohort.maps.films import read_films
from cxrssl.cohort.maps.labels import label_columns, take_labels
from cxrssl.cohort.maps.measures import measure_columns, read_events
from cxrssl.cohort.maps.moments import Timed
from cxrssl.cohort.maps.parse import read_map
from cxrssl.cohort.maps.record import ehr_columns, take_features
from cxrssl.cohort.maps.spans import place_films, span_columns
from cxrssl.cohort.maps.tables import check_some, judge, own, table_name
from cxrssl.cohort.maps.tags import SAID, add_tags
from cxrssl.cohort.sources import SourceOptions, SourceTables, complete_given, count_values, reject_absent_films
from cxrssl.cohort.split_file import FILE_SPLITS
from cxrssl.cohort.tables.columns import Column
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.errors import ConfigError, DataError, UsageError
from cxrssl.core.text import count_noun

OPTIONS: tuple[str, ...] = ("map", "films")
SUFFIXES = (*FILM_SUFFIXES, ".dcm", ".dicom", ".ima")
SPLITS = {**FILE_SPLITS, "train_val": "train_val"}
IMAGE = {"view": pl.String(), "position": pl.String(), "taken_at": pl.Datetime("us"), "taken_on": pl.Date()}


def is_here(folder: Folder) -> bool:
    """Return False: a folder of this kind cannot be recognised; the user names it."""
    return False


def find(options: SourceOptions) -> Layout:
    """Return where the films are; the tables are those of the map."""
    if options.map is None:
        hint = "name it with --map, or have one written to start from: cxrssl ingest folder PATH --guess"
        raise UsageError("a folder of your own needs a map", options.path, hint)
    films = _films_of(read_map(options.map), options.map)
    root = options.films or options.path
    inside = PurePosixPath(films.folder)
    if inside.is_absolute() or ".." in inside.parts:
        raise ConfigError('"films.folder" lies outside PATH', options.map, "name a folder below PATH, or give --films")
    if not (root / films.folder).is_dir():
        raise ConfigError('"films.folder" is no folder of PATH', root / films.folder, "check the map and the path")
    tables = (table_name("films"),) if films.file else ()
    return Layout(
        "folder",
        root,
        {},
        (films.folder,),
        film_suffixes=films.suffixes or SUFFIXES,
        film_tables=tables,
        has_headers=True,
    )


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the films of the map's table, or of the folder, with what that table says of them."""
    record_map = read_map(layout.files["map"].path)
    return _read(layout, present, record_map, _films_of(record_map, layout.files["map"].path))


def _films_of(record_map: RecordMap, path: Path) -> FilmsMap:
    if record_map.films is None:
        raise ConfigError("the map of a folder needs the section [films]", path, "cxrssl help folder")
    return record_map.films


def _read(layout: Layout, present: dict[str, int], record_map: RecordMap, films: FilmsMap) -> SourceTables:
    labels = [each for each in record_map.labels if not each.file]
    ehr = [each for each in record_map.ehr if not each.file]
    columns = [name for each in labels for name in label_columns(each)]
    columns += [name for each in ehr for name in ehr_columns(each)]
    timed_columns = [name for span in record_map.spans.values() if not span.file for name in span_columns(span)]
    timed_columns += [name for each in record_map.measures if not each.file for name in measure_columns(each)]
    table, others = read_films(layout, films, present, [*columns, *timed_columns])
    remarks = [] if record_map.labels else ["no findings, so only for pretraining; [labels] of the map names them"]
    _add_times(table, films, record_map.time)
    reject_absent_films(table, present)
    remarks += add_tags(table, layout)
    findings = [each for one in labels for each in take_labels(table, one, keeps_rows=True)]
    features = [each for one in ehr for each in take_features(table, one, keeps_rows=True)]
    official = _official(table, films)
    said = _say(table.frame, features)
    timed = Timed(table, _make_image(table.frame, said), record_map.time, layout)
    follows, positions, tables = place_films(timed, record_map.spans)
    others += tables
    said = _lay_under(said, follows)
    events = None
    if record_map.measures:
        events, tables = read_events(timed, record_map, said)
        others += tables
    views = [each.features["view"].column for each in ehr if "view" in each.features]
    return SourceTables(
        films=table,
        others=others,
        image=_make_image(table.frame, said),
        given=complete_given(said.drop([name for name in IMAGE if name in said.columns])),
        labels=_make_labels(table.frame, findings),
        official=official,
        views_seen=count_values(table.frame, own(views[0])) if views else {},
        remarks=remarks,
        versions={"labels": layout.files[table_name("films")].shown if labels else "none"},
        own_events=events,
        positions=positions,
    )


def _add_times(table: SourceTable, films: FilmsMap, time: TimeMap) -> None:
    """Add the moment and the day of each film, and how many films its person had before.

    This is counted before absent films are rejected: a film that is not on this disk was still taken.
    """
    if films.taken:
        cells = table.frame[own(films.taken)]
        moment, rule = read_moments(cells, time)
        for broken in rule.drop_nulls().unique().sort():
            table.blanked[f"{films.taken}: {broken}"] = int((rule == broken).sum())
        check_some(table, films.taken, cells, moment if time.unit else read_days(cells, time), "times")
        days = read_days(cells, time)
        table.frame = table.frame.with_columns(moment.alias("@taken_at"), days.alias("@taken_on"))
    if films.order:
        judge(table, Column(films.order, "float", may_be_blank=True), "@order", keeps_rows=True)
    by = "@order" if films.order else "@taken_at" if films.taken else ""
    if by:
        table.frame = table.frame.with_columns(_num_prior(table.frame, by).alias("@num_prior"))


def _num_prior(frame: pl.DataFrame, order: str) -> pl.Series:
    """Return the number of the subject's earlier studies; null where the order of a film is unknown."""
    films = frame.select("subject_id", "study_id", pl.col(order).alias("order"))
    studies = films.group_by("subject_id", "study_id").agg(
        pl.col("order").min().alias("start"), pl.col("order").is_not_null().all().alias("is_known")
    )
    rank = pl.col("start").rank("min").over("subject_id").cast(pl.Int64) - 1
    ranked = studies.with_columns(pl.when(pl.col("is_known").all().over("subject_id")).then(rank).alias("num_prior"))
    keys = ["subject_id", "study_id"]
    return films.join(ranked, keys, "left", nulls_equal=True, maintain_order="left")["num_prior"]


def _say(frame: pl.DataFrame, features: list[pl.Expr]) -> pl.DataFrame:
    """Return what is known of each film: from the tables of the map, else from the film's tags."""
    said = frame.select("image_id", *features)
    times = {"@taken_at": "taken_at", "@taken_on": "taken_on", "@num_prior": "num_prior"}
    said = said.with_columns(frame[own].alias(name) for own, name in times.items() if own in frame.columns)
    tags = {name: frame[f"tag {name}"].alias(name) for name in SAID if f"tag {name}" in frame.columns}
    return _lay_under(said, pl.DataFrame(tags)) if tags else said


def _lay_under(said: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """Return the values, row for row, with those of `more` where they are blank."""
    for name in more.columns:
        value = said[name].fill_null(more[name]) if name in said.columns else more[name]
        said = said.with_columns(value.alias(name))
    return said


def _official(table: SourceTable, films: FilmsMap) -> pl.DataFrame | None:
    """Return the part of each subject that the table of films names; a film without one leaves it to the others."""
    if not films.split:
        return None
    judge(table, Column(films.split, values=tuple(SPLITS), may_be_blank=True), "@split", keeps_rows=True)
    parts = table.frame.select(
        "subject_id", pl.col("@split").replace_strict(SPLITS, default=None, return_dtype=pl.String)
    )
    parts = parts.rename({"@split": "split"}).drop_nulls()
    if parts.is_empty():
        words = ", ".join(SPLITS)
        raise DataError(f'{table.file}: no film has a split in "{films.split}"', hint=f"the words are {words}")
    return parts


def _make_image(frame: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    columns = [
        taken[name] if name in taken.columns else pl.Series(name, [None] * frame.height, kind)
        for name, kind in IMAGE.items()
    ]
    image = frame.select("image_id", "study_id", "subject_id", "patient_id", "path").hstack(columns)
    return image.with_columns(pl.lit(None, pl.Int64).alias("rows"), pl.lit(None, pl.Int64).alias("columns"))


def _make_labels(frame: pl.DataFrame, findings: list[pl.Expr]) -> pl.DataFrame:
    """Return the labels of each study.

    Raises: ConfigError when two films of a study have different ones.
    """
    labels = frame.select("study_id", *findings).unique(maintain_order=True)
    num = labels.filter(pl.col("study_id").is_duplicated())["study_id"].n_unique()
    if num:
        what = f"films of one study have different labels in {count_noun(num, 'study')}"
        raise ConfigError(what, hint="leave study out of [films], so that each film is a study of its own")
    return labels
