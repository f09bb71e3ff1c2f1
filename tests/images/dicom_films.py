"""DICOM radiographs as bytes, written by pydicom: cells and tags as a test names them, in any transfer syntax."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import compress
from pydicom.uid import UID

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BASELINE, EXTENDED, LOSSLESS_SV1 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_2000, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
DX, CAPTURE = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7"


def draw_cells(rows: int = 40, columns: int = 48, bits: int = 12, seed: int = 0) -> np.ndarray:
    """Return a smooth picture with some grain over the range of `bits`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    waves = np.sin(x / 7) + np.cos(y / 5) + rng.normal(0, 0.02, (rows, columns))
    return np.asarray(np.clip((waves + 2) / 4 * (2**bits - 1), 0, 2**bits - 1)).astype(
        np.uint8 if bits <= 8 else np.uint16
    )


def make_dataset(cells: np.ndarray, **tags: Any) -> Dataset:
    """Return a radiograph of 12 or 8 bits with explicit VRs; a tag given as None is left out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    size = {"Rows": cells.shape[0], "Columns": cells.shape[1]}
    bits_allocated = cells.dtype.itemsize * 8
    bits_stored = int(tags.get("BitsStored") or min(bits_allocated, 12))
    known = {
        "SOPClassUID": DX,
        "SOPInstanceUID": "1.2.3.4",
        "Modality": "DX",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits_allocated,
        "BitsStored": bits_stored,
        "HighBit": bits_stored - 1,
        "PixelRepresentation": 0,
    }
    for name, value in {**known, **size, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = cells.astype(cells.dtype.newbyteorder("<")).tobytes() + b"\0" * (cells.nbytes % 2)
    dataset["PixelData"].VR = "OB" if bits_allocated == 8 else "OW"
    return dataset


def make_film(cells: np.ndarray, syntax: str = EXPLICIT, **tags: Any) -> bytes:
    """Return the file, compressed without loss where the syntax asks for it."""
    dataset = make_dataset(cells, **tags)
    if syntax in (JPEG_LS, JPEG_2000, RLE):
        compress(dataset, syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return write_film(dataset)


def wrap_codestream(codestream: bytes, syntax: str, **tags: Any) -> bytes:
    """Return a file whose pixels are this codestream; Rows, Columns and bits as in `tags`."""
    dataset = make_dataset(np.zeros((2, 2), np.uint8), **tags)
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return write_film(dataset)


def write_film(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
