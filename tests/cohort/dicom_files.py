"""DICOM files of a few bytes with the tags that a test names, written by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

CR, DX, CAPTURE = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7"
TAGS = {
    "SOPClassUID": CR,
    "SOPInstanceUID": "1.2.3.1",
    "StudyInstanceUID": "1.2.3",
    "Modality": "CR",
    "PatientID": "7",
    "PhotometricInterpretation": "MONOCHROME2",
    "SamplesPerPixel": 1,
    "Rows": 2,
    "Columns": 2,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "PixelRepresentation": 0,
}


def write_dicom(path: Path, orientation: str = "", view_code: str = "", **tags: Any) -> Path:
    """Write a radiograph; a tag given as None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(tags.get("SOPClassUID") or CR)
    meta.MediaStorageSOPInstanceUID = UID(tags.get("SOPInstanceUID") or "1.2.3.1")
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in {**TAGS, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    for name, meaning in (("PatientOrientationCodeSequence", orientation), ("ViewCodeSequence", view_code)):
        if meaning:
            code = Dataset()
            code.CodeMeaning = meaning
            setattr(dataset, name, [code])
    dataset.PixelData = b"\0" * (tags.get("num_bytes") or 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
