"""A film in words and, where there is no colour, in characters. Pure.

Suffix letters: S the side of a packed film, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from rich.text import Text

from cxrssl.core.text import plain
from cxrssl.dashboard.seen import FilmDetail, Pixels
from cxrssl.dashboard.text.cells import NOTHING
from cxrssl.dashboard.text.sheet import Column, Sheet, make_rows, to_text
from cxrssl.dashboard.text.styles import WARNING

SHADES = " .:-=+*#%@"
HIDDEN = "hidden: hold v"


def shrink_film(film_SS: Pixels, width: int, height: int) -> Pixels:
    """Return the film in so many columns and rows, each the mean of what falls into it.

    Shapes: [S, S] -> [height, width].
    """
    side = film_SS.shape[0]
    rows_H = np.linspace(0, side, height + 1).astype(int)[:-1]
    columns_W = np.linspace(0, side, width + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(film_SS.astype(np.float64), np.unique(rows_H), 0), np.unique(columns_W), 1)
    counts = np.outer(np.diff([*np.unique(rows_H), side]), np.diff([*np.unique(columns_W), side]))
    means = (sums / counts).round().astype(np.uint8)
    at_H, at_W = np.searchsorted(np.unique(rows_H), rows_H), np.searchsorted(np.unique(columns_W), columns_W)
    return np.asarray(means[at_H][:, at_W])


def shade_lines(film_SS: Pixels, width: int) -> list[str]:
    """Return the film in characters, darker where it is darker; a character is twice as high as wide."""
    shades: npt.NDArray[np.int64] = shrink_film(film_SS, width, max(width // 2, 1)).astype(np.int64)
    return ["".join(SHADES[value * len(SHADES) // 256] for value in row) for row in shades.tolist()]


def film_line(detail: FilmDetail) -> str:
    """Return which film is shown."""
    if not detail.cohort:
        return "no cohort yet: cxrssl ingest makes one, see cxrssl help datasets"
    where = f"cohort {plain(detail.cohort, 60)}, film {detail.row + 1:,} of {detail.num_films:,}"
    split = f", split {plain(detail.split, 20)}" if detail.split else ""
    return where + split + (f" · {plain(detail.problem, 200)}" if detail.problem else "")


def film_sections(detail: FilmDetail, has_ids: bool) -> list[tuple[str, Text]]:
    """Return what is known of a film in parts with titles; its ids only if they may be seen."""
    ids = [f"{name:<14} {plain(value, 120) if has_ids else HIDDEN}" for name, value in detail.ids]
    parts = [("Ids", Text("\n".join(ids)))] if ids else []
    parts += [("Labels", Text("\n".join(to_text(label_sheet(detail)))))] if detail.labels else []
    parts += [("Record", Text("\n".join(to_text(record_sheet(detail)))))] if detail.about else []
    if detail.nearest:
        lines = [f"film {row + 1:,}, {bits} of 64 bits differ" for row, bits in detail.nearest]
        parts.append(("Films that look alike", Text("\n".join(lines))))
    parts += [("Noted while packing", Text(plain(detail.notes, 300), WARNING))] if detail.notes else []
    return parts


def record_sheet(detail: FilmDetail) -> Sheet:
    """Return what the record says of a film, and where each value is from."""
    sources = dict(detail.sources)
    columns = (Column("feature", 0, True), Column("value", 0, True), Column("from", 0, True, 1))
    texts = {
        name: [plain(name, 30), plain(value, 80), plain(sources.get(name, ""), 60)] for name, value in detail.about
    }
    return Sheet("", columns, make_rows(texts))


def label_sheet(detail: FilmDetail) -> Sheet:
    """Return the findings of a film with what a probe predicted."""
    columns = [Column("finding", 30, True), Column("label", 0, True)]
    has_scores = any(label.score is not None for label in detail.labels)
    columns += [Column("logit"), Column("above")] if has_scores else []
    texts = {}
    for label in detail.labels:
        scores = [NOTHING, NOTHING]
        if label.score is not None and label.rank is not None:
            scores = [f"{label.score:+.2f}", f"{label.rank:.0%}"]
        texts[label.finding] = [plain(label.finding, 40), label.value, *(scores if has_scores else [])]
    notes = (f"above: share of the test films with a lower score; by {plain(detail.predicted_by, 80)}",)
    return Sheet("", tuple(columns), make_rows(texts), notes if has_scores else ())
