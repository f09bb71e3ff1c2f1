"""Views of a film in words, and how they lie beside each other on the screen. Pure.

Suffix letters: P side of a view, G patches along it, C pixels along its tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrssl.core.columns import cell_width, cut_middle
from cxrssl.core.text import plain
from cxrssl.dashboard.text.film import SHADES, shrink_film
from cxrssl.views.shown import ShownView, ShownViews

MIN_SIDE = 8
"""Of a tile, in places; a smaller one shows nothing."""
GAP = 1
DROPPED = "×"
STARTING = "cutting the views; the first time this loads torch, which takes some seconds ..."


def views_line(shown: ShownViews, width: int) -> str:
    """Return whose views these are, and of which step, in so many places: the name of the run gives way."""
    if not shown.views:
        return f"no views: {plain(shown.why, 300)}"
    if not shown.run_id:
        return plain(shown.why, 300)
    end = f", epoch {shown.epoch + 1:,} of {shown.num_epochs:,}"
    if shown.is_trained_on:
        end += f", step {shown.step + 1:,}: film {shown.place + 1:,} of a batch of {shown.batch_size:,}"
    else:
        end += f": {plain(shown.why, 200)}"
    return f"run {cut_middle(plain(shown.run_id, 200), max(width - 4 - cell_width(end), 8))}{end}"


def view_labels(views: Sequence[ShownView]) -> list[str]:
    """Return what each view is: purpose, number among several, share of the film, share dropped, whether mirrored."""
    counts = Counter(view.purpose for view in views)
    labels = []
    for view in views:
        number = f" {view.number}" if counts[view.purpose] > 1 else ""
        dropped = "" if view.is_kept_GG is None else f" -{1 - view.is_kept_GG.mean():.0%}"
        labels.append(
            f"{plain(view.purpose, 20)}{number} {view.area_frac:.0%}{dropped}{' flip' if view.is_flipped else ''}"
        )
    return labels


def fit_tiles(num: int, width: int, height: int) -> tuple[int, int]:
    """Return in how many columns so many square tiles are largest, and their side in places (of which a line has two).

    Over each stands a line with its label. 0 columns when none is as large as MIN_SIDE.
    """
    best = 0, 0
    for columns in range(1, num + 1):
        rows = -(-num // columns)
        side = min((width + GAP) // columns - GAP, 2 * (height // rows - 1))
        if side - side % 2 > best[1]:
            best = columns, side - side % 2
    return best if best[1] >= MIN_SIDE else (0, 0)


def dropped_pixels(view: ShownView, side: int) -> npt.NDArray[np.bool_]:
    """Return which pixels of a tile are of dropped patches, [C, C]."""
    if view.is_kept_GG is None:
        return np.zeros((side, side), np.bool_)
    at_C = np.arange(side) * len(view.is_kept_GG) // side
    return np.asarray(~view.is_kept_GG[np.ix_(at_C, at_C)])


def shade_view(view: ShownView, side: int) -> list[str]:
    """Return a view in characters, two pixels of height in each; a cross stands where a patch is dropped."""
    grey_HW = shrink_film(view.pixels_PP, side, side // 2).astype(int)
    shades_HW = np.array(list(SHADES))[grey_HW * len(SHADES) // 256]
    return ["".join(row) for row in np.where(dropped_pixels(view, side)[::2], DROPPED, shades_HW)]
