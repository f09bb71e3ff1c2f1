"""Compressed pixels as their codestream declares them, and whether a codestream is whole.

In: the bytes of one frame. Out: its size and depth, or a refusal of what decoders pass over in silence.
Never: pixels decoded here.
Source: ITU-T T.81 B.2.2 and T.87 C.2.2 (frame headers), T.87 A.5.3 (codes of limited length), T.800 annex A (markers of
JPEG 2000) and B.10.3 (a packet without data is one byte), DICOM PS3.5 annex G (RLE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from cxrssl.core.filmfile import refuse
from cxrssl.dicom.codecs import RLE
from cxrssl.dicom.jpeg import FRAME_LS, NO_FRAMES, check_stream, read_segments

J2K_START, J2K_END, TILE_PART = b"\xff\x4f\xff\x51", b"\xff\xd9", b"\xff\x90"
CODING, LENGTHS, PIXELS = b"\xff\x52", b"\xff\x58", b"\xff\x93"
LONGEST_CODE = 16
"""Zero bytes: no code of JPEG-LS, and with all but no probability none of JPEG 2000, has as many zeros."""
RLE_HEADER, LONGEST_RUN = 64, 129
"""Bytes: no literal run holds more zeros, and an encoder that knows replicate runs has none with LONGEST_CODE zeros."""


class Codestream(NamedTuple):
    """What a codestream says of its pixels."""

    rows: int
    columns: int
    components: int
    precision: int
    is_signed: bool


def read_codestream(frame: bytes) -> Codestream:
    """Return the size that the codestream itself declares.

    Raises: DecodeError.
    """
    if _is_jpeg_2000(frame):
        siz = frame.find(J2K_START)
        right, bottom, left, top = struct.unpack_from(">4I", frame, siz + 8)
        components, depth = struct.unpack_from(">HB", frame, siz + 40)
        return Codestream(bottom - top, right - left, components, (depth & 0x7F) + 1, bool(depth & 0x80))
    for segment in read_segments(frame):
        if segment.marker == FRAME_LS or (0xC0 <= segment.marker <= 0xCF and segment.marker not in NO_FRAMES):
            precision, rows, columns, components = struct.unpack_from(">BHHB", segment.body)
            return Codestream(rows, columns, components, precision, False)
    raise refuse("damaged", "a codestream without a frame header")


def check_whole(frame: bytes, uid: str) -> None:
    """Refuse a codestream with a hole of zeros, without its end, or with another one after it.

    Raises: DecodeError; ValueError or struct.error for what is no codestream.
    """
    if uid == RLE:
        _check_rle(frame)
    elif _is_jpeg_2000(frame):
        _check_jpeg_2000(frame[frame.find(J2K_START) :])
    else:
        *_, last = read_segments(frame)
        if frame[last.end : last.end + 2] != b"\xff\xd9":
            raise refuse("truncated", "a codestream without an end")
        _check_alone(frame[last.end + 2 :])
        if any(each.marker == FRAME_LS for each in read_segments(frame)):
            if bytes(LONGEST_CODE) in frame[: last.end]:
                raise refuse("damaged", "a hole of zeros in its pixels")
        else:
            check_stream(frame)


def _check_rle(frame: bytes) -> None:
    pixels = frame[RLE_HEADER:].rstrip(b"\0")
    at = pixels.find(bytes(LONGEST_CODE))
    if bytes(LONGEST_RUN) in pixels or (at >= 0 and _has_replicates(pixels)):
        raise refuse("damaged", "a hole of zeros in its pixels")


def _has_replicates(pixels: bytes) -> bool:
    """Return whether a run of RLE repeats a byte three times or more (PS3.5 G.3.1)."""
    at = 0
    while at < len(pixels) and not 128 < pixels[at] < 255:
        at += 2 + pixels[at] if pixels[at] < 128 else 2 - (pixels[at] == 128)
    return at < len(pixels)


def _check_alone(rest: bytes) -> None:
    """Refuse a second picture after the first; anything else may fill a fragment up."""
    if b"\xff\xd8\xff" in rest or J2K_START in rest:
        raise refuse("damaged", "two codestreams in one frame")


def _is_jpeg_2000(frame: bytes) -> bool:
    return J2K_START in frame and not frame.startswith(b"\xff\xd8")


def _check_jpeg_2000(stream: bytes) -> None:
    """Follow the tile-parts from one to the next, up to the end mark, and look for holes in their packets."""
    width, height, _, _, tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">8I", stream, 8)
    num_tiles = -(-(width - tile_left) // tile_width) * -(-(height - tile_top) // tile_height)
    seen, start = set(), stream.find(TILE_PART)
    longest = LONGEST_CODE + _count_packets(stream[:start], tile_width, tile_height)
    for tile, begin, end in _iter_tile_parts(stream, start):
        seen.add(tile)
        packets = list(_iter_packets(stream, begin, end))
        spans = [(packets[0][0], end, longest)] if len(packets) == 1 else [(*each, LONGEST_CODE) for each in packets]
        if any(stream.find(bytes(zeros), first, last) >= 0 for first, last, zeros in spans):
            raise refuse("damaged", "a hole of zeros in its pixels")
    if len(seen) != num_tiles:
        raise refuse("truncated", f"{len(seen):,} of {num_tiles:,} tiles")


def _iter_packets(stream: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each packet of a tile-part, or of all together where it does not list their lengths."""
    lengths, at = bytearray(), begin + 12
    while stream[at : at + 2] != PIXELS:
        if at + 4 > end or stream[at] != 0xFF:
            raise refuse("damaged", "a part of its pixels without a beginning")
        size = int.from_bytes(stream[at + 2 : at + 4], "big")
        lengths += stream[at + 5 : at + 2 + size] if stream[at : at + 2] == LENGTHS else b""
        at += 2 + size
    at, length = at + 2, 0
    if not lengths:
        yield at, end
        return
    for byte in lengths:
        length = length << 7 | byte & 0x7F
        if byte < 0x80:
            yield at, at + length
            at, length = at + length, 0
    if at != end:
        raise refuse("damaged", "its packets are not as long as listed")


def _iter_tile_parts(stream: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield tile, begin and end of each tile-part; a length of 0 reaches to the end mark."""
    while stream[at : at + 2] == TILE_PART:
        tile, length = struct.unpack_from(">HI", stream, at + 4)
        end = at + length if length else len(stream.rstrip(b"\0")) - len(J2K_END)
        if end > len(stream) or end < at + 12:
            raise refuse("truncated", "a part of its pixels is cut short")
        yield tile, at, end
        at = end
    if stream[at : at + 2] != J2K_END:
        raise refuse("truncated", "a codestream without an end")
    _check_alone(stream[at + 2 :])


def _count_packets(header: bytes, tile_width: int, tile_height: int) -> int:
    """Return at most how many packets of a tile may follow each other: each may be empty, one zero byte."""
    at = header.find(CODING)
    style, layers, levels = header[at + 4], int.from_bytes(header[at + 6 : at + 8], "big"), header[at + 9]
    components = int.from_bytes(header[40:42], "big")
    precincts = 0
    for level in range(levels + 1):
        size = header[at + 14 + level] if style & 1 else 0xFF
        wide, high = max(1, 2 ** (size & 15)), max(1, 2 ** (size >> 4))
        shrink = 2 ** (levels - level)
        precincts += (-(-tile_width // shrink) // wide + 2) * (-(-tile_height // shrink) // high + 2)
    return layers * components * precincts
