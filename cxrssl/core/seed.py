"""Keys for the random draws of runs and splits: (seed, step, purpose) -> 63 bits, (subject, salt) -> [0, 1).

The caller seeds its own generator (torch or NumPy) with the key, so no generator state is ever saved.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, step: int, purpose: str) -> int:
    """Return the key of one draw; equal arguments give equal keys on every machine and Python version."""
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def subject_fraction(subject_id: str, salt: str) -> float:
    """Return a number in [0, 1) that depends on subject and salt alone; splits by hash compare it with fractions."""
    digest = hashlib.blake2b(f"{salt}/{subject_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
