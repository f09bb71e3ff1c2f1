"""The plan of a pack: which films lie in which shard, in which batches they are decoded, and by how many processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrssl.core.filmfile import FilmFolder
from cxrssl.core.process import bounded_workers, num_cores
from cxrssl.images.decode import DECODE_RULES, Choices
from cxrssl.images.earlier import EarlierFilms
from cxrssl.images.index import Reject
from cxrssl.images.shard import PACKED, FilmRecords, create_shard
from cxrssl.images.sources import Sources
from cxrssl.images.worker import Batch

BATCH_FILMS = 16
FEW_FILMS = 64
"""Fewer films are decoded in this process, because starting others takes longer than the work."""
PICTURES = (".jpg", ".jpeg", ".png")
"""Files with other suffixes may be DICOM, whose decoders are C code that can kill its process."""


@dataclass(frozen=True)
class Job:
    """The films to pack, how, and where to."""

    dest: Path
    root: FilmFolder
    image_ids: Sequence[str]
    paths: Sequence[str]
    size_px: int
    shard_films: int
    num_workers: int
    sources: Sources
    choices: Choices

    def films_of(self, shard: int) -> range:
        """Return the films of a shard, by their place in the cohort."""
        return range(shard * self.shard_films, min((shard + 1) * self.shard_films, len(self.paths)))

    @property
    def shards(self) -> range:
        """All shards, by their number."""
        return range(-(-len(self.paths) // self.shard_films))

    def rejects(self, films: FilmRecords) -> list[Reject]:
        """Return the films that are not packed, each with the rule that it breaks."""
        rejected = np.flatnonzero(films["rule"] != PACKED).tolist()
        return [Reject(self.image_ids[i], self.paths[i], DECODE_RULES[films["rule"][i]]) for i in rejected]


def plan_batches(job: Job, building: Path, shards: Sequence[int], known: EarlierFilms | None) -> Iterator[Batch]:
    """Yield the batches of these shards; a shard's temp file is made when its first batch is asked for."""
    for shard in shards:
        temp = create_shard(building, shard)
        span = job.films_of(shard)
        for first in span[::BATCH_FILMS]:
            part = slice(first, min(first + BATCH_FILMS, span.stop))
            earlier = known.part(part) if known is not None else None
            paths = tuple(job.paths[part])
            place = (shard, temp, first, first - span.start, paths, job.root, job.size_px)
            yield Batch(*place, earlier=earlier, choices=job.choices)


def count_workers(num_workers: int, num_films: int, paths: Sequence[str]) -> int:
    """Return how many processes decode `num_films` films; 0 is this one alone."""
    if num_films < FEW_FILMS and all(path.lower().endswith(PICTURES) for path in paths):
        return 0
    return min(bounded_workers(num_workers, num_cores(), 2 * num_cores()), -(-num_films // BATCH_FILMS))
