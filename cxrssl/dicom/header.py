"""The header of one DICOM file as plain text and numbers.

In: a path inside the dataset folder. Out: a DicomHeader.
Never: pixels read, an exception other than DecodeError with a named rule.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cxrssl.core.filmfile import FilmFolder, open_inside, refuse
from cxrssl.core.text import plain
from cxrssl.dicom.file import (
    MAX_CHARS,
    NUM_FIRST_BYTES,
    is_dicom,
    read_dataset,
    read_syntax,
    renamed_errors,
)


@dataclass(frozen=True)
class DicomHeader:
    """Tags of one file, named as in the standard; "" and 0 are absent. A coded sequence is its first code's meaning."""

    modality: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    patient_sex: str
    patient_age: str
    patient_birth_date: str
    study_date: str
    study_time: str
    acquisition_date: str
    acquisition_time: str
    view_position: str
    view_code_meaning: str
    orientation_code_meaning: str
    body_part_examined: str
    photometric_interpretation: str
    transfer_syntax_uid: str
    rows: int
    columns: int
    number_of_frames: int
    samples_per_pixel: int


_SEQUENCES = {
    "view_code_meaning": "ViewCodeSequence",
    "orientation_code_meaning": "PatientOrientationCodeSequence",
}
_UIDS = {"sop_class_uid": "SOPClassUID", "sop_instance_uid": "SOPInstanceUID", "patient_id": "PatientID"} | {
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
}
KEYWORDS: dict[str, str] = {
    field.name: _SEQUENCES.get(field.name) or _UIDS.get(field.name) or field.name.title().replace("_", "")
    for field in fields(DicomHeader)
    if field.name != "transfer_syntax_uid"
}
"""Field -> keyword of PS3.6."""


def read_header(path: Path, root: Path | FilmFolder) -> DicomHeader:
    """Return the header of the file at `path`, relative to `root`.

    Raises: DecodeError.
    """
    where = plain(path)
    with open_inside(path, root, where) as file:
        if not is_dicom(file.read(NUM_FIRST_BYTES)):
            raise refuse("not a DICOM file", "it lacks the letters DICM and their group", where)
        file.seek(0)
        with renamed_errors(where):
            num_bytes = os.fstat(file.fileno()).st_size
            dataset = read_dataset(file, num_bytes, KEYWORDS.values(), stop_before_pixels=True)
            values: dict[str, Any] = {name: _value(dataset, name, keyword) for name, keyword in KEYWORDS.items()}
            return DicomHeader(**values, transfer_syntax_uid=read_syntax(dataset))


def _value(dataset: Any, name: str, keyword: str) -> str | int:
    value = dataset.get(keyword)
    if name in _SEQUENCES:
        value = value[0].get("CodeMeaning") if value else None
    if name in ("rows", "columns", "number_of_frames", "samples_per_pixel"):
        return int(value) if value is not None else 0
    return plain(str(value).strip(), MAX_CHARS) if value is not None else ""
