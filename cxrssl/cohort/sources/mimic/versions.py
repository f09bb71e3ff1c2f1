"""The releases of MIMIC in a folder.

In: files, their columns and their numbers of rows. Out: a version for each part, in words. Never: a guess between two.
"""

from __future__ import annotations

from pathlib import Path

from cxrssl.cohort.files import SourceFile, has_file
from cxrssl.cohort.tables.peek import peek_columns
from cxrssl.cohort.tables.table import SourceTable

RADIOLOGIST = "mimic-cxr-2.1.0-test-set-labeled"
RECORD_LIST = "cxr-record-list"
LABELS: dict[str, str] = {
    "chexpert": "CheXpert labeller",
    "negbio": "NegBio labeller",
    "radiologist": "CheXpert labeller, radiologists in the 2.1.0 test set",
}
"""What `--labels` takes, and what it means."""
# Rows of patients, admissions and icustays. Source: validate.sql of mimic-code, and the demo's own files.
ROWS_OF_RELEASES = {
    (315_460, 454_324, 76_943): "2.0",
    (299_712, 431_231, 73_181): "2.2",
    (364_627, 546_028, 94_458): "3.1",
    (100, 275, 140): "demo 2.2",
}


def find_versions(files: dict[str, SourceFile], jpg: Path | None, labels: str) -> dict[str, str]:
    """Return the version of each part, as far as files and columns show it."""
    columns = peek_columns(files["admissions"].path) if "admissions" in files else ()
    if "ethnicity" in columns:
        iv = "1.0 (column ethnicity)"
    elif "admit_provider_id" in columns:
        iv = "2.2 or later (column admit_provider_id)"
    elif "race" in columns:
        iv = "2.0 or 2.1 (column race, no admit_provider_id)"
    else:
        iv = "unknown"
    versions = {"MIMIC-IV": iv}
    if "edstays" in files:
        versions["MIMIC-IV-ED"] = "all versions have these columns"
    if jpg is None and "records" not in files:
        return versions
    if jpg is None:
        return versions | {"MIMIC-CXR": f"DICOM release ({RECORD_LIST})", "labels": "none"}
    has_test_labels = has_file(jpg, RADIOLOGIST)
    versions["MIMIC-CXR-JPG"] = (
        f"2.1.0 or later ({RADIOLOGIST})" if has_test_labels else f"2.0.0, or 2.1.0 without {RADIOLOGIST}"
    )
    return versions | {"labels": LABELS[labels or "chexpert"]}


def refine_version(tables: dict[str, SourceTable]) -> dict[str, str]:
    """Return MIMIC-IV's version by the rows of its tables, where they are those of one release."""
    patients, admissions, icustays = (tables[name].rows for name in ("patients", "admissions", "icustays"))
    release = ROWS_OF_RELEASES.get((patients, admissions, icustays))
    return {"MIMIC-IV": f"{release} (numbers of rows)"} if release else {}
