"""JPEG streams, decoded so that damage is seen: what lenient decoders only warn of refuses the film.

In: the bytes of a JPEG stream of any kind. Out: its pixels, or nothing where it is whole as far as can be seen.
Never: pixels of a stream whose entropy-coded data ended too soon, or were not used up.
Source: ITU-T T.81 annex B (segments), F.1.2 and H.1.2 (codes of sequential and lossless streams), G.1.2 (progressive).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Colour: TypeAlias = Literal["GRAY", "RGB", "CMYK"]
PROGRESSIVE, LOSSLESS, FRAME_LS = 0xC2, 0xC3, 0xF7
QUANTISATION, HUFFMAN, START_OF_SCAN, START, END = 0xDB, 0xC4, 0xDA, 0xD8, 0xD9
NO_LENGTH = (0x01, *range(0xD0, 0xD8))
DECODED_FRAMES = (0xC0, 0xC1, PROGRESSIVE)
HUFFMAN_FRAMES = (*DECODED_FRAMES, LOSSLESS)
NO_FRAMES = (HUFFMAN, 0xC8, 0xCC)
"""Markers among those of frames."""
HOLE = bytes(12)
"""So many zero bytes are 32 or more equal symbols: a hole in the file, for no film has them."""
HARMLESS = ("unknown JFIF revision", "Unknown Adobe color transform")
"""Warnings about metadata: they say nothing of the pixels."""
_NO_ENTROPY = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""What ends entropy-coded data: a marker that is neither a stuffed zero nor a restart."""
_NO_ENTROPY_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]", re.DOTALL)
"""The same in JPEG-LS, which stuffs a single bit (T.87 A.1)."""


class Segment(NamedTuple):
    """A marker segment; that of a scan reaches to the end of its entropy-coded data."""

    marker: int
    body: bytes
    """What follows the length, without entropy-coded data."""
    start: int
    end: int


def decode_jpeg(data: bytes, colour: Colour, at_least: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Return the pixels, at the smallest scale of 1/8, 1/4, ... whose rows and columns are `at_least` these.

    Shapes: [H, W] for GRAY, else [H, W, C]. The same pixels as Pillow's: both decode by libjpeg-turbo.
    Raises: ValueError when the stream is damaged, MemoryError.
    """
    _check_frame(data)
    check_stream(data)
    try:
        pixels = _decode(data, colour, at_least)
    except ValueError as error:
        if "Insufficient memory" in str(error):
            raise MemoryError from None
        if not any(words in str(error) for words in HARMLESS):
            raise
        pixels = _decode(_drop_metadata(data), colour, at_least)
    return pixels[..., 0] if colour == "GRAY" else pixels


def check_entropy(data: bytes) -> None:
    """Check by another decoder that the entropy-coded data of a stream of 12 bits are whole and used up.

    That decoder has 8 bits, so the stream is given to it as one of 8: its pixels mean nothing, its warnings do.
    Raises: ValueError.
    """
    narrow = bytearray(data)
    for segment in read_segments(data):
        if segment.marker in DECODED_FRAMES:
            narrow[segment.start + 4] = 8
    decode_jpeg(bytes(narrow), "GRAY", (1, 1))


def _check_frame(data: bytes) -> None:
    """Refuse what the decoder has no code for: some of it ends the process."""
    frames = [each for each in read_segments(data) if 0xC0 <= each.marker <= 0xCF and each.marker not in NO_FRAMES]
    if len(frames) != 1 or frames[0].marker not in DECODED_FRAMES or frames[0].body[:1] != b"\x08":
        raise ValueError("not a sequential or progressive JPEG of 8 bits")


def _decode(data: bytes, colour: Colour, at_least: tuple[int, int]) -> NDArray[np.uint8]:
    from simplejpeg import decode_jpeg as decode

    height, width = at_least
    pixels: NDArray[np.uint8] = decode(data, colour, min_height=height, min_width=width, min_factor=1, strict=True)
    return pixels


def _drop_metadata(data: bytes) -> bytes:
    """Return the stream without the application's segments, of which a warning would hide those that follow."""
    parts = [data[each.start : each.end] for each in read_segments(data) if not 0xE0 <= each.marker <= 0xEF]
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"


def check_stream(data: bytes) -> None:
    """Check what no decoder asks: impossible tables, and holes of zeros where zeros cannot be.

    Zeros are possible where their symbol is the end of a block, as in a black margin under tables made for the film.

    Raises: ValueError.
    """
    first: dict[int, int] = {}
    frame = 0
    for segment in read_segments(data):
        if segment.marker == QUANTISATION:
            _check_steps(segment.body)
        elif segment.marker == HUFFMAN:
            first |= _read_first_symbols(segment.body)
        elif segment.marker in HUFFMAN_FRAMES:
            frame = segment.marker
        elif segment.marker == START_OF_SCAN and data.find(HOLE, segment.start, segment.end) >= 0:
            tables = _tables_of_scan(segment.body, frame)
            if any(first.get(table, 0) & 15 for table in tables):
                raise ValueError("a hole of zeros in its pixels")


def read_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments after the start, up to the end mark or to what is no segment."""
    at, no_entropy = 2, _NO_ENTROPY
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (START, END):
        if data[at + 1] == 0xFF or data[at + 1] in NO_LENGTH:  # a fill byte comes before the marker
            at += 1 if data[at + 1] == 0xFF else 2
            continue
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if marker == FRAME_LS:
            no_entropy = _NO_ENTROPY_LS
        elif marker == START_OF_SCAN:
            found = no_entropy.search(data, end)
            end = found.start() if found else len(data)
        yield Segment(marker, body, at, end)
        at = end


def _check_steps(body: bytes) -> None:
    """Refuse a quantisation table with a step of 0, which would make its waves vanish."""
    at = 0
    while at < len(body):
        size = 2 if body[at] >> 4 else 1
        table = body[at + 1 : at + 1 + 64 * size]
        if not np.frombuffer(table[: len(table) // size * size], f">u{size}").all():
            raise ValueError("a quantisation step of 0")
        at += 1 + 64 * size


def _read_first_symbols(body: bytes) -> dict[int, int]:
    """Return class and place of each Huffman table -> the symbol whose code is all zeros."""
    first, at = {}, 0
    while at + 18 <= len(body):
        num = sum(body[at + 1 : at + 17])
        symbols = body[at + 17 : at + 17 + num]
        if len({*symbols}) < num:
            raise ValueError("a Huffman table that names a symbol twice")
        first[body[at]] = symbols[0] if num else 0
        at += 17 + num
    return first


def _tables_of_scan(body: bytes, frame: int) -> list[int]:
    """Return the Huffman tables whose symbols fill the scan: those of differences in a lossless one, else of waves."""
    num = body[0] if body else 0
    if len(body) < 4 + 2 * num or not frame:
        return []
    chosen, low = [body[2 + 2 * k] for k in range(num)], body[1 + 2 * num]
    if frame == LOSSLESS:
        return [table >> 4 for table in chosen]
    has_waves = frame != PROGRESSIVE or low > 0
    return [0x10 | table & 15 for table in chosen] if has_waves else []
