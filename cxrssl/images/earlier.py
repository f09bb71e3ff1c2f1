"""The pack that a new one replaces: what it made of the same bytes is copied, and not decoded again.

In: a published pack. Out: its records, and batches' worth of its films.
Never: pixels that are not those that were packed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import open_artefact
from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import IntegrityError
from cxrssl.images.decode import DECODE_RULES, DECODER
from cxrssl.images.fingerprint import hash_pixels
from cxrssl.images.index import INDEX, REJECTS, read_index, read_rejects
from cxrssl.images.shard import FILM_DTYPE, PACKED, FilmRecords, film_offset, shard_name
from cxrssl.images.sources import SOURCES, UNREAD, Sources, read_sources
from cxrssl.images.store import KIND

WHICH_FILMS = frozenset({"shard_films", "num_films", "films_sha256", "cohort_sha256"})
"""Settings of a pack that say which films it has and where; the others may change the pixels of a film."""


class Place(NamedTuple):
    """Where films lie in a pack; NOT_PACKED for rejected ones."""

    shard: NDArray[np.int32]
    row: NDArray[np.int32]


class EarlierFilms(NamedTuple):
    """Films of an earlier pack, in the order of a batch of the new one."""

    folder: Path
    rows: NDArray[np.int64]
    """The row of its film of the same bytes; negative where it has none."""
    records: FilmRecords
    """With states and hashes of the files as they are now; the rest says nothing where there is no such film."""
    place: Place

    @property
    def is_known(self) -> NDArray[np.bool_]:
        return self.rows >= 0

    def part(self, span: slice) -> EarlierFilms:
        """Return some of these films."""
        place = Place(self.place.shard[span], self.place.row[span])
        return EarlierFilms(self.folder, self.rows[span], self.records[span], place)

    def copy_films(self, films: FilmRecords, pixels_BSS: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Fill in the known films, rejected ones too, and return which; one whose pixels are damaged is left out."""
        is_done = self.is_known
        for num in np.flatnonzero(is_done & (self.records["rule"] == PACKED)).tolist():
            if not self._read_into(pixels_BSS[num], num):
                pixels_BSS[num] = 0
                is_done[num] = False
        films[is_done] = self.records[is_done]
        return is_done

    def _read_into(self, pixels_SS: NDArray[np.uint8], num: int) -> bool:
        path = self.folder / shard_name(int(self.place.shard[num]))
        try:
            with open(path, "rb") as file:
                os.preadv(file.fileno(), [pixels_SS.data], film_offset(int(self.place.row[num]), len(pixels_SS)))
        except OSError:
            return False
        return hash_pixels(pixels_SS) == bytes(self.records["pixel_hash"][num])


class EarlierPack(NamedTuple):
    """A published pack."""

    folder: Path
    settings: dict[str, Any]
    decoder: str
    image_id: NDArray[np.str_]
    records: FilmRecords
    """Without the states of the files."""
    place: Place

    def is_made_alike(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a pack with these settings shows equal films in equal pixels."""
        ours, theirs = (
            {name: value for name, value in each.items() if name not in WHICH_FILMS}
            for each in (settings, self.settings)
        )
        return self.decoder == DECODER and ours == theirs


def match_films(earlier: EarlierPack, sources: Sources) -> EarlierFilms:
    """Return the films of the earlier pack that have the bytes of the films' files as they are now."""
    hashes = earlier.records["sha256"].tolist()
    deadly = (earlier.records["rule"] == DECODE_RULES.index("the decoder died")).tolist()
    # A decoder may have died for want of memory, so such a film is tried again.
    row_of = {
        sha256.decode(): row
        for row, (sha256, is_deadly) in enumerate(zip(hashes, deadly, strict=True))
        if sha256 and not is_deadly
    }
    seen = sources.look(range(sources.num_films)) if row_of else [UNREAD] * sources.num_films
    rows = np.array([row_of.get(file.sha256, -1) for file in seen], np.int64)
    # A film that is there twice is its own, not the other one.
    for row in range(min(len(rows), len(hashes))):
        if hashes[row] == seen[row].sha256.encode() and rows[row] >= 0:
            rows[row] = row
    taken = np.where(rows < 0, 0, rows)
    records = earlier.records[taken]
    records["sha256"] = [file.sha256.encode() for file in seen]
    records["state"] = np.array([file.state for file in seen], np.int64).reshape(-1, 4)
    return EarlierFilms(earlier.folder, rows, records, Place(earlier.place.shard[taken], earlier.place.row[taken]))


def open_earlier(folder: Path) -> EarlierPack | None:
    """Return the pack published at `folder`, or None if there is none or what describes its films is damaged."""
    try:
        artefact = open_artefact(folder, KIND, verify=False)
        files = artefact.manifest["files"]
        if any(sha256_file(folder / name) != files[name]["sha256"] for name in {INDEX, REJECTS, SOURCES} & {*files}):
            return None
        image_id, records, place = read_records(folder)
    except (IntegrityError, OSError):
        return None
    decoder = str(artefact.manifest["inputs"].get("decoder", ""))
    return EarlierPack(folder, artefact.settings, decoder, image_id, records, place)


def read_records(folder: Path) -> tuple[NDArray[np.str_], FilmRecords, Place]:
    """Return ids, records and places of the films of a pack, which may still be under construction.

    Raises: IntegrityError when its index and its list of rejects do not fit together.
    """
    index, rejects = read_index(folder), read_rejects(folder)
    rejected = np.flatnonzero(index.shard < 0)
    rules = [reject.rule for reject in rejects]
    if len(rejected) != len(rules) or not {*rules} <= {*DECODE_RULES}:
        raise IntegrityError(f"{REJECTS} does not list the films that {INDEX} lacks", folder)
    films = np.zeros(len(index.image_id), FILM_DTYPE)
    films["rule"], films["box"], films["source_px"] = PACKED, index.box_N4, index.source_px_N2
    for name in index._fields:
        if name in (FILM_DTYPE.names or ()):
            films[name] = getattr(index, name)
    films["rule"][rejected] = [DECODE_RULES.index(rule) for rule in rules]
    films["sha256"] = read_sources(folder, len(films))
    return index.image_id, films, Place(index.shard, index.row)
