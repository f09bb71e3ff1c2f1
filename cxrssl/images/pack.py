"""All films of a cohort, packed: an artefact of uint8 shards [n, S, S], an index and the list of rejected films.

In: image ids and paths in cohort order. Out: `images/<cohort>/`, the same bytes for any number of workers and after any
interruption. Shard k holds films [k * shard_films, (k + 1) * shard_films) without the rejected ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrssl.core.artefact import is_published, publish
from cxrssl.core.durable import hash_settings, kill_point
from cxrssl.core.errors import DataError, IntegrityError, SetupError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.progress import track
from cxrssl.core.text import format_bytes
from cxrssl.images.decode import DECODE_RULES, DECODER, PIPELINE_VERSION
from cxrssl.images.index import Reject, make_index, read_index, read_rejects, write_index, write_rejects
from cxrssl.images.shard import (
    FILM_DTYPE,
    PACKED,
    FilmRecords,
    create_shard,
    finish_shard,
    packed_bytes,
    part_name,
    read_part,
)
from cxrssl.images.store import KIND
from cxrssl.images.worker import Batch, file_state, run_batches

BATCH_FILMS = 16
FEW_FILMS = 64
"""Fewer films are decoded in this process, because starting others takes longer than the work."""
PICTURES = (".jpg", ".jpeg", ".png")
"""Files with other suffixes may be DICOM, whose decoders are C code that can kill its process."""


@dataclass(frozen=True)
class PackSummary:
    """The result of `pack_images`."""

    num_films: int
    num_packed: int
    rejects: list[Reject]
    images_per_s: float
    """Films decoded in this call per second; 0 when there was nothing to do."""
    was_current: bool
    """The artefact was there already."""


@dataclass(frozen=True)
class _Job:
    dest: Path
    root: Path
    image_ids: Sequence[str]
    paths: Sequence[str]
    size_px: int
    shard_films: int

    def films_of(self, shard: int) -> range:
        return range(shard * self.shard_films, min((shard + 1) * self.shard_films, len(self.paths)))

    @property
    def shards(self) -> range:
        return range(-(-len(self.paths) // self.shard_films))

    def rejects(self, films: FilmRecords) -> list[Reject]:
        rejected = np.flatnonzero(films["rule"] != PACKED).tolist()
        rules = [DECODE_RULES[rule] for rule in films["rule"][rejected]]
        files = films["file"][rejected].tolist()
        return [
            Reject(self.image_ids[i], self.paths[i], rule, *file)
            for i, rule, file in zip(rejected, rules, files, strict=True)
        ]


def pack_images(
    dest: Path,
    dataset_root: Path,
    image_ids: Sequence[str],
    paths: Sequence[str],
    *,
    size_px: int,
    cohort_sha256: str,
    num_workers: int = 0,
    shard_films: int = 4096,
) -> PackSummary:
    """Publish the films at `paths` (relative to `dataset_root`) as packed images; do nothing if they are there.

    An interrupted call is taken up by the next one with the same arguments. `num_workers` 0 means all cores.

    Raises: DataError when no film can be decoded, SetupError when the disk is too small, a codec is missing or a worker
    dies, UsageError when another process packs the same cohort.
    """
    assert len(image_ids) == len(paths) == len(set(image_ids)), "one path and one unique id a film"
    job = _Job(dest, dataset_root, image_ids, paths, size_px, shard_films)
    settings = {
        "pipeline_version": PIPELINE_VERSION,
        "size_px": size_px,
        "shard_films": shard_films,
        "num_films": len(paths),
        "films_sha256": hash_settings([list(image_ids), list(paths)]),
        "cohort_sha256": cohort_sha256,
    }
    lock = dest.parent / f".lock-{dest.name}"
    with hold_lock(lock, UsageError(f"the films of {dest.name} are being packed by another process", lock)):
        films = _read_films(dest, job) if is_published(dest, KIND, settings) else None
        if films is not None:
            return _summarise(job, films, 0.0, was_current=True)
        # Half a pack made by one decoder is not completed by another.
        resume_key = hash_settings([settings, DECODER])[:16]
        with publish(dest, KIND, settings, {"cohort": cohort_sha256, "decoder": DECODER}, resume_key) as building:
            films, images_per_s = _pack_films(job, building, num_workers)
    return _summarise(job, films, images_per_s, was_current=False)


def _pack_films(job: _Job, building: Path, num_workers: int) -> tuple[FilmRecords, float]:
    """Fill `building` and return the record of each film, and how many films were decoded per second."""
    films = _read_films(building, job)
    images_per_s = 0.0
    if films is None:
        films, images_per_s = _pack_shards(job, building, num_workers)
        rejects = job.rejects(films)
        if len(rejects) == len(films):
            # Kept shards would reject the films again after the cause is gone.
            shutil.rmtree(building)
            counts = ", ".join(f"{num:,} {rule}" for rule, num in Counter(r.rule for r in rejects).most_common())
            hint = "is this the dataset's folder?"
            raise DataError(f"no film can be packed: {counts or 'there is none'}", job.root, hint)
        write_rejects(building, rejects)
        write_index(building, make_index(job.image_ids, films, job.shard_films))
    # From here on the index replaces the parts.
    for shard in job.shards:
        (building / part_name(shard)).unlink(missing_ok=True)
    kill_point("pack-after-index")
    return films, images_per_s


def _pack_shards(job: _Job, building: Path, num_workers: int) -> tuple[FilmRecords, float]:
    for leftover in building.glob(".*.tmp"):
        leftover.unlink()
    films, films_left = _read_parts(job, building)
    num_left = sum(films_left.values())
    _check_free_space(building, packed_bytes(num_left, job.size_px))
    started = time.monotonic()
    num_rejected = 0
    num_workers = _count_workers(num_workers, num_left, job.paths)
    results = run_batches(_plan_batches(job, building, list(films_left)), num_workers)
    with (
        track("pack", len(films), "films", done=len(films) - num_left) as progress,
        contextlib.closing(results),
    ):
        for batch, records in results:
            films[batch.first : batch.first + len(records)] = records
            num_rejected += int((records["rule"] != PACKED).sum())
            progress.advance(len(records), f"{num_rejected:,} rejected" if num_rejected else "")
            films_left[batch.shard] -= len(records)
            if not films_left[batch.shard]:
                span = job.films_of(batch.shard)
                finish_shard(batch.temp, building, batch.shard, films[span.start : span.stop], job.size_px)
                kill_point("pack-after-shard")
    return films, num_left / max(time.monotonic() - started, 1e-9)


def _read_parts(job: _Job, building: Path) -> tuple[FilmRecords, dict[int, int]]:
    """Return the records of films packed in an earlier call, and the number of films of each shard left to pack."""
    films, films_left = np.zeros(len(job.paths), FILM_DTYPE), {}
    for shard in job.shards:
        span = job.films_of(shard)
        part = read_part(building, shard, len(span), job.size_px)
        if part is None or _has_changed(job, part, span.start):
            films_left[shard] = len(span)
        else:
            films[span.start : span.stop] = part
    return films, films_left


def _plan_batches(job: _Job, building: Path, shards: Sequence[int]) -> Iterator[Batch]:
    """Yield the batches of these shards; a shard's temp file is made when its first batch is asked for."""
    for shard in shards:
        temp = create_shard(building, shard)
        span = job.films_of(shard)
        for first in span[::BATCH_FILMS]:
            paths = tuple(job.paths[first : min(first + BATCH_FILMS, span.stop)])
            yield Batch(shard, temp, first, first - span.start, paths, job.root, job.size_px)


