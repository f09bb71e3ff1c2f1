"""Films that two packs share, at the size of MIMIC-CXR beside CheXpert: our search, then the kept result; and peers.

    uv run python -m tests.benchmarks.pairs            # 377,110 films beside 224,316
    uv run python -m tests.benchmarks.pairs 0.1        # a tenth of each

The benchmark reads films from memory, so that it measures no disk, and prints how many bytes it reads. Their perceptual
hashes are drawn with bits as unequal, and pairs as near, as those of real films. The peers only look for hashes within
as many bits: on a part of the films of the first pack, scaled.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import BallTree

from cxrssl.audit.crops import LOCAL_BITS
from cxrssl.audit.pairs import find_pairs
from cxrssl.core.process import num_cores, peak_rss_bytes
from cxrssl.images.fingerprint import near_pairs
from cxrssl.images.index import Index
from cxrssl.images.store import ImageStore

NUM_FILMS, SIZE_PX, NUM_SHARED = (377_110, 224_316), 320, 2000
SQUARE_SHARE = 0.02
"""Films of other shapes are then compared by their centres, too."""
EIGENVALUES = np.r_[13.6, 12.1, 7.7, 7.3, 6.4, 5.7, 2.2, 2.1, 2.0, 1.8, np.geomspace(1.6, 0.1, 54)]
"""Of the correlations of bits: as those of 1,000 films of ChestX-ray14, the first ones larger, so that one pair in
70,000 is within 8 bits, as of the COVID collection's films beside them."""
NUM_BRUTE, NUM_TREE = 2000, 100
NUM_DRAWN = 64


@dataclass(frozen=True)
class DrawnStore(ImageStore):
    """A pack whose films are a few, again and again; the first ones are those of the other pack."""

    films: Any = None
    num_read: Any = None

    def read_rows(self, rows: ArrayLike) -> NDArray[np.uint8]:
        wanted = np.asarray(rows)
        self.num_read.append(len(wanted))
        own = np.where(wanted < NUM_SHARED, wanted % NUM_DRAWN, NUM_DRAWN + wanted % NUM_DRAWN)
        found: NDArray[np.uint8] = self.films[own]
        return found


def draw_hashes(num_films: int, seed: int) -> NDArray[np.uint64]:
    """Return perceptual hashes whose bits are signs of correlated normal numbers."""
    shape = np.random.default_rng(0)
    mixing = np.linalg.qr(shape.normal(size=(64, 64)))[0] * np.sqrt(EIGENVALUES)
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    threshold, rng = shape.normal(0, 0.45, 64), np.random.default_rng(seed)
    hashes = np.empty(num_films, np.uint64)
    for start in range(0, num_films, 20_000):
        part = hashes[start : start + 20_000]
        bits = rng.normal(size=(len(part), 64)) @ mixing.T < threshold
        part[:] = np.packbits(bits, axis=1).view(np.uint64).reshape(-1)
    return hashes


def draw_pack(name: str, num_films: int, seed: int, shared: NDArray[np.uint64]) -> DrawnStore:
    """Return a pack without a folder, of which the first films are shared ones."""
    rng = np.random.default_rng(seed)
    films = np.concatenate(
        [np.random.default_rng(0).integers(0, 255, (NUM_DRAWN, SIZE_PX, SIZE_PX), np.uint8),
         rng.integers(0, 255, (NUM_DRAWN, SIZE_PX, SIZE_PX), np.uint8)]
    )  # fmt: skip
    phash = draw_hashes(num_films, seed)
    phash[: len(shared)] = shared
    box = np.tile(np.array([0, 30, SIZE_PX, 260], np.int16), (num_films, 1))
    box[rng.random(num_films) < SQUARE_SHARE] = (0, 0, SIZE_PX, SIZE_PX)
    box[: len(shared)] = (0, 30, SIZE_PX, 260)
    number = np.arange(num_films)
    index = Index(
        image_id=number.astype(str),
        shard=(number // 4096).astype(np.int32),
        row=(number % 4096).astype(np.int32),
        box_N4=box,
        source_px_N2=np.full((num_films, 2), 3000, np.int32),
        pixel_hash=np.char.add(name.encode(), number.astype("S20")).astype("S32"),
        phash=phash,
        note=np.zeros(num_films, np.uint16),
    )
    return DrawnStore(Path(name), SIZE_PX, name * 8, "", index, films=films, num_read=[])


def timed(do: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return seconds on the clock, seconds of all cores, and what was found."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = do()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def compare_all(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> int:
    """Return how many pairs are near: every film with every other, in NumPy."""
    return sum(int(np.count_nonzero(np.bitwise_count(each ^ b) <= LOCAL_BITS)) for each in a)


def spread(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the 64 bits of each hash as numbers."""
    return np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)


def main() -> None:
    """Measure, and print what was found."""
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    num_a, num_b = (int(num * share) for num in NUM_FILMS)
    shared = draw_hashes(NUM_SHARED, 3)
    a, b = draw_pack("a", num_a, 1, shared), draw_pack("b", num_b, 2, shared)
    before = peak_rss_bytes()
    hash_s, hash_cpu_s, (first, _) = timed(lambda: near_pairs(a.index.phash, b.index.phash, LOCAL_BITS))
    with tempfile.TemporaryDirectory(prefix="pairs-bench-") as name:
        search_s, search_cpu_s, found = timed(lambda: find_pairs(a, b, Path(name)))
        peak = peak_rss_bytes()
        kept_s, _, again = timed(lambda: find_pairs(a, b, Path(name)))
    planted = {(row, row) for row in range(NUM_SHARED)}
    assert planted <= {*zip(found.first.tolist(), found.second.tolist(), strict=True)}, "films that are shared"
    assert np.array_equal(again.first, found.first)
    rows = np.random.default_rng(4).permutation(num_a)[: min(NUM_BRUTE, num_a)]
    _, brute_s, num_near = timed(lambda: compare_all(a.index.phash[rows], b.index.phash))
    tree = BallTree(spread(b.index.phash), metric="hamming")
    few = spread(a.index.phash[rows[:NUM_TREE]])
    _, tree_s, _ = timed(lambda: tree.query_radius(few, (LOCAL_BITS + 0.5) / 64))
    brute_s, tree_s = brute_s * num_a / len(rows), tree_s * num_a / len(few)
    read = sum(a.num_read) + sum(b.num_read)
    print(f"films of two packs that look the same, {num_a:,} beside {num_b:,}, {num_cores()} cores")
    print(f"  pairs of hashes within {LOCAL_BITS} bits: {len(first):,}, one in {num_a * num_b / len(first):,.0f}")
    about = f"{hash_s:.1f} s, {hash_cpu_s:.1f} s of CPU"
    print(f"  hashes alone          {about}")
    print(f"  every film with every other, NumPy {brute_s:>8.0f} s of CPU {brute_s / hash_cpu_s:>6.1f}x, scaled")
    print(f"  scikit-learn's BallTree, Hamming   {tree_s:>8.0f} s of CPU {tree_s / hash_cpu_s:>6.1f}x, scaled")
    size = f"{read:,} films read, {read * SIZE_PX**2 / 1e9:.0f} GB"
    print(f"  whole search          {search_s:.1f} s, {search_cpu_s:.1f} s of CPU; {size}; {len(found.first):,} pairs")
    print(f"  peak memory           {peak / 2**20:,.0f} MiB, {before / 2**20:,.0f} of the packs' own")
    print(f"  the kept result       {kept_s:.2f} s")
    assert num_near, "hashes as alike as those of real films"


if __name__ == "__main__":
    main()
