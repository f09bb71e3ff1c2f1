"""Packed films whose greys look odd, or whose headers contradict themselves: as noted when they were decoded.

In: packed films. Out: counts by note, and a few rows. Numpy only.
"""

from __future__ import annotations

import numpy as np

from cxrssl.audit.checks import Result, report_finding, skip_check
from cxrssl.core.filmnote import LOOKS, WORDS, count_notes
from cxrssl.core.text import count_noun
from cxrssl.images.store import ImageStore

ODD, DECIDED = "films-look-odd", "headers-contradict"


def audit_greys(images: ImageStore | None) -> list[Result]:
    """Return what was noted about the films of a pack."""
    if images is None:
        return [skip_check(code, "the films are not packed") for code in (ODD, DECIDED)]
    compared = count_noun(int(images.is_packed_N.sum()), "packed film")
    results = []
    for code, bits in ((ODD, int(LOOKS)), (DECIDED, sum(WORDS) & ~int(LOOKS))):
        notes = images.index.note & bits
        rows = np.flatnonzero(notes)
        counts = ", ".join(f"{words} {num:,}" for words, num in count_notes(notes.tolist()).items())
        finding = f"{count_noun(len(rows), 'film')}: {counts}" if len(rows) else ""
        results.append(report_finding(code, compared, finding, rows.tolist()))
    return results