def _count_workers(num_workers: int, num_films: int, paths: Sequence[str]) -> int:
    if num_films < FEW_FILMS and all(path.lower().endswith(PICTURES) for path in paths):
        return 0
    return min(num_workers or len(os.sched_getaffinity(0)), -(-num_films // BATCH_FILMS))


def _check_free_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"{format_bytes(free)} free on the disk, {format_bytes(needed)} needed for the packed films"
        raise SetupError(what, folder.parent, "free some space, or choose another folder with --workspace")


def _read_films(folder: Path, job: _Job) -> FilmRecords | None:
    """Return the records of a pack's films, or None if it is not whole or the file of a rejected film changed."""
    try:
        index, rejects = read_index(folder), read_rejects(folder)
    except IntegrityError:
        return None
    rules = [reject.rule for reject in rejects]
    rejected = np.flatnonzero(index.shard < 0)
    if list(index.image_id) != list(job.image_ids) or len(rejected) != len(rules) or not {*rules} <= {*DECODE_RULES}:
        return None
    films = np.zeros(len(index.image_id), FILM_DTYPE)
    films["rule"], films["box"], films["source_px"] = PACKED, index.box_N4, index.source_px_N2
    films["pixel_hash"], films["phash"] = index.pixel_hash, index.phash
    for row, reject in zip(rejected.tolist(), rejects, strict=True):
        films["rule"][row], films["file"][row] = DECODE_RULES.index(reject.rule), reject.file
    return None if _has_changed(job, films, 0) else films


def _has_changed(job: _Job, films: FilmRecords, first: int) -> bool:
    """Return whether the file of a rejected film has changed, for instance because a download continued."""
    rejected = np.flatnonzero(films["rule"] != PACKED).tolist()
    return any(file_state(job.root, Path(job.paths[first + i])) != tuple(films["file"][i].tolist()) for i in rejected)


def _summarise(job: _Job, films: FilmRecords, images_per_s: float, was_current: bool) -> PackSummary:
    rejects = job.rejects(films)
    return PackSummary(len(films), len(films) - len(rejects), rejects, images_per_s, was_current)
