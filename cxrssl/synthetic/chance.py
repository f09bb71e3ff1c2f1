"""Draws and ids of the synthetic hospital: NumPy streams keyed by (seed, purpose, ids of the person, study or film).

Never: a draw that depends on another draw. Runs take their keys from `core.seed`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

PRIME = 9_999_991
"""The largest prime below ten million: multiplication by a unit modulo it gives distinct seven-digit numbers."""


def stream(seed: int, purpose: str, *ids: int) -> np.random.Generator:
    """Return the generator that belongs to one purpose and one subject, study or film."""
    purpose_key = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose_key, *ids])))


def pick(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Draw one key of `weights`, in proportion to its value."""
    edges = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def scatter_id(seed: int, purpose: str, index: int, first_digit: int) -> int:
    """Return an eight-digit id that begins with `first_digit`; two indices of one purpose never share an id."""
    rng = stream(seed, f"id {purpose}")
    factor, offset = int(rng.integers(1, PRIME)), int(rng.integers(PRIME))
    return first_digit * 10_000_000 + (index * factor + offset) % PRIME


def hex_id(seed: int, subject_id: int, study_id: int, film_index: int) -> str:
    """Return a dicom_id of the published pattern: five groups of eight hex digits."""
    text = f"{seed}/{subject_id}/{study_id}/{film_index}"
    digits = hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
    return "-".join(digits[i : i + 8] for i in range(0, 40, 8))
