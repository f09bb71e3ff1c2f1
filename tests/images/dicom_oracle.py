"""The grey of a stored value by the words of the standard, one value at a time, in exact fractions.

And the 48 films of goal R37. Nothing is shared with `cxrssl.dicom.grey`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.images.dicom_films import make_dataset, write_film

NUM_CASES = 48
ROWS, COLUMNS = 24, 32
DENSE, AIR = (0, 0), (ROWS - 1, COLUMNS - 1)
"""Places of the densest tissue and of air, in every film."""
VOIS = ("window", "lut", "both", "several", "none", "exact", "sigmoid")


@dataclass(frozen=True)
class Case:
    """One film of the table: the factors of goal R37."""

    num: int
    is_inverse: bool
    shape: str
    """PresentationLUTShape, or "" """
    is_signed: bool
    bits: int
    bits_allocated: int
    high_bit: int
    modality: str
    voi: str
    padding: str
    spacing: bool


def make_case(num: int) -> Case:
    is_inverse, bits = num % 2 == 1, (8, 10, 12, 14, 16)[num % 5]
    bits_allocated = 8 if bits == 8 and num % 4 < 2 else 16
    spare = bits_allocated - bits
    return Case(
        num=num,
        is_inverse=is_inverse,
        shape=(("IDENTITY", "INVERSE")[is_inverse], "", "")[num // 4 % 3],
        is_signed=num // 2 % 2 == 1,
        bits=bits,
        bits_allocated=bits_allocated,
        high_bit=bits - 1 + (spare // 2 if num % 11 == 2 else 0),
        modality=("rescale", "none", "lut")[num % 3],
        voi=VOIS[num % 7],
        padding=("none", "value", "range")[num // 3 % 3],
        spacing=num % 6 == 0,
    )


def lowest(case: Case) -> int:
    return -(2 ** (case.bits - 1)) if case.is_signed else 0


def stored_values(case: Case) -> np.ndarray:
    """Return the film's numbers: falling density from DENSE to AIR, and padding on the left border if there is any."""
    span = 2**case.bits - 1
    rng = np.random.default_rng(case.num)
    ramp = np.linspace(0.97, 0.06, ROWS * COLUMNS) * span + rng.integers(-2, 3, ROWS * COLUMNS) * (case.bits > 8)
    values: np.ndarray = np.clip(np.rint(ramp), 3, span - 3).astype(np.int64).reshape(ROWS, COLUMNS)
    if case.is_inverse:
        values = span - values
    values += lowest(case)
    if case.padding != "none":
        values[1:, 0] = padding_ends(case)[0]
    if case.padding == "range":
        values[5:, 0] = padding_ends(case)[1]
    return values


def padding_ends(case: Case) -> tuple[int, int]:
    """Return the two ends: of the largest numbers, or of the lowest, in falling order."""
    if case.num % 2:
        top = lowest(case) + 2**case.bits - 1
        return (top, top - 2) if case.padding == "range" else (top, top)
    return (lowest(case) + 2, lowest(case)) if case.padding == "range" else (lowest(case), lowest(case))


def slope_intercept(case: Case) -> tuple[float, float]:
    if case.bits in (8, 16):  # dcmtk rounds here, which shows in narrow windows and long tables
        return (3.0, -100.0) if case.bits == 8 else (1.0, -1000.0)
    return (0.5, -100.25) if case.num % 4 == 0 else (1.25, 7.0) if case.num % 4 == 1 else (2.0, -1024.0)


