"""All films of a cohort, packed: an artefact of uint8 shards [n, S, S], an index and the list of rejected films.

In: image ids and paths in cohort order. Out: `images/<cohort>/`, the same bytes for any number of workers and after any
interruption. Shard k holds films [k * shard_films, (k + 1) * shard_films) without the rejected ones.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.core.artefact import publish
from cxrssl.core.durable import hash_settings, kill_point
from cxrssl.core.errors import DataError, IntegrityError, SetupError, UsageError
from cxrssl.core.filmfile import OF_A_MOMENT, OUTSIDE, UNREADABLE_HINT, FilmFolder, Outage, describe_links
from cxrssl.core.filmnote import count_notes
from cxrssl.core.lock import hold_lock
from cxrssl.core.progress import track
from cxrssl.core.text import format_bytes
from cxrssl.images.decode import DECODE_RULES, DECODER, NO_CHOICES, PIPELINE_VERSION, Choices
from cxrssl.images.earlier import EarlierFilms, EarlierPack, match_films, open_earlier, read_records
from cxrssl.images.index import Reject, make_index, write_index, write_notes, write_rejects
from cxrssl.images.plan import Job, count_workers, plan_batches
from cxrssl.images.shard import (
    FILM_DTYPE,
    PACKED,
    FilmRecords,
    finish_shard,
    packed_bytes,
    part_name,
    read_part,
)
from cxrssl.images.sources import Sources, seen_path, write_sources
from cxrssl.images.store import KIND
from cxrssl.images.worker import DIED, Batch, run_batches


@dataclass(frozen=True)
class PackSummary:
    """The result of `pack_images`."""

    num_films: int
    num_packed: int
    rejects: list[Reject]
    notes: dict[str, int]
    """Note on films that are packed -> films that have it."""
    images_per_s: float
    """Films decoded in this call per second; 0 when there was nothing to do."""
    was_current: bool
    """The artefact was there already, and every film still is the file that it was made of."""
    num_kept: int = 0
    """Films taken over from the pack that this one replaces, because their files have the same bytes."""
    note: str = ""
    """What to do about rejected films, where something can be done."""


def pack_images(
    dest: Path,
    dataset_root: Path | FilmFolder,
    image_ids: Sequence[str],
    paths: Sequence[str],
    *,
    size_px: int,
    cohort_sha256: str,
    num_workers: int = 0,
    shard_films: int = 4096,
    choices: Choices = NO_CHOICES,
) -> PackSummary:
    """Publish the films at `paths` (relative to `dataset_root`) as packed images; do nothing if they are there.

    A film is there if its file has the bytes that were packed. An interrupted call is taken up by the next one with the
    same arguments. `num_workers` 0 means all cores.

    Raises: DataError when no film can be decoded, SetupError when the disk is too small, a codec is missing, a worker
    dies or many films in a row cannot be read, UsageError when another process packs the same cohort.
    """
    assert len(image_ids) == len(paths) == len(set(image_ids)), "one path and one unique id a film"
    folder = dataset_root if isinstance(dataset_root, FilmFolder) else FilmFolder(dataset_root)
    sources = Sources(folder, paths, seen_path(dest))
    job = Job(dest, folder, image_ids, paths, size_px, shard_films, num_workers, sources, choices)
    settings = {
        "pipeline_version": PIPELINE_VERSION,
        "size_px": size_px,
        "shard_films": shard_films,
        "num_films": len(paths),
        "films_sha256": hash_settings([list(image_ids), list(paths)]),
        "cohort_sha256": cohort_sha256,
        "choices": choices._asdict(),
    }
    lock = dest.parent / f".lock-{dest.name}"
    with hold_lock(lock, UsageError(f"the films of {dest.name} are being packed by another process", lock)):
        known, films = _find_known(job, settings)
        if films is not None:
            return _summarise(job, films, 0.0, was_current=True)
        # Half a pack made by one decoder is not completed by another.
        resume_key = hash_settings([settings, DECODER])[:16]
        with publish(dest, KIND, settings, {"cohort": cohort_sha256, "decoder": DECODER}, resume_key) as building:
            films, images_per_s = _pack_films(job, building, known)
    return _summarise(job, films, images_per_s, was_current=False, num_kept=_count_known(known))


def _find_known(job: Job, settings: dict[str, Any]) -> tuple[EarlierFilms | None, FilmRecords | None]:
    """Return what may be taken over from the published pack, and its records if nothing has to be done."""
    earlier = open_earlier(job.dest)
    is_equal, is_alike = earlier and earlier.settings == settings, earlier and earlier.is_made_alike(settings)
    if earlier is None or not (is_equal or is_alike):
        return None, None
    known = match_films(earlier, job.sources)
    if is_equal and _is_same(job, earlier, known):
        job.sources.keep(known.records)
        return known, earlier.records
    return known if is_alike else None, None


def _is_same(job: Job, earlier: EarlierPack, known: EarlierFilms) -> bool:
    """Return whether each film's file still has the bytes that were packed; what could not be read is tried again."""
    deadly = []
    hashes = earlier.records["sha256"].tolist()
    for num, (rule, sha256) in enumerate(zip(earlier.records["rule"].tolist(), hashes, strict=True)):
        if rule != PACKED and DECODE_RULES[rule] == DIED:
            deadly.append(num)
        elif sha256:
            if known.rows[num] != num:
                return False
        elif rule == PACKED or job.sources.faults.get(num) != DECODE_RULES[rule]:
            return False
    return not deadly or _die_again(job, deadly)


