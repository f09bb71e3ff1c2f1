"""Whether a PNG is whole: Pillow skips the checksums of pixels, a missing end, and rows that have no data.

In: the bytes of a file whose size is checked. Out: a fault, or none.
Source: PNG specification, third edition: 5.3 (chunks, CRC-32 over type and data), 7.2 and 8.1 (rows, passes), 11.2.1.
"""

from __future__ import annotations

import struct
import zlib
from typing import Literal, TypeAlias, cast

from isal import isal_zlib
from isal.igzip_lib import IsalError

Fault: TypeAlias = Literal["truncated", "damaged"]
START = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples a pixel."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of each pass of an interlaced picture."""
PIECE_BYTES = 2**20
BROKEN = cast("type[Exception]", IsalError)
"""The type stubs call it a value."""


def find_fault(data: bytes) -> Fault | None:
    """Return the fault of a PNG: a missing end, a wrong checksum, or pixels that are not those of its size."""
    view, start = memoryview(data), len(START)
    pixels = []
    while start + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            return "truncated"
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return "damaged"
        if name == b"IDAT":
            pixels.append(view[start + 8 : end - 4])
        if name == b"IEND":
            return None if _count_bytes(b"".join(pixels)) == _expected_bytes(data) else "damaged"
        start = end
    return "truncated"


def _expected_bytes(data: bytes) -> int:
    """Return how many bytes the rows have, each with the byte of its filter; -1 for an impossible header."""
    columns, rows, bits, colour, _, _, is_interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    pixel_bits = bits * CHANNELS.get(colour, 0)
    if not pixel_bits:
        return -1
    total = 0
    for left, top, across, down in PASSES if is_interlaced else ((0, 0, 1, 1),):
        width, height = -((left - columns) // across), -((top - rows) // down)
        total += height * (1 + (width * pixel_bits + 7) // 8) if width > 0 and height > 0 else 0
    return total


def _count_bytes(stream: bytes) -> int:
    """Return how many bytes the stream holds, without keeping them; -1 if it is broken."""
    inflate, num = isal_zlib.decompressobj(), 0
    try:
        while not inflate.eof:
            piece = inflate.decompress(stream, PIECE_BYTES)
            stream = inflate.unconsumed_tail
            num += len(piece)
            if not piece and not stream:
                return -1
    except BROKEN:
        return -1
    return num
