"""The true depth of a PNG of 16 bits, whose white is not always 65535.

In: its samples and chunks. Out: greys of 8 bits. PNG has samples of fewer bits fill all 16 and say so in sBIT (third
edition, section 13.12), but writers of films store the 10 to 14 bits of a detector as they are. So white is, in this
order: what the user says; what sBIT says; the highest number of the fewest of BITS that hold all samples of the film,
which is noted. A film that uses more bits than were said has the next more of BITS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.filmnote import Note

BITS = (8, 10, 12, 14, 16)


def narrow(wide_HW: NDArray[np.uint16], data: bytes, said_bits: int = 0) -> tuple[NDArray[np.uint8], Note]:
    """Return the samples as 8 bits, rounded, and what is noted; `data` is the PNG, `said_bits` 0: nothing is said."""
    highest = int(wide_HW.max())
    bits = said_bits or _declared_bits(data)
    note = Note(0)
    if not bits or highest >= 2**bits:
        bits = next(each for each in BITS if highest < 2**each)
        note = Note.DEPTH if bits < 16 or said_bits else note
    white = 2**bits - 1
    grey_HW = wide_HW.astype(np.uint32)
    grey_HW *= 255
    grey_HW += white // 2
    grey_HW //= white
    return grey_HW.astype(np.uint8), note


def _declared_bits(data: bytes) -> int:
    """Return the value of a grey PNG's sBIT chunk, which precedes its pixels; 0 without one, or with one of 16 bits.

    Sixteen is what writers say who have not looked.
    """
    at = data.find(b"\0\0\0\1sBIT", 0, data.find(b"IDAT"))
    return data[at + 8] if at >= 0 and 1 <= data[at + 8] <= 15 else 0
