"""Fingerprints of packed films: equal pixels by SHA-256, equal looks by a perceptual hash, and pairs that have them.

In: packed films and the boxes they fill. Out: 128 bits that differ when a pixel does; 64 bits that stay alike when a
film is scaled or compressed again; pairs of rows. Numpy only; whole numbers: the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.progress import Track

PIXEL_HASH_DTYPE = np.dtype("S32")
"""128 bits as hexadecimal digits; empty for a film that is not packed."""
NEAR_BITS = 4
"""Default of `near_pairs`."""
MAX_NEAR_BITS = 10

Rows: TypeAlias = NDArray[np.int64]
Hashes: TypeAlias = NDArray[np.uint64]
REDUCED_PX = 32
NUM_WAVES = 8
# Grey levels are averaged to a 16th and cosines rounded to 2^-14, so that every sum below is a whole number under 2^53:
# exact in float64, in whatever order it is added.
GREY_STEPS = 16
COSINE_STEPS = 2**14
HASH_BITS, NUM_BANDS = 64, 5
BLOCK_PAIRS = 2**18
"""Pairs that are compared at once: few enough for the cache of a core."""


def hash_pixels(film_SS: NDArray[np.uint8]) -> bytes:
    """Return the first 128 bits of the SHA-256 of the film's pixels, in hexadecimal digits.

    Films of packs of different size or pipeline version cannot be compared.
    """
    return hashlib.sha256(np.ascontiguousarray(film_SS).data).hexdigest()[: PIXEL_HASH_DTYPE.itemsize].encode()


def perceptual_hash(films_BSS: NDArray[np.uint8], box_B4: NDArray[np.int16] | None = None) -> Hashes:
    """Return 64 bits for each film: which of its 64 lowest cosine waves are stronger than their median.

    `box_B4` are the places of the films in their squares, (top, left, height, width); None: the whole square.
    Shapes: [B, S, S], [B, 4] -> [B].
    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), section 3.2.1, DCT hash.
    Differs: reduced by averages over the valid box, to 32 x 32, without a blur before it; whole numbers.
    """
    if box_B4 is None:
        box_B4 = np.tile(np.array([0, 0, *films_BSS.shape[1:]], np.int16), (len(films_BSS), 1))
    reduced_B32 = np.empty((len(films_BSS), REDUCED_PX, REDUCED_PX))
    for num, (top, left, height, width) in enumerate(box_B4.tolist()):
        reduced_B32[num] = _reduce(films_BSS[num, top : top + height, left : left + width])
    waves = _waves()
    strength_B64 = (waves @ reduced_B32 @ waves.T).reshape(-1, NUM_WAVES**2)
    is_strong_B64 = strength_B64 > np.median(strength_B64, axis=1, keepdims=True)
    return np.packbits(is_strong_B64, axis=1).view(">u8").astype(np.uint64).reshape(-1)


def identical_pairs(hash_a: NDArray[np.bytes_], hash_b: NDArray[np.bytes_] | None = None) -> tuple[Rows, Rows]:
    """Return the pairs (row of a, row of b) with equal pixel hashes, in order; empty hashes equal nothing.

    `hash_b` None: pairs within a, the smaller row first.
    """
    other = hash_a if hash_b is None else hash_b
    order = np.argsort(other, kind="stable")
    starts, ends = (np.searchsorted(other[order], hash_a, side) for side in ("left", "right"))
    rows_a, places = _expand(starts, np.where(hash_a == b"", 0, ends - starts))
    return _in_order(rows_a, order[places], is_within=hash_b is None)


def near_pairs(
    phash_a: Hashes, phash_b: Hashes | None, max_bits: int = NEAR_BITS, progress: Track | None = None
) -> tuple[Rows, Rows]:
    """Return all pairs (row of a, row of b) whose perceptual hashes differ in at most `max_bits` (to 10), in order.

    `phash_b` None: pairs within a, the smaller row first. Rows of films that are not packed must be left out before.
    `progress` counts the rows of a once for each band.
    Source: Norouzi, Punjani, Fleet, Fast Search in Hamming Space with Multi-Index Hashing (2012): of five bands of
    bits at least one band k differs in at most (max_bits - k) // 5 bits.
    Differs: a band is every fifth bit, as bits of neighbouring waves agree more often than chance; the films of a band
    are compared all at once. Twice as fast as bands of neighbours, ten times as fast as one look-up a pair.
    """
    assert 0 <= max_bits <= MAX_NEAR_BITS, f"at most {MAX_NEAR_BITS} bits"
    other = phash_a if phash_b is None else phash_b
    pairs = np.zeros(0, np.int64)
    for band in range(min(NUM_BANDS, max_bits + 1)):
        near = _near_in_band(phash_a, other, band, max_bits, progress)
        # Those that an earlier band has found too are held once.
        pairs = np.unique(np.concatenate([pairs, *(rows_a * len(other) + rows_b for rows_a, rows_b in near)]))
    rows_a, rows_b = np.divmod(pairs, max(len(other), 1))
    is_wanted = rows_a < rows_b if phash_b is None else np.ones(len(pairs), np.bool_)
    return rows_a[is_wanted], rows_b[is_wanted]


def _reduce(film_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the film as 32 x 32 averages in 16ths of a grey level; a side below 32 pixels is repeated instead."""
    # Rows are summed over equal blocks, eight times as fast as `reduceat`; longer blocks then get their last row.
    length, rows, is_longer, last = _blocks(film_HW.shape[0])
    sums = film_HW[rows].reshape(REDUCED_PX, length, -1).sum(1, dtype=np.uint32)
    sums[is_longer] += film_HW[last[is_longer]]
    length_x, columns, is_longer_x, _ = _blocks(film_HW.shape[1])
    sums = np.add.reduceat(sums, columns[::length_x], axis=1, dtype=np.int64)
    areas = np.multiply.outer(length + is_longer, length_x + is_longer_x)
    averages: NDArray[np.int64] = (sums * GREY_STEPS + areas // 2) // areas
    return averages


@lru_cache(maxsize=4096)
def _blocks(side: int) -> tuple[int, Rows, NDArray[np.bool_], Rows]:
    """Return the blocks into which a side is cut: what they have in common, and which are longer.

    Shapes: length; the pixels of their first `length`; [32], whether one more follows; [32], the last pixel.
    """
    edges = np.arange(REDUCED_PX + 1) * side // REDUCED_PX
    length = max(1, side // REDUCED_PX)
    pixels = np.add.outer(edges[:-1], np.arange(length)).reshape(-1)
    return length, pixels, np.diff(edges) > length, edges[1:] - 1


@lru_cache(maxsize=1)
def _waves() -> NDArray[np.float64]:
    """Return the cosine waves of frequency 1 to 8 over 32 pixels (DCT-II), as whole numbers. Shape: [8, 32]."""
    place, frequency = np.arange(REDUCED_PX), np.arange(1, NUM_WAVES + 1)
    cosines = np.cos(np.pi * np.multiply.outer(frequency, 2 * place + 1) / (2 * REDUCED_PX))
    waves: NDArray[np.float64] = np.rint(cosines * COSINE_STEPS)
    return waves


def _near_in_band(
    phash_a: Hashes, phash_b: Hashes, band: int, max_bits: int, progress: Track | None
) -> Iterator[tuple[Rows, Rows]]:
    """Yield the near pairs of rows that have (nearly) one band."""
    bits = range(band, HASH_BITS, NUM_BANDS)
    (order_a, starts_a), (order_b, starts_b) = _sort_by_band(phash_a, bits), _sort_by_band(phash_b, bits)
    sorted_a, sorted_b = phash_a[order_a], phash_b[order_b]
    flips = [
        sum(1 << place for place in places)
        for num_bits in range((max_bits - band) // NUM_BANDS + 1)
        for places in combinations(range(len(bits)), num_bits)
    ]
    for key in np.flatnonzero(np.diff(starts_a)).tolist():
        first, end = int(starts_a[key]), int(starts_a[key + 1])
        keys = key ^ np.array(flips)
        places = _expand(starts_b[keys], starts_b[keys + 1] - starts_b[keys])[1]
        other = sorted_b[places]
        step = max(1, BLOCK_PAIRS // max(len(other), 1))
        for start in range(first, end if len(other) else first, step):
            block = sorted_a[start : min(start + step, end)]
            hits = np.flatnonzero(np.bitwise_count(block[:, None] ^ other) <= max_bits)
            if len(hits):
                of_a, of_b = np.divmod(hits, len(other))
                yield order_a[start + of_a], order_b[places[of_b]]
        if progress is not None:
            progress.advance(end - first)


def _sort_by_band(hashes: Hashes, bits: Sequence[int]) -> tuple[Rows, Rows]:
    """Return the rows sorted by these bits, and where those with each value of them start; one entry more."""
    band = np.zeros(len(hashes), np.int64)
    for place, bit in enumerate(bits):
        band |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) << place
    order = np.argsort(band, kind="stable")
    return order, np.searchsorted(band[order], np.arange(2 ** len(bits) + 1))


def _expand(starts: Rows, counts: Rows) -> tuple[Rows, Rows]:
    """Return each row `counts` times, beside `starts`, `starts` + 1, ..."""
    rows = np.repeat(np.arange(len(starts)), counts)
    return rows, np.arange(len(rows)) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def _in_order(rows_a: Rows, rows_b: Rows, is_within: bool) -> tuple[Rows, Rows]:
    """Return the pairs sorted and each once; within one list the smaller row first and none with itself."""
    if is_within:
        rows_a, rows_b = rows_a[rows_a < rows_b], rows_b[rows_a < rows_b]
    pairs = np.unique(np.stack([rows_a, rows_b], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]
