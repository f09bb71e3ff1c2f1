"""The packed films of several cohorts as one store, in an order of their own. Stdlib and numpy only.

In: opened packs of one size, for each film of the order its pack and its row there. Out: PooledImages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import hash_settings
from cxrssl.images.index import NOT_PACKED, Index
from cxrssl.images.store import ImageStore, Shard


@dataclass(frozen=True)
class PooledImages(ImageStore):
    """Films of several packs; their shards are numbered on."""

    members: tuple[ImageStore, ...] = ()
    first_shards: tuple[int, ...] = ()
    """Number of the first shard of each pack."""

    def _open_shard(self, number: int) -> Shard:
        member = int(np.searchsorted(self.first_shards, number, side="right")) - 1
        return self.members[member]._open_shard(number - self.first_shards[member])


def pool_images(members: Sequence[ImageStore], place_N: NDArray[np.int64]) -> PooledImages:
    """Return packs as one; `place_N` are the films by their place in all packs, one after the other."""
    assert len({each.size_px for each in members}) == 1, "films of one size"
    sizes = [int(each.index.shard.max(initial=NOT_PACKED)) + 1 for each in members]
    first_shards = tuple(accumulate(sizes[:-1], initial=0))
    shards = [
        np.where(each.index.shard == NOT_PACKED, NOT_PACKED, each.index.shard + first)
        for each, first in zip(members, first_shards, strict=True)
    ]
    columns = {name: np.concatenate([getattr(each.index, name) for each in members]) for name in Index._fields}
    columns["shard"] = np.concatenate(shards).astype(np.int32)
    return PooledImages(
        path=members[0].path,
        size_px=members[0].size_px,
        content_sha256=hash_settings([each.content_sha256 for each in members]),
        cohort_sha256="",
        index=Index(**{name: column[place_N] for name, column in columns.items()}),
        members=tuple(members),
        first_shards=first_shards,
    )
