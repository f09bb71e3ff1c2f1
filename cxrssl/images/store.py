"""Packed films, opened for reading: rows of the cohort in, uint8 pixels out.

Stdlib and numpy only: training reads films without PIL.
"""

from __future__ import annotations

import os
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxrssl.core.artefact import open_artefact, read_unexchanged
from cxrssl.core.errors import DataError, IntegrityError, SetupError
from cxrssl.core.text import count_noun, plain
from cxrssl.images.index import Index, read_index
from cxrssl.images.shard import film_offset, shard_name
from cxrssl.images.stamp import is_remembered, look_at_files, remember

KIND = "images"


class Shard:
    """The films of one shard.

    They are read, not mapped: a mapped file that is cut short, or whose disk fails, ends the process without a word,
    and one whose disk hangs takes all threads with it.
    """

    def __init__(self, path: Path, num_films: int, size_px: int) -> None:
        self._path, self._size_px = path, size_px
        try:
            with open(path, "rb") as file:
                version = np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                is_whole = version == (1, 0) and os.fstat(file.fileno()).st_size == film_offset(num_films, size_px)
                self._descriptor = os.dup(file.fileno())
        except (OSError, ValueError, EOFError) as error:
            raise IntegrityError(f"{path.name} cannot be read: {plain(error, 120)}", path) from None
        weakref.finalize(self, os.close, self._descriptor)
        if not is_whole or dtype != np.uint8 or shape != (num_films, size_px, size_px):
            raise IntegrityError(f"{path.name} does not hold the {num_films} films of the index", path)

    def __getitem__(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the films of these rows of the shard.

        Raises: IntegrityError when the file ends before them, SetupError when the disk does not give them.
        """
        films = np.empty((len(rows), self._size_px, self._size_px), np.uint8)
        for film, row in zip(films, rows.tolist(), strict=True):
            try:
                num_bytes = os.preadv(self._descriptor, [film.data], film_offset(row, self._size_px))
            except OSError as error:
                what = f"{self._path.name} cannot be read: {(error.strerror or '').lower()}"
                raise SetupError(what, self._path, "is the disk with the packed films mounted?") from error
            if num_bytes != film.nbytes:
                raise IntegrityError(f"{self._path.name} was cut short while it was in use", self._path)
        return films


@dataclass(frozen=True)
class ImageStore:
    """Packed films in cohort order; rejected films have a row too, but no pixels."""

    path: Path
    size_px: int
    content_sha256: str
    cohort_sha256: str
    """Of the cohort that the films were packed for."""
    index: Index
    _shards: dict[int, Shard] = field(default_factory=dict, repr=False, compare=False)

    @property
    def image_id(self) -> NDArray[np.str_]:
        return self.index.image_id

    @property
    def box_N4(self) -> NDArray[np.int16]:
        """Where the film lies in its square: (top, left, height, width) in pixels; zeros where not packed."""
        return self.index.box_N4

    @property
    def source_px_N2(self) -> NDArray[np.int32]:
        """Rows and columns of the film's file; zeros where not packed."""
        return self.index.source_px_N2

    @property
    def is_packed_N(self) -> NDArray[np.bool_]:
        return self.index.shard >= 0

    def read_rows(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """Return the films of these rows of the cohort, in the order asked for.

        Shapes: [M] -> [M, S, S].
        Raises: DataError when one of them is not packed.
        """
        wanted = np.asarray(rows, np.int64)
        assert wanted.ndim == 1, "rows are a list"
        assert ((wanted >= 0) & (wanted < len(self.image_id))).all(), "rows are those of the cohort"
        shard, row = self.index.shard[wanted], self.index.row[wanted]
        absent = wanted[shard < 0]
        if len(absent):
            what = f"{count_noun(len(absent), 'film')} asked for but not packed, the first in row {absent[0]:,}"
            raise DataError(what, self.path, "see rejects.csv")
        films = np.empty((len(wanted), self.size_px, self.size_px), np.uint8)
        for number in np.unique(shard):
            here = shard == number
            films[here] = self._open_shard(int(number))[row[here]]
        return films

    def read_all(self) -> NDArray[np.uint8]:
        """Return all packed films: row i is the i-th film for which `is_packed_N` holds."""
        return self.read_rows(np.flatnonzero(self.is_packed_N))

    def _open_shard(self, number: int) -> Shard:
        if number not in self._shards:
            num_films = int((self.index.shard == number).sum())
            self._shards[number] = Shard(self.path / shard_name(number), num_films, self.size_px)
        return self._shards[number]


def open_images(path: Path, verify: bool = True) -> ImageStore:
    """Return the packed films at `path`; `verify` hashes every file first, unless it did so within a day and all lie
    there as they did (`images.stamp`).

    Raises: IntegrityError when a file is missing, damaged or of another kind.
    """
    return read_unexchanged(path, lambda: _open_images(path, verify))


def _open_images(path: Path, verify: bool) -> ImageStore:
    artefact = open_artefact(path, KIND, verify=False)
    if verify and not is_remembered(artefact):
        states, started_at = look_at_files(artefact), time.time()
        open_artefact(path, KIND, verify=True)
        remember(artefact, states, started_at)
    size_px, cohort_sha256 = int(artefact.settings["size_px"]), str(artefact.settings.get("cohort_sha256", ""))
    store = ImageStore(path, size_px, artefact.content_sha256, cohort_sha256, read_index(path))
    # Open all shards now, so that a pack that replaces this one later does not affect them.
    for number in np.unique(store.index.shard[store.is_packed_N]).tolist():
        store._open_shard(number)
    return store
