"""Whether the file of the store is the one that was written: cheap to see, and the bytes decide where that says little.

In: the store, and a small file beside it. Out: yes or no. Never: "yes" for a file that another program wrote to, that a
disk has changed, or that a power cut has left half written.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isal import isal_zlib

from cxrssl.core.durable import write_json
from cxrssl.core.errors import SetupError
from cxrssl.core.filestate import look_at
from cxrssl.core.process import boot_mark

PIECE_BYTES = 1 << 24


def seal_of(store: Path) -> Path:
    """Return where the seal of a store lies."""
    return store.with_suffix(".crc32")


def checksum_of(path: Path) -> int:
    """Return the CRC-32 of a file's bytes. Raises: OSError."""
    checksum = 0
    with open(path, "rb") as file:
        while data := file.read(PIECE_BYTES):
            checksum = isal_zlib.crc32(data, checksum)
    return checksum


def announce(store: Path, checksum: int) -> None:
    """Note the checksum of the file that is about to take the place of the store: whichever lies there is known."""
    write_json(seal_of(store), {"known": [*_known(store), checksum]})


def seal(store: Path, checksum: int) -> None:
    """Note the checksum of the store and how its file lies."""
    write_json(seal_of(store), {"known": [checksum], "boot": boot_mark(), "state": list(look_at(store))})


def is_sealed(store: Path) -> bool:
    """Return whether a store is as it was written. A file that lies as it lay since this start of the machine is."""
    said = _read(store)
    if said.get("boot") == boot_mark() and said.get("state") == list(look_at(store)):
        return True
    try:
        checksum = checksum_of(store)
    except OSError:
        return False
    if checksum not in _known(store):
        return False
    with contextlib.suppress(SetupError):  # a workspace that may only be read: it is looked through each time
        seal(store, checksum)
    return True


def _known(store: Path) -> Iterator[int]:
    known = _read(store).get("known")
    return (each for each in (known if isinstance(known, list) else []) if isinstance(each, int))


def _read(store: Path) -> dict[str, Any]:
    try:
        said = json.loads(seal_of(store).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
