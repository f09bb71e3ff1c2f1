"""The headers of many DICOM files, read on all cores: tags only, never pixels.

In: a folder and paths in it. Out: one row a file, with its tags as text or with the rule that it breaks.
Never: an exception for one bad file, a value that is not in the file.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.core.errors import DecodeError, SetupError
from cxrssl.core.filmfile import RETRIED, FilmFolder, Outage
from cxrssl.core.progress import track
from cxrssl.core.signals import signals_held
from cxrssl.core.text import plain
from cxrssl.dicom import check_codecs

CHUNK_FILES = 128
FEW_FILES = 512
"""For fewer files, starting processes takes longer than reading the headers."""
MAX_WORKER_BYTES = 2 * 2**30
MAX_TEXT = 250
TEXT_TAGS = (
    "modality",
    "sop_class_uid",
    "sop_instance_uid",
    "study_instance_uid",
    "patient_id",
    "patient_sex",
    "patient_age",
    "patient_birth_date",
    "study_date",
    "study_time",
    "acquisition_date",
    "acquisition_time",
    "view_position",
    "view_code_meaning",
    "orientation_code_meaning",
    "body_part_examined",
    "photometric_interpretation",
    "transfer_syntax_uid",
)
NUMBER_TAGS = ("rows", "columns", "number_of_frames", "samples_per_pixel")
HEADER_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "rule": pl.String(),
    **dict.fromkeys(TEXT_TAGS, pl.String()),
    **dict.fromkeys(NUMBER_TAGS, pl.Int64()),
}
"""`rule` is null where the header could be read; the other columns are fields of DicomHeader."""


def read_headers(root: Path | FilmFolder, paths: Sequence[str], unread: list[str] | None = None) -> pl.DataFrame:
    """Return HEADER_SCHEMA, one row a path in the order of `paths`.

    `unread` gets the paths that could not be read for the moment: they are worth another try.

    Raises: SetupError when a worker process dies, many files in a row cannot be read, or the codec of a radiograph is
    not installed: better now than after hours of decoding.
    """
    rows: list[list[Any]] = []
    outage = Outage(root)
    with track("read headers", len(paths), "files") as progress:
        for chunk in _iter_chunks(root, paths):
            rows += chunk
            for _, rule, *_ in chunk:
                outage.note(rule or "")
            progress.advance(len(chunk))
    if unread is not None:
        unread += [path for path, rule, *_ in rows if rule in RETRIED]
    headers = pl.DataFrame(rows, HEADER_SCHEMA, orient="row")
    radiographs = headers.filter(pl.col("modality").is_in(["CR", "DX"]))
    check_codecs(radiographs["transfer_syntax_uid"].drop_nulls().unique())
    return headers


def _iter_chunks(root: Path | FilmFolder, paths: Sequence[str]) -> Iterator[list[list[Any]]]:
    chunks = [paths[start : start + CHUNK_FILES] for start in range(0, len(paths), CHUNK_FILES)]
    read = partial(_read_chunk, root)
    if len(paths) < FEW_FILES:
        yield from map(read, chunks)
        return
    context = multiprocessing.get_context("spawn")  # a forked child would inherit locks that Polars' threads hold
    num_workers = min(len(os.sched_getaffinity(0)), len(chunks))
    try:
        with ProcessPoolExecutor(num_workers, context, _limit_worker) as pool:
            with signals_held():
                read_chunks = pool.map(read, chunks)
            yield from read_chunks
    except BrokenProcessPool:
        raise SetupError(
            "a process that reads DICOM headers died", str(root), "free some memory and try again"
        ) from None


def _limit_worker() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_WORKER_BYTES, MAX_WORKER_BYTES))


def _read_chunk(root: Path | FilmFolder, paths: Sequence[str]) -> list[list[Any]]:
    return [_read_row(root, path) for path in paths]


def _read_row(root: Path | FilmFolder, path: str) -> list[Any]:
    from cxrssl.dicom import read_header

    names = (*TEXT_TAGS, *NUMBER_TAGS)
    try:
        header = read_header(Path(path), root)
    except DecodeError as error:
        return [path, error.rule, *[None] * len(names)]
    return [path, None, *(_clean(getattr(header, name)) for name in names)]


def _clean(value: Any) -> Any:
    """Return text without control characters, or a number; "" and 0 become None."""
    return (plain(value.strip(), MAX_TEXT) if isinstance(value, str) else value) or None


def whole_time(column: str) -> pl.Expr:
    """Return a DICOM time (HH, HHMM, HHMMSS, HHMMSS.F to .FFFFFF) as HHMMSS.FFFFFF; null for any other text."""
    text = pl.col(column).str.strip_chars()
    whole = pl.when(text.str.contains(r"^([0-9]{2}){1,3}$|^[0-9]{6}\.[0-9]{1,6}$")).then(text)
    return pl.format("{}.{}", whole.str.slice(0, 6).str.pad_end(6, "0"), whole.str.slice(7).str.pad_end(6, "0"))