@cache
def modality_table(case: Case) -> tuple[int, list[int], int]:
    """Return the first input, the entries and their bits: it begins after the lowest and ends before the top input."""
    entries = [min(2**12 - 1, 3 * k // 2) for k in range(200)]
    return lowest(case) + 2 ** (case.bits - 1), entries, 12


@cache
def modality_range(case: Case) -> tuple[Fraction, Fraction]:
    """Return the lowest and the highest value after the modality step."""
    ends = [after_modality(case, value) for value in (lowest(case), lowest(case) + 2**case.bits - 1)]
    return min(ends), max(ends)


@cache
def window_of(case: Case) -> tuple[float, float]:
    """Return centre and width: most of the range."""
    low, high = modality_range(case)
    return float(round((low + high) / 2)) + 0.5 * (case.num % 2), float(round((high - low) * 4 / 5))


@cache
def voi_table(case: Case) -> tuple[int, list[int], int]:
    low, high = modality_range(case)
    first, num = math.floor(low) + 5, min(65_000, max(20, int(high - low) - 10))
    bits = 8 if case.num % 3 == 0 else 12
    return first, [(2**bits - 1) * k // (num - 1) for k in range(num)], bits


def after_modality(case: Case, stored: int) -> Fraction:
    if case.modality == "lut":
        return Fraction(look_up(modality_table(case), Fraction(stored)))
    slope, intercept = slope_intercept(case) if case.modality == "rescale" else (1.0, 0.0)
    return stored * Fraction(slope) + Fraction(intercept)


def look_up(table: tuple[int, list[int], int], value: Fraction) -> int:
    first, entries, _ = table
    return entries[min(max(math.floor(value + Fraction(1, 2)) - first, 0), len(entries) - 1)]


def after_window(kind: str, value: Fraction, center: float, width: float) -> Fraction:
    """Return y of C.11.2.1.2.1, C.11.2.1.3.1 or C.11.2.1.3.2 for output from 0 to 255."""
    if kind == "sigmoid":
        return Fraction(255.0 / (1.0 + math.exp(-4.0 * (float(value) - center) / width)))
    x, c, w = value, Fraction(center), Fraction(width)
    if kind == "exact":
        if x <= c - w / 2:
            return Fraction(0)
        return Fraction(255) if x > c + w / 2 else ((x - c) / w + Fraction(1, 2)) * 255
    half = Fraction(1, 2)
    if x <= c - half - (w - 1) / 2:
        return Fraction(0)
    return Fraction(255) if x > c - half + (w - 1) / 2 else ((x - (c - half)) / (w - 1) + half) * 255


def is_padding(case: Case, stored: int) -> bool:
    ends = padding_ends(case)
    return case.padding != "none" and min(ends) <= stored <= max(ends)


def greys(case: Case) -> np.ndarray:
    """Return the whole film, uint8."""
    stored = stored_values(case)
    shown = [after_modality(case, v) for v in sorted({*stored.ravel().tolist()}) if not is_padding(case, v)]
    low, high = min(shown), max(shown)
    known = {value: grey(case, value, low, high) for value in {*stored.ravel().tolist()}}
    return np.asarray(np.vectorize(known.__getitem__)(stored), np.uint8)


def grey(case: Case, stored: int, low: Fraction, high: Fraction) -> int:
    if is_padding(case, stored):
        return 0
    value = after_modality(case, stored)
    if case.voi in ("lut", "both"):
        table = voi_table(case)
        shade = Fraction(look_up(table, value) * 255, 2 ** table[2] - 1)
    elif case.voi != "none":
        shade = after_window(case.voi, value, *window_of(case))
    elif case.bits == 8 and not case.is_signed and case.modality == "none":
        shade = value
    else:
        shade = (value - low) * 255 / (high - low)
    if case.is_inverse:
        shade = 255 - shade
    return math.floor(shade + Fraction(1, 2))


def film_of(case: Case) -> bytes:
    return write_film(dataset_of(case))


def dataset_of(case: Case) -> Dataset:
    shift = case.high_bit + 1 - case.bits
    words = (stored_values(case) & (2**case.bits - 1)) << shift
    cells = words.astype(np.uint8 if case.bits_allocated == 8 else np.uint16)
    tags: dict[str, Any] = {
        "BitsStored": case.bits,
        "HighBit": case.high_bit,
        "PixelRepresentation": int(case.is_signed),
        "PhotometricInterpretation": "MONOCHROME1" if case.is_inverse else "MONOCHROME2",
        "PresentationLUTShape": case.shape or None,
    }
    if case.spacing:
        tags |= {"PixelSpacing": [0.5, 0.2], "ImagerPixelSpacing": [0.4, 0.1]}
    dataset = make_dataset(cells, **tags)
    word = "SS" if case.is_signed else "US"
    if case.padding != "none":
        dataset.add_new("PixelPaddingValue", word, padding_ends(case)[0])
    if case.padding == "range":
        dataset.add_new("PixelPaddingRangeLimit", word, padding_ends(case)[1])
    if case.modality == "rescale":
        dataset.RescaleSlope, dataset.RescaleIntercept = slope_intercept(case)
        dataset.RescaleType = "US"
    if case.modality == "lut":
        dataset.ModalityLUTSequence = [make_lut(modality_table(case), word, "US")]
        dataset.ModalityLUTSequence[0].ModalityLUTType = "US"
    if case.voi in ("lut", "both"):
        first = "SS" if modality_range(case)[0] < 0 else "US"
        dataset.VOILUTSequence = [make_lut(voi_table(case), first, "OW")]
    if case.voi not in ("lut", "none"):
        center, width = window_of(case)
        several = case.voi == "several"
        dataset.WindowCenter = [center, center + 100] if several else center
        dataset.WindowWidth = [width, width / 2] if several else width
    if case.voi in ("exact", "sigmoid"):
        dataset.VOILUTFunction = {"exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}[case.voi]
    return dataset


def make_lut(table: tuple[int, list[int], int], first_word: str, data_word: str) -> Dataset:
    first, entries, bits = table
    item = Dataset()
    item.add_new("LUTDescriptor", first_word, [len(entries), first, bits])
    data = entries if data_word == "US" else np.array(entries, "<u2").tobytes()
    item.add_new("LUTData", data_word, data)
    return item
