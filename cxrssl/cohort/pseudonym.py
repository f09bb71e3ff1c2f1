"""Names in place of ids: the same in a whole cohort, and nothing to those who do not have its films.

In: the ids of a cohort's films, and an id. Out: 16 hexadecimal digits. Stdlib only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def make_key(image_ids: Iterable[str]) -> bytes:
    """Return the key of a cohort's pseudonyms, made of the ids of all its films in any order."""
    return hashlib.blake2b("\n".join(sorted(image_ids)).encode()).digest()


def name_id(text: str, key: bytes) -> str:
    """Return the pseudonym of an id: anyone with the data can recompute it; without them, no trial of ids undoes it."""
    return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()
