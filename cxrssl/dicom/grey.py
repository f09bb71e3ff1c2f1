"""The greys of one DICOM radiograph: 8 bits, dense tissue bright whatever the file's polarity.

In: the bytes of a file. Out: uint8 [H, W]. The order of steps, part of PIPELINE_VERSION (DICOM PS3.3, PS3.4 N.2):
 1. stored values: the bits below HighBit, with or without sign (PS3.5 8.1.1);
 2. padding: values from PixelPaddingValue to PixelPaddingRangeLimit end black and count for nothing (C.7.5.1.1.2);
 3. modality: the modality LUT, else slope and intercept (C.11.1);
 4. VOI: the first VOI LUT, else the first window: LINEAR, LINEAR_EXACT or SIGMOID (C.11.2). A file that has several
    offers them as alternative views; the first is its default. One that shows nearly all of the film in less than
    MIN_SPAN greys, or that has no width, is unusable and noted. Without a usable one, 8 bits that step 3 left alone are
    greys already; else the lowest to the highest value that the film has become black to white, or, if a few far
    values (at most MAX_FAR of the film) would leave the others little, the bulk with a quarter of its range at either
    end, which is noted;
 5. polarity: inverted for MONOCHROME1 (C.7.6.3.1.2), which a conforming file says together with PresentationLUTShape
    INVERSE (C.8.11.3). Where the two contradict each other, which is noted, PhotometricInterpretation decides: every
    file must have it and every viewer uses it, and some devices write IDENTITY always. It can be chosen otherwise;
 6. 8 bits: rounded half up, once. All before is float64, with products before quotients: exact for whole values.
All this depends on the stored value alone, so it is a table of at most 65,536 entries. Films are resized after it:
averages of 8-bit greys differ from those of unrounded ones by less than one grey level.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.filmfile import refuse
from cxrssl.core.filmnote import Note
from cxrssl.dicom.band import has_band
from cxrssl.dicom.pixels import Cells, DicomFilm, Lut, Window

Grey: TypeAlias = NDArray[np.uint8]
Values: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]
MODALITIES = ("CR", "DX")
WHITE = 255.0
STRIP_ROWS = 64
MIN_SPAN = 32
"""Greys of the bulk of a film."""
BULK = (0.05, 0.95)
"""Percentiles from which and to which it reaches."""
MIN_VALUES = 1 / 64
"""A film that varies over a smaller part of its bits is flat itself, whatever its window."""
MAX_FAR = 0.02
SAMPLED_ROWS = 4
"""Each so many rows, one counts for what a window shows."""


def check_radiograph(film: DicomFilm) -> None:
    """Refuse a film that says that it is no radiograph.

    The dataset decides on body part, on the kind of capture, and on films without a modality.

    Raises: DecodeError.
    """
    if film.modality and film.modality not in MODALITIES:
        raise refuse("not CR or DX", film.modality, film.where)


def decode_grey(film: DicomFilm) -> Grey:
    """Return the film, of any modality, as greys.

    Raises: DecodeError, SetupError when its codec is not installed.
    """
    return decode_noted(film)[0]


def decode_noted(film: DicomFilm, by_shape: bool = False) -> tuple[Grey, Note]:
    """Return the film as greys, and what is noted about it; `by_shape`: PresentationLUTShape decides on polarity.

    Raises: as `decode_grey`.
    """
    cells_HW = film.read_cells()
    table, note = make_table(film, cells_HW, by_shape)
    grey_HW = np.empty(cells_HW.shape, np.uint8)
    for strip in _strips(len(cells_HW)):
        np.take(table, cells_HW[strip], out=grey_HW[strip], mode="clip")
    is_holed = film.is_native and has_band(cells_HW)
    return grey_HW, note | film.note | (Note.BAND if is_holed else Note(0))


def make_table(film: DicomFilm, cells_HW: Cells, by_shape: bool = False) -> tuple[Grey, Note]:
    """Return the grey of each possible cell, and what is noted."""
    stored = _stored_values(film, 256 if cells_HW.dtype == np.uint8 else 65536)
    is_padding = _find_padding(film, stored)
    values = _apply_modality(film, stored)
    shades = _apply_voi(film, values)
    note = Note(0)
    if shades is None or _shows_nothing(film, shades, values, _count(cells_HW[::SAMPLED_ROWS], is_padding)):
        note = Note.WINDOW if film.voi_lut is not None or film.window is not None else note
        if film.bits_stored == 8 and not film.is_signed and np.array_equal(values, stored):
            shades = values
        else:
            shades, has_far = _stretch(values, _count(cells_HW, is_padding))
            note |= Note.OUTLIERS if has_far else Note(0)
    is_inverse, contradicts = _find_polarity(film, by_shape)
    if is_inverse:
        shades = WHITE - shades
    greys = np.floor(shades + 0.5).astype(np.uint8)
    greys[is_padding] = 0
    return greys, note | (Note.POLARITY if contradicts else Note(0))


def _stored_values(film: DicomFilm, num_cells: int) -> NDArray[np.int64]:
    stored = np.arange(num_cells) >> (film.high_bit + 1 - film.bits_stored) & (2**film.bits_stored - 1)
    return _with_sign(stored, film.bits_stored) if film.is_signed else stored


def _with_sign(words: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    return words - ((words >> (bits - 1)) << bits)


def _find_padding(film: DicomFilm, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
    if film.padding is None:
        return np.zeros(len(stored), np.bool_)
    ends = np.array(film.padding) & (2**film.bits_allocated - 1)
    low, high = sorted((_with_sign(ends, film.bits_allocated) if film.is_signed else ends).tolist())
    is_padding: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return is_padding


def _apply_modality(film: DicomFilm, stored: NDArray[np.int64]) -> Values:
    if film.modality_lut is not None:
        return _look_up(film.modality_lut, stored.astype(np.float64), is_signed=film.is_signed)
    if not np.isfinite(film.rescale_intercept) or not np.isfinite(film.rescale_slope) or film.rescale_slope == 0:
        raise refuse("damaged", f"slope {film.rescale_slope} and intercept {film.rescale_intercept}", film.where)
    values: Values = stored.astype(np.float64) * film.rescale_slope + film.rescale_intercept
    return values


def _look_up(lut: Lut, values: Values, is_signed: bool) -> Values:
    """Return the entries; inputs are rounded half up, and those outside the table get its first or last entry."""
    first = lut.first - 65536 if is_signed and lut.first >= 32768 else lut.first
    places = np.clip(np.floor(values + 0.5) - first, 0, len(lut.entries) - 1).astype(np.int64)
    entries: Values = lut.entries[places].astype(np.float64)
    return entries.clip(max=_top(lut))


def _top(lut: Lut) -> float:
    return 2.0**lut.bits - 1


def _apply_voi(film: DicomFilm, values: Values) -> Values | None:
    """Return shades from 0 to WHITE, or None without a VOI LUT and without a window of any width."""
    if film.voi_lut is not None:
        shades: Values = _look_up(film.voi_lut, values, is_signed=bool(values.min() < 0)) * WHITE / _top(film.voi_lut)
        return shades
    return _apply_window(film, film.window, values) if film.window is not None else None


def _shows_nothing(film: DicomFilm, shades: Values, values: Values, counts: Counts) -> bool:
    """Return whether nearly all of a film that is not flat itself has less than MIN_SPAN of these shades."""
    low, high = _percentiles(np.floor(shades + 0.5), counts, *BULK)
    if high - low >= MIN_SPAN:
        return False
    low, high = _percentiles(values, counts, *BULK)
    return bool(high - low >= MIN_VALUES * 2**film.bits_stored * abs(film.rescale_slope))


def _apply_window(film: DicomFilm, window: Window, values: Values) -> Values | None:
    """Return shades from 0 to WHITE, or None for a window without a width or a place.

    Source: PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT).
    """
    center, width = window.center, window.width
    if window.function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise refuse("unsupported pixel format", f"VOILUTFunction {window.function}", film.where)
    least = 1 if window.function == "LINEAR" else 0
    if not (np.isfinite(center) and np.isfinite(width) and width > 0 and width >= least):
        return None
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            sigmoid: Values = WHITE / (1 + np.exp(-4 * (values - center) / width))
        return sigmoid
    if window.function == "LINEAR":
        center, width = center - 0.5, width - 1
    shades: Values = (values - center) * WHITE / (width or 1.0) + WHITE / 2
    shades[values <= center - width / 2] = 0.0
    shades[values > center + width / 2] = WHITE
    return shades


def _stretch(values: Values, counts: Counts) -> tuple[Values, bool]:
    """Return shades over the range of the film, and whether far values were clipped; black for a film of one value."""
    used = values[counts > 0]
    if not len(used):
        return np.zeros_like(values), False
    low, high = used.min(), used.max()
    start, end = _percentiles(values, counts, *BULK)
    spare = (end - start) / 4
    near = max(low, start - spare), min(high, end + spare)
    is_far = (values < near[0]) | (values > near[1])
    has_far = 0 < 4 * (end - start) < high - low and bool(counts[is_far].sum() <= MAX_FAR * counts.sum())
    if has_far:
        low, high = near
    shades: Values = (values - low) * WHITE / ((high - low) or 1.0)
    return shades.clip(0, WHITE), has_far


def _percentiles(values: Values, counts: Counts, *shares: float) -> tuple[float, ...]:
    """Return the values at these shares of the film, or zeros where nothing counts."""
    used = np.flatnonzero(counts)
    if not len(used):
        return (0.0,) * len(shares)
    order = used[np.argsort(values[used], kind="stable")]
    total = np.cumsum(counts[order])
    return tuple(float(values[order[np.searchsorted(total, share * total[-1])]]) for share in shares)


def _count(cells_HW: Cells, is_padding: NDArray[np.bool_]) -> Counts:
    """Return how often each cell occurs; padding counts for nothing."""
    counts = np.zeros(len(is_padding), np.int64)
    for strip in _strips(len(cells_HW)):
        counts += np.bincount(cells_HW[strip].ravel(), minlength=len(counts))
    counts[is_padding] = 0
    return counts


def _find_polarity(film: DicomFilm, by_shape: bool) -> tuple[bool, bool]:
    """Return whether white and black change places, and whether the header contradicts itself about it."""
    is_inverse, shape = film.photometric_interpretation == "MONOCHROME1", film.presentation_lut_shape
    contradicts = shape in ("INVERSE", "IDENTITY") and is_inverse != (shape == "INVERSE")
    return is_inverse != (contradicts and by_shape), contradicts


def _strips(num_rows: int) -> Iterator[slice]:
    """Yield the rows in parts, because NumPy takes 8 bytes for each index."""
    for first in range(0, num_rows, STRIP_ROWS):
        yield slice(first, first + STRIP_ROWS)
