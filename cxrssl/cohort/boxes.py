"""Boxes that radiologists drew around findings, read beside the films of a dataset: NIH's list of 984.

In: an open cohort whose dataset folder is there. Out: Boxes, as fractions of the film. Never: polars, a write, or a box
of a film that is not in the cohort.
Source: Wang et al. 2017 (ChestX-ray8), section 3.3; columns x, y, w, h in pixels of the films of 1024 px.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import DataError
from cxrssl.core.text import plain

NAMES = ("BBox_List_2017.csv.gz", "BBox_List_2017.csv")
FILM_PX = 1024
"""Side of NIH's films, to which the boxes refer; a smaller copy of a film shows the same."""
SLACK_PX = 1.0
OTHER_NAMES = {"Infiltrate": "Infiltration"}
"""Names of the list -> those of the table of labels."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of films of a cohort."""

    rows_K: npt.NDArray[np.int64]
    """Row of the cohort of each box."""
    findings_K: tuple[str, ...]
    box_K4: npt.NDArray[np.float64]
    """Left, top, width and height, as fractions of the film's width and height."""
    file: str
    """Name of the list."""
    sha256: str
    num_unread: int = 0
    """Lines of the list that hold no box of a known finding."""


def read_boxes(cohort: Cohort) -> Boxes | None:
    """Return the boxes of a cohort; None where its dataset folder has no list, or is not there.

    Raises: DataError for a list that cannot be read.
    """
    path = next((cohort.root / name for name in NAMES if (cohort.root / name).is_file()), None)
    if cohort.dataset != "nih" or path is None:
        return None
    try:
        data = path.read_bytes()
        content = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))[1:]
    except (OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        what = f"the list of boxes cannot be read: {plain(error, 120)}"
        raise DataError(what, path, "fetch it again, or move it away to do without") from None
    known = set(cohort.finding_names.tolist())
    row_of = {name: row for row, name in enumerate(cohort.image_id.tolist())}
    parsed = [(line[0], _parse(line, known)) for line in lines if any(line)]
    kept = [(row_of[image_id], *found) for image_id, found in parsed if found and image_id in row_of]
    return Boxes(
        np.array([row for row, _, _ in kept], np.int64),
        tuple(finding for _, finding, _ in kept),
        np.array([box for _, _, box in kept], np.float64).reshape(-1, 4),
        path.name,
        hashlib.sha256(data).hexdigest(),
        sum(found is None for _, found in parsed),
    )


def _parse(line: Sequence[str], known: set[str]) -> tuple[str, tuple[float, ...]] | None:
    """Return finding and box of a line, None for one that holds none."""
    try:
        finding, sides = line[1].strip(), tuple(float(each) for each in line[2:6])
        left, top, width, height = sides
    except (IndexError, ValueError):
        return None
    finding = OTHER_NAMES.get(finding, finding)
    is_inside = min(left, top) >= -SLACK_PX and max(left + width, top + height) <= FILM_PX + SLACK_PX
    if finding not in known or not all(map(math.isfinite, sides)) or min(width, height) <= 0 or not is_inside:
        return None
    return finding, tuple(each / FILM_PX for each in sides)
