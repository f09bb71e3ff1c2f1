"""The arrays of an evaluation: what was predicted of each test film, and what the probe was fitted on.

In: npz files. Out: named arrays of the right kinds and lengths. Never: pickled objects.
Suffix letters: N test films, L findings, M fitted films, D features, K folds.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain

# What zipfile and NumPy raise for files that are damaged, encrypted or packed in an unknown way.
UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Predictions(NamedTuple):
    """The arrays of predictions.npz, under the same names."""

    image_id: NDArray[np.str_]
    """[N]"""
    subject_id: NDArray[np.str_]
    """[N]"""
    logits: NDArray[np.float64]
    """[N, L]; they rank better than probabilities near 0 and 1, which tie."""
    labels: NDArray[np.int8]
    """[N, L]: 1, 0 and -1 for what is not scored."""
    finding_names: NDArray[np.str_]
    """[L]"""


class ProbeFit(NamedTuple):
    """The arrays of probe.npz, under the same names."""

    fitted_on: NDArray[np.int64]
    """[M] rows of the cohort."""
    mean_D: NDArray[np.float64]
    scale_D: NDArray[np.float64]


class FoldFit(NamedTuple):
    """The arrays of folds.npz, under the same names: each fold's probe was fitted on the films of the others."""

    fold_N: NDArray[np.int64]
    """Of each scored film, from 0."""
    mean_KD: NDArray[np.float64]
    scale_KD: NDArray[np.float64]


class Weights(NamedTuple):
    """The arrays of fitted.npz, under the same names: log odds = weight (features - mean) / scale + bias."""

    finding_names: NDArray[np.str_]
    """[L]"""
    weight_LD: NDArray[np.float64]
    bias_L: NDArray[np.float64]
    """Where a finding is not fitted, that of its prevalence, which may be infinite."""
    mean_D: NDArray[np.float64]
    scale_D: NDArray[np.float64]
    is_fitted_L: NDArray[np.bool_]


class PatchWeights(NamedTuple):
    """The arrays of patches.npz, under the same names: what a probe of patches has, see `evaluate.patches`."""

    finding_names: NDArray[np.str_]
    """[L]"""
    query_LD: NDArray[np.float64]
    weight_LD: NDArray[np.float64]
    bias_L: NDArray[np.float64]
    """Where a finding is not fitted, that of its prevalence, which may be infinite."""
    mean_D: NDArray[np.float64]
    scale_D: NDArray[np.float64]
    is_fitted_L: NDArray[np.bool_]


Arrays = TypeVar("Arrays", Predictions, ProbeFit, FoldFit, Weights, PatchWeights)
AnyArrays = Predictions | ProbeFit | FoldFit | Weights | PatchWeights
_SCALED = {"bias_L": ("f", "L"), "mean_D": ("f", "D"), "scale_D": ("f", "D"), "is_fitted_L": ("b", "L")}
SHAPES = {
    Predictions: {
        "image_id": ("U", "N"),
        "subject_id": ("U", "N"),
        "logits": ("f", "NL"),
        "labels": ("i", "NL"),
        "finding_names": ("U", "L"),
    },
    ProbeFit: {"fitted_on": ("i", "M"), "mean_D": ("f", "D"), "scale_D": ("f", "D")},
    FoldFit: {"fold_N": ("i", "N"), "mean_KD": ("f", "KD"), "scale_KD": ("f", "KD")},
    Weights: {"finding_names": ("U", "L"), "weight_LD": ("f", "LD"), **_SCALED},
    PatchWeights: {"finding_names": ("U", "L"), "query_LD": ("f", "LD"), "weight_LD": ("f", "LD"), **_SCALED},
}
"""Of each array the kind of its values, as NumPy names it, and its axes."""


def pack_arrays(arrays: AnyArrays) -> bytes:
    """Return the bytes of the npz file; NumPy dates its members 1980, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays._asdict())
    return buffer.getvalue()


def read_arrays(path: Path, kind: type[Arrays]) -> Arrays:
    """Return the arrays of an npz file. Raises: IntegrityError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return kind(**{name: arrays[name] for name in kind._fields})
    except (KeyError, *UNREADABLE) as error:
        raise IntegrityError(f"{path.name} cannot be read: {plain(error, 120)}", path) from None


def check_arrays(path: Path, kind: type[AnyArrays]) -> None:
    """Look at the headers of an npz file alone: whether each array is there, of the right kind and length.

    Raises: IntegrityError.
    """
    lengths: dict[str, int] = {}
    headers = _read_headers(path, kind._fields)
    for name, (value_kind, axes) in SHAPES[kind].items():
        shape, dtype = headers[name]
        is_fit = len(shape) == len(axes) and dtype.kind == value_kind
        if not is_fit or any(lengths.setdefault(axis, num) != num for axis, num in zip(axes, shape, strict=True)):
            raise IntegrityError(f'{path.name} has no array "{name}" of the right kind and length', path)


def _read_headers(path: Path, names: Sequence[str]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                with archive.open(f"{name}.npy") as file:
                    np.lib.format.read_magic(file)
                    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                    headers[name] = shape, dtype
    except KeyError:
        raise IntegrityError(f'{path.name} has no array "{name}"', path) from None
    except UNREADABLE as error:
        raise IntegrityError(f"{path.name} cannot be read: {plain(error, 120)}", path) from None
    return headers
