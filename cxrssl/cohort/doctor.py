"""What a folder holds and what is missing, reported before hours are spent: tables, films, DICOM codecs, disk.

In: a folder. Out: a report of plain numbers and sentences. The tables are read as ingest reads them, with a few of the
films, so that it reports here what ingest would refuse in them.
Never: every film listed, or an estimate reported as a count.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.files import FILM_SUFFIXES, Layout
from cxrssl.cohort.losses import check_losses
from cxrssl.cohort.maps.overlay import find_dataset, read_dataset
from cxrssl.cohort.sources import ABSENT, WITHOUT_FILM, Source, SourceOptions, find_source, recognise
from cxrssl.cohort.tables.peek import estimate_rows
from cxrssl.cohort.walk import Place, scan
from cxrssl.core.errors import CxrsslError, DataError, DecodeError, SetupError, UsageError
from cxrssl.core.filmfile import OUTSIDE, describe_links, open_inside
from cxrssl.core.text import count_noun, plain
from cxrssl.dicom import SYNTAXES, find_codecs, read_header

SAMPLED_FOLDERS = 24
"""A folder with more subfolders than this is estimated from this many of them."""
SAMPLED_HEADERS = 16
SAMPLED_FILMS = 200
FILMS_OF_A_FOLDER = 20
SAMPLED_LINKS = 64
MAX_FOLDERS = 1_000
MAX_DEPTH = 12
ENOUGH_FRAC = 0.95
GROUP = re.compile(r"p[0-9]{2}|images(_[0-9]+)?")
"""Folders of many people; the name of any other folder of films may be a person's."""


@dataclass
class TableReport:
    """One table."""

    file: str
    rows: int
    """Estimated from the first lines."""
    num_bytes: int


@dataclass
class FilmReport:
    """Films on the disk."""

    by_folder: dict[str, int] = field(default_factory=dict)
    is_exact: bool = True
    expected: int | None = None
    """Rows of the tables of films, estimated; None where the dataset has no such table."""

    @property
    def found(self) -> int:
        return sum(self.by_folder.values())

    @property
    def num_to_pack(self) -> int:
        """Films on the disk that tables, where there are any, name."""
        return self.found if self.expected is None else min(self.found, self.expected)


@dataclass
class DatasetReport:
    """One dataset of the folder."""

    dataset: str
    root: str
    versions: dict[str, str] = field(default_factory=dict)
    tables: list[TableReport] = field(default_factory=list)
    films: FilmReport = field(default_factory=FilmReport)
    syntaxes: dict[str, int] = field(default_factory=dict)
    """Compression -> files, among a few DICOM files."""
    missing: list[str] = field(default_factory=list)
    """What ingest cannot run without."""
    remarks: list[str] = field(default_factory=list)


def examine(options: SourceOptions) -> list[DatasetReport]:
    """Return a report on the dataset that the options name, or on each that the folder looks like.

    Raises: DataError when it looks like none, UsageError for a path that is not a folder.
    """
    options = options.locate("PATH")
    names = [options.dataset] if options.dataset else list(recognise(options.path))
    if not names:
        hint = "looked for the tables of mimic, chexpert, nih and covid, and for DICOM files"
        raise DataError("the folder shows no known dataset", options.path, hint)
    return [_examine_one(replace(options, dataset=name)) for name in names]


def count_films(layout: Layout) -> FilmReport:
    """Return the number of films in each folder, estimated from a few subfolders where there are many."""
    report = FilmReport()
    for name in layout.film_folders:
        if (layout.root / name).is_dir():
            entries, folders = _list_folder(layout, name)
            _add_count(report, name or ".", len(entries))
            for folder in folders:
                num, is_exact = _count_under(layout, folder, MAX_DEPTH)
                is_group = GROUP.fullmatch(folder.rpartition("/")[2])
                _add_count(report, folder if is_group else name or ".", num)
                report.is_exact &= is_exact
    return report


def _examine_one(options: SourceOptions) -> DatasetReport:
    source = find_source(options.dataset)
    without: dict[str, Any] = dict.fromkeys(options.foreign())
    try:
        layout = find_dataset(source, replace(options, **without))
    except (DataError, UsageError) as error:
        return DatasetReport(options.dataset, str(options.path), missing=[_describe(error)])
    report = DatasetReport(options.dataset, str(layout.root), dict(layout.versions), remarks=list(layout.remarks))
    report.missing = [_describe(error) for error in layout.missing]
    for name, file in layout.files.items():
        if not file.path.is_file():
            report.missing.append(f"{file.shown}, which the map names, is missing")
        elif name != "map":
            report.tables.append(TableReport(file.shown, estimate_rows(file.path), file.path.stat().st_size))
    report.films = count_films(layout)
    film_tables = {layout.files[name].shown for name in layout.film_tables if name in layout.files}
    if film_tables:
        report.films.expected = sum(table.rows for table in report.tables if table.file in film_tables)
    _check_films(report, layout)
    if not report.missing:
        report.missing += _try_tables(layout, source, report.films.is_exact)
    return report


