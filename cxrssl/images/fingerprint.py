"""Fingerprints of packed films: equal pixels by SHA-256, equal looks by a perceptual hash, and pairs that have them.

In: packed films and the boxes they fill. Out: 128 bits that differ when a pixel does; 64 bits that stay alike when a
film is scaled or compressed again; pairs of rows. Stdlib and numpy only; whole numbers: the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

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
NUM_BANDS, BAND_BITS = 4, 16
MAX_CANDIDATES = 2**21


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


def near_pairs(phash_a: Hashes, phash_b: Hashes | None, max_bits: int = NEAR_BITS) -> tuple[Rows, Rows]:
    """Return all pairs (row of a, row of b) whose perceptual hashes differ in at most `max_bits` (to 10), in order.

    `phash_b` None: pairs within a, the smaller row first. Rows of films that are not packed must be left out before.
    Source: Norouzi, Punjani, Fleet, Fast Search in Hamming Space with Multi-Index Hashing (2012): of four bands of 16
    bits at least one band k differs in at most (max_bits - k) // 4 bits.
    """
    assert 0 <= max_bits <= MAX_NEAR_BITS, f"at most {MAX_NEAR_BITS} bits"
    other = phash_a if phash_b is None else phash_b
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for band in range(NUM_BANDS):
        for rows_a, rows_b in _candidates(_band(phash_a, band), _band(other, band), (max_bits - band) // NUM_BANDS):
            is_near = np.bitwise_count(phash_a[rows_a] ^ other[rows_b]) <= max_bits
            found.append((rows_a[is_near], rows_b[is_near]))
    rows_a, rows_b = (np.concatenate(rows) for rows in zip(*found, strict=True))
    return _in_order(rows_a, rows_b, is_within=phash_b is None)


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


def _band(hashes: Hashes, band: int) -> Rows:
    return ((hashes >> np.uint64(band * BAND_BITS)) & np.uint64(2**BAND_BITS - 1)).astype(np.int64)


def _candidates(band_a: Rows, band_b: Rows, max_bits: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs of rows whose bands differ in at most `max_bits`, a bounded number at a time."""
    order = np.argsort(band_b, kind="stable")
    starts = np.searchsorted(band_b[order], np.arange(2**BAND_BITS + 1))
    for num_bits in range(max_bits + 1):
        for bits in combinations(range(BAND_BITS), num_bits):
            wanted = band_a ^ sum(1 << bit for bit in bits)
            first, counts = starts[wanted], starts[wanted + 1] - starts[wanted]
            portion = np.cumsum(counts) // MAX_CANDIDATES
            for rows in np.split(np.arange(len(band_a)), np.flatnonzero(np.diff(portion)) + 1):
                rows_a, places = _expand(first[rows], counts[rows])
                yield rows[rows_a], order[places]


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