def _die_again(job: Job, rows: Sequence[int]) -> bool:
    """Return whether the decoder dies of each of these films once more."""
    few = replace(job, image_ids=[job.image_ids[row] for row in rows], paths=[job.paths[row] for row in rows])
    with tempfile.TemporaryDirectory(prefix=f".building-{job.dest.name}~", dir=job.dest.parent) as folder:
        results = run_batches(plan_batches(few, Path(folder), list(few.shards), None), 1)
        return all((records["rule"] == DECODE_RULES.index(DIED)).all() for _, records in results)


def _pack_films(job: Job, building: Path, known: EarlierFilms | None) -> tuple[FilmRecords, float]:
    """Fill `building` and return the record of each film, and how many films were decoded per second."""
    films = _read_films(building, job)
    images_per_s = 0.0
    if films is None:
        films, images_per_s = _pack_shards(job, building, known)
        rejects = job.rejects(films)
        if len(rejects) == len(films):
            # Kept shards would reject the films again after the cause is gone.
            shutil.rmtree(building)
            raise _none_packed(job.root, rejects)
        job.sources.keep(films)
        write_sources(building, films)
        write_rejects(building, rejects)
        index = make_index(job.image_ids, films, job.shard_films)
        write_notes(building, index, job.paths)
        write_index(building, index)
    # From here on the index replaces the parts.
    for shard in job.shards:
        (building / part_name(shard)).unlink(missing_ok=True)
    kill_point("pack-after-index")
    return films, images_per_s


def _none_packed(folder: FilmFolder, rejects: Sequence[Reject]) -> DataError | SetupError:
    counts = Counter(reject.rule for reject in rejects)
    shown = ", ".join(f"{num:,} {rule}" for rule, num in counts.most_common()) or "there is none"
    what = f"no film can be packed: {shown}"
    if counts and {*counts} <= OF_A_MOMENT:
        return SetupError(what, str(folder), UNREADABLE_HINT)
    return DataError(what, str(folder), _describe_links(folder, rejects) or "is this the dataset's folder?")


def _describe_links(folder: FilmFolder, rejects: Sequence[Reject]) -> str:
    return describe_links(folder.root, [reject.path for reject in rejects if reject.rule == OUTSIDE])


def _pack_shards(job: Job, building: Path, known: EarlierFilms | None) -> tuple[FilmRecords, float]:
    for leftover in building.glob(".*.tmp"):
        leftover.unlink()
    films, films_left = _read_parts(job, building)
    num_left = sum(films_left.values())
    _check_free_space(building, packed_bytes(num_left, job.size_px))
    started = time.monotonic()
    num_rejected = num_kept = 0
    outage = Outage(job.root)
    num_workers = count_workers(job.num_workers, num_left, job.paths)
    results = run_batches(plan_batches(job, building, list(films_left), known), num_workers)
    with (
        track("pack", len(films), "films", done=len(films) - num_left) as progress,
        contextlib.closing(results),
    ):
        for batch, records in results:
            films[batch.first : batch.first + len(records)] = records
            num_rejected += int((records["rule"] != PACKED).sum())
            num_kept += _count_known(batch.earlier)
            _note_outage(outage, batch, records)
            progress.advance(len(records), f"{num_rejected:,} rejected" if num_rejected else "")
            films_left[batch.shard] -= len(records)
            if not films_left[batch.shard]:
                span = job.films_of(batch.shard)
                finish_shard(batch.temp, building, batch.shard, films[span.start : span.stop], job.size_px)
                kill_point("pack-after-shard")
    return films, max(0, num_left - num_kept) / max(time.monotonic() - started, 1e-9)


def _note_outage(outage: Outage, batch: Batch, records: FilmRecords) -> None:
    for num, rule in enumerate(records["rule"].tolist()):
        if batch.earlier is None or not batch.earlier.is_known[num]:
            outage.note("" if rule == PACKED else DECODE_RULES[rule])


def _read_parts(job: Job, building: Path) -> tuple[FilmRecords, dict[int, int]]:
    """Return the records of films packed in an earlier call, and the number of films of each shard left to pack."""
    films, films_left = np.zeros(len(job.paths), FILM_DTYPE), {}
    for shard in job.shards:
        span = job.films_of(shard)
        part = read_part(building, shard, len(span), job.size_px)
        if part is None or not job.sources.are_still(span.start, part):
            films_left[shard] = len(span)
        else:
            films[span.start : span.stop] = part
    return films, films_left


def _check_free_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"{format_bytes(free)} free on the disk, {format_bytes(needed)} needed for the packed films"
        raise SetupError(what, folder.parent, "free some space, or choose another folder with --workspace")


def _read_films(building: Path, job: Job) -> FilmRecords | None:
    """Return the records of films that were all packed in an earlier call, or None if a file is another one now."""
    try:
        image_id, films, _ = read_records(building)
    except IntegrityError:
        return None
    is_whole = image_id.tolist() == list(job.image_ids) and job.sources.are_still(0, films)
    return films if is_whole else None


def _count_known(known: EarlierFilms | None) -> int:
    return int(known.is_known.sum()) if known is not None else 0


def _summarise(job: Job, films: FilmRecords, images_per_s: float, was_current: bool, num_kept: int = 0) -> PackSummary:
    rejects = job.rejects(films)
    return PackSummary(
        num_films=len(films),
        num_packed=len(films) - len(rejects),
        rejects=rejects,
        notes=count_notes(films["note"].tolist()),
        images_per_s=images_per_s,
        was_current=was_current,
        num_kept=num_kept,
        note=_describe_links(job.root, rejects),
    )
