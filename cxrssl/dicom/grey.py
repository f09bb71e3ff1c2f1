"""The greys of one DICOM radiograph: 8 bits, dense tissue bright whatever the file's polarity.

In: the bytes of a file. Out: uint8 [H, W]. The order of steps, part of PIPELINE_VERSION (DICOM PS3.3, PS3.4 N.2):
 1. stored values: the bits below HighBit, with or without sign (PS3.5 8.1.1);
 2. padding: values from PixelPaddingValue to PixelPaddingRangeLimit end black and count for nothing (C.7.5.1.1.2);
 3. modality: the modality LUT, else slope and intercept (C.11.1);
 4. VOI: the first VOI LUT, else the first window: LINEAR, LINEAR_EXACT or SIGMOID (C.11.2). A file that has several
    offers them as alternative views; the first is its default. Without any, 8 bits that step 3 left alone are greys
    already; else the lowest to the highest value that the film has become black to white;
 5. polarity: by PresentationLUTShape, INVERSE or IDENTITY (C.8.11.3); without it, inverted for MONOCHROME1
    (C.7.6.3.1.2), which a conforming file says together with INVERSE;
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
from cxrssl.dicom.pixels import Cells, DicomFilm, Lut, Window

Grey: TypeAlias = NDArray[np.uint8]
Values: TypeAlias = NDArray[np.float64]
MODALITIES = ("CR", "DX")
WHITE = 255.0
STRIP_ROWS = 64


def check_radiograph(film: DicomFilm) -> None:
    """Refuse a film that is not a radiograph; the dataset decides on body part and kind of capture.

    Raises: DecodeError.
    """
    if film.modality not in MODALITIES:
        raise refuse("not CR or DX", film.modality or "no Modality", film.where)


def decode_grey(film: DicomFilm) -> Grey:
    """Return the film, of any modality, as greys.

    Raises: DecodeError, SetupError when its codec is not installed.
    """
    cells_HW = film.read_cells()
    table = make_table(film, cells_HW)
    grey_HW = np.empty(cells_HW.shape, np.uint8)
    for strip in _strips(len(cells_HW)):
        np.take(table, cells_HW[strip], out=grey_HW[strip], mode="clip")
    return grey_HW


def make_table(film: DicomFilm, cells_HW: Cells) -> Grey:
    """Return the grey of each possible cell."""
    stored = _stored_values(film, 256 if cells_HW.dtype == np.uint8 else 65536)
    is_padding = _find_padding(film, stored)
    values = _apply_modality(film, stored)
    if film.voi_lut is not None:
        shades = _look_up(film.voi_lut, values, is_signed=bool(values.min() < 0)) * WHITE / _top(film.voi_lut)
    elif film.window is not None:
        shades = _apply_window(film, film.window, values)
    elif film.bits_stored == 8 and not film.is_signed and np.array_equal(values, stored):
        shades = values
    else:
        shades = _stretch(values, _find_used(cells_HW, len(stored)) & ~is_padding)
    if _is_inverse(film):
        shades = WHITE - shades
    greys = np.floor(shades + 0.5).astype(np.uint8)
    greys[is_padding] = 0
    return greys


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


def _apply_window(film: DicomFilm, window: Window, values: Values) -> Values:
    """Return shades from 0 to WHITE.

    Source: PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT).
    """
    center, width = window.center, window.width
    if not (np.isfinite(center) and np.isfinite(width) and width > 0):
        raise refuse("damaged", f"a window of center {center} and width {width}", film.where)
    if window.function == "SIGMOID":
        with np.errstate(over="ignore"):
            shades: Values = WHITE / (1 + np.exp(-4 * (values - center) / width))
        return shades
    if window.function == "LINEAR":
        center, width = center - 0.5, width - 1
        if width < 0:
            raise refuse("damaged", f"a linear window of width {window.width}", film.where)
    elif window.function != "LINEAR_EXACT":
        raise refuse("unsupported pixel format", f"VOILUTFunction {window.function}", film.where)
    shades = (values - center) * WHITE / (width or 1.0) + WHITE / 2
    shades[values <= center - width / 2] = 0.0
    shades[values > center + width / 2] = WHITE
    return shades


def _stretch(values: Values, is_used: NDArray[np.bool_]) -> Values:
    """Return shades over the range of the used values; black for a film of one value."""
    if not is_used.any():
        return np.zeros_like(values)
    low, high = values[is_used].min(), values[is_used].max()
    shades: Values = (values - low) * WHITE / ((high - low) or 1.0)
    return shades.clip(0, WHITE)


def _find_used(cells_HW: Cells, num_cells: int) -> NDArray[np.bool_]:
    is_used = np.zeros(num_cells, np.bool_)
    for strip in _strips(len(cells_HW)):
        is_used[cells_HW[strip]] = True
    return is_used


def _is_inverse(film: DicomFilm) -> bool:
    if film.presentation_lut_shape in ("INVERSE", "IDENTITY"):
        return film.presentation_lut_shape == "INVERSE"
    return film.photometric_interpretation == "MONOCHROME1"


def _strips(num_rows: int) -> Iterator[slice]:
    """Yield the rows in parts, because NumPy takes 8 bytes for each index."""
    for first in range(0, num_rows, STRIP_ROWS):
        yield slice(first, first + STRIP_ROWS)
