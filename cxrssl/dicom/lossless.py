"""Whether the entropy-coded data of a lossless JPEG are used up by its pixels: no decoder says so.

In: a codestream and the pixels that it was decoded to. Out: nothing, or a refusal. The pixels tell the length of their
code to the bit, so data that were lost, changed or put in show as a difference.
Source: ITU-T T.81 H.1.2 (prediction, differences), H.1.2.2 (categories), annex C (lengths of codes).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.filmfile import refuse
from cxrssl.dicom.jpeg import HUFFMAN, LOSSLESS, START_OF_SCAN, read_segments

RESTARTS = 0xDD
NUM_CATEGORIES = 17


def check_used_up(frame: bytes, cells_HW: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Refuse pixels whose code is not as long as the data of the stream; streams with restarts are not looked at.

    Raises: DecodeError.
    """
    segments = list(read_segments(frame))
    scan = next(each for each in segments if each.marker == START_OF_SCAN)
    precision = next(each.body[0] for each in segments if each.marker == LOSSLESS)
    if any(each.marker == RESTARTS and any(each.body) for each in segments):
        return
    predictor, shift = scan.body[3], scan.body[5] & 15
    lengths = _read_lengths([each.body for each in segments if each.marker == HUFFMAN], scan.body[2] >> 4)
    differences = _differences(cells_HW.astype(np.uint16) >> np.uint16(shift), predictor, precision - shift)
    num_bits = int(_bits_of_difference(lengths)[differences].sum(dtype=np.int64))
    data = frame[scan.start + 4 + len(scan.body) : scan.end]
    spare = 8 * (len(data) - data.count(b"\xff\x00")) - num_bits
    if not 0 <= spare < 8:
        raise refuse("damaged", f"{abs(spare):,} bits of its pixels too {'many' if spare > 0 else 'few'}")


def _differences(values: NDArray[np.uint16], predictor: int, precision: int) -> NDArray[np.uint16]:
    """Return each pixel less its prediction, modulo 65536."""
    predicted = np.empty_like(values)
    predicted[0, 0] = 1 << (precision - 1)
    predicted[0, 1:], predicted[1:, 0] = values[0, :-1], values[:-1, 0]
    predicted[1:, 1:] = _predict(values[1:, :-1], values[:-1, 1:], values[:-1, :-1], predictor)
    return values - predicted


def _predict(
    left: NDArray[np.uint16], above: NDArray[np.uint16], corner: NDArray[np.uint16], predictor: int
) -> NDArray[np.uint16]:
    if predictor <= 3:
        return {1: left, 2: above, 3: corner}[predictor]
    a, b, c = (each.astype(np.int32) for each in (left, above, corner))
    whole = {4: a + b - c, 5: a + ((b - c) >> 1), 6: b + ((a - c) >> 1), 7: (a + b) >> 1}[predictor]
    return (whole & 0xFFFF).astype(np.uint16)


def _read_lengths(tables: list[bytes], place: int) -> NDArray[np.uint8]:
    """Return category -> length of its code in the Huffman table at this place; 0 where it has none."""
    lengths = np.zeros(256, np.uint8)
    for body in tables:
        at = 0
        while at + 17 <= len(body):
            counts = body[at + 1 : at + 17]
            if body[at] == place:
                codes = np.repeat(np.arange(1, 17, dtype=np.uint8), list(counts))
                lengths[:] = 0
                lengths[list(body[at + 17 : at + 17 + len(codes)])] = codes
            at += 17 + sum(counts)
    return lengths[:NUM_CATEGORIES]


def _bits_of_difference(lengths: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return difference modulo 65536 -> bits of its code and of what follows it; the half of the range has no more."""
    size = np.abs(np.arange(65536, dtype=np.int32).astype(np.uint16).astype(np.int16).astype(np.int32))
    category = np.ceil(np.log2(size + 1)).astype(np.int64)
    more = np.where(category < NUM_CATEGORIES - 1, category, 0)
    bits: NDArray[np.uint8] = (lengths[category] + more).astype(np.uint8)
    return bits