def _try_tables(layout: Layout, source: Source, is_exact: bool) -> list[str]:
    """Return what ingest would refuse in the tables, if these few films were all."""
    paths = itertools.islice(_iter_films(layout, FILMS_OF_A_FOLDER), SAMPLED_FILMS)
    present = {path: os.path.getsize(layout.root / path) for path in paths if (layout.root / path).is_file()}
    try:
        tables = read_dataset(source, layout, present)
        # A table whose films are not in the sample may be as good as the others.
        is_sampled = pl.col("rule").is_in([ABSENT, WITHOUT_FILM])
        every = [*(tables.film_parts or []), *tables.others]
        check_losses(table for table in every if table.rejects.filter(is_sampled).is_empty())
    except CxrsslError as error:
        return [_describe(error)]
    if not present or not tables.image.is_empty() or (tables.films.row_files is not None and not is_exact):
        return []
    counts = ", ".join(f"{rule} {num:,}" for rule, num in tables.films.reject_counts().items() if rule != ABSENT)
    return [f"none of {count_noun(len(present), 'film')} looked at can be used: {counts or 'no table names them'}"]


def _check_films(report: DatasetReport, layout: Layout) -> None:
    """Report films that are absent, and codecs that films in DICOM need."""
    films = report.films
    if not films.found and not report.missing:
        folders = ", ".join(f"{name or '.'}/" for name in layout.film_folders)
        report.missing.append(f"no film in {folders} of {plain(layout.root)}: if they are elsewhere, use --films")
    elif films.expected is not None and films.found < ENOUGH_FRAC * films.expected:
        absent = count_noun(films.expected - films.found, "film")
        report.remarks.append(f"about {absent} of the tables are not on the disk and will be rejected as missing")
    _check_links(report, layout)
    if any(suffix in layout.film_suffixes for suffix in ("", ".dcm")):
        report.syntaxes = _sample_syntaxes(layout)
        codecs = find_codecs()
        for name in report.syntaxes:
            if codecs.get(name):
                report.missing.append(f"a codec for {name}: install {codecs[name]}")


def _check_links(report: DatasetReport, layout: Layout) -> None:
    """Report films that are links out of the folder, which ingest rejects, among the first few that are found."""
    paths = list(itertools.islice(_iter_films(layout, SAMPLED_LINKS), SAMPLED_LINKS))
    outside = [path for path in paths if _is_outside(layout, path)]
    if outside:
        sentence = f"of {count_noun(len(paths), 'film')} looked at, {describe_links(layout.root, outside)}"
        (report.missing if len(outside) == len(paths) else report.remarks).append(sentence)


def _is_outside(layout: Layout, path: str) -> bool:
    try:
        with open_inside(Path(path), layout.film_folder, plain(path)):
            return False
    except DecodeError as error:
        return error.rule == OUTSIDE


def _sample_syntaxes(layout: Layout) -> dict[str, int]:
    """Return transfer syntax -> files, among the first few DICOM files found."""
    counts: dict[str, int] = {}
    for path in itertools.islice(_iter_films(layout, 2, FILM_SUFFIXES), SAMPLED_HEADERS):
        try:
            uid = read_header(Path(path), layout.root).transfer_syntax_uid
        except DecodeError:
            continue
        name = SYNTAXES.get(uid, (f"transfer syntax {uid}", ""))[0]
        counts[name] = counts.get(name, 0) + 1
    return counts


def _iter_films(layout: Layout, most: int, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield at most so many films of a folder, without those of some suffixes, from folders spread over the tree."""
    waiting = [name for name in layout.film_folders if (layout.root / name).is_dir()]
    for _ in range(MAX_FOLDERS):
        if not waiting:
            return
        files, folders = _list_folder(layout, waiting.pop())
        yield from itertools.islice((path for path in files if not path.lower().endswith(without)), most)
        waiting += _spread(folders)


def _count_under(layout: Layout, folder: str, depth: int) -> tuple[int, bool]:
    files, folders = _list_folder(layout, folder)
    if not folders or depth == 0:
        return len(files), not folders
    sampled = _spread(folders)
    counts = [_count_under(layout, each, depth - 1) for each in sampled]
    num = sum(each for each, _ in counts)
    is_exact = len(sampled) == len(folders) and all(each for _, each in counts)
    return len(files) + round(num * len(folders) / len(sampled)), is_exact


def _spread(folders: list[str]) -> list[str]:
    """Return at most SAMPLED_FOLDERS of the folders, evenly spread."""
    step = max(1, -(-len(folders) // SAMPLED_FOLDERS))
    return folders[::step]


def _list_folder(layout: Layout, folder: str) -> tuple[list[str], list[str]]:
    """Return the films and the folders in a folder, by name; none where it cannot be read."""
    try:
        found = scan(Place(os.path.join(layout.root, folder)))
    except SetupError:
        return [], []
    prefix = f"{folder}/" if folder else ""
    films = [name for name in found.files if name.lower().endswith(layout.film_suffixes) and not name.startswith(".")]
    return sorted(prefix + name for name in films), sorted(prefix + name for name in found.folders)


def _add_count(report: FilmReport, folder: str, num: int) -> None:
    if num:
        report.by_folder[folder] = report.by_folder.get(folder, 0) + num


def _describe(error: CxrsslError) -> str:
    return f"{error.what}: {error.hint}" if error.hint else error.what
