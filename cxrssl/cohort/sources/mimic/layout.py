"""The places of the tables and the films of MIMIC, in the trees of its releases."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cxrssl.cohort.files import Folder, Layout, SourceFile, find_folder, find_one_folder, has_file, has_table, pick_file
from cxrssl.cohort.sources import SourceOptions
from cxrssl.cohort.sources.mimic.versions import LABELS, RADIOLOGIST, RECORD_LIST, find_versions
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import nearest_hint, plain

CXR = "mimic-cxr-2.0.0"  # release 2.1.0 keeps these names
SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm")
"""Suffixes of films; a film that exists in several forms is read in the first of them."""


def is_here(folder: Folder) -> bool:
    """Return whether the folder has a table of MIMIC-CXR-JPG or of MIMIC-CXR, or is the root of MIMIC-IV."""
    return _is_jpg(folder) or _is_record_list(folder) or _is_ehr(folder)


def find(options: SourceOptions) -> Layout:
    """Return where the films' tables are under `path`, and MIMIC-IV and its ED module under `ehr` or `path`.

    The films are under `films`, else beside the tables of MIMIC-CXR-JPG, else beside the record list of MIMIC-CXR.
    """
    if options.labels and options.labels not in LABELS:
        raise UsageError(
            f'there are no labels "{plain(options.labels, 60)}"', hint=nearest_hint(options.labels, LABELS)
        )
    jpg = find_folder(options.path, "MIMIC-CXR-JPG", _is_jpg)
    has_films = options.films is not None or (jpg is not None and (jpg / "files").is_dir())
    dicom = None if jpg and has_films else find_folder(options.path, "MIMIC-CXR", _is_record_list)
    picked = _Picked()
    if jpg is not None:
        _pick_jpg_tables(jpg, options.labels, picked)
    elif dicom is not None:
        _pick_record_list(dicom, options.labels, picked)
    else:
        hint = f"looked for {CXR}-metadata.csv.gz, or {RECORD_LIST}.csv.gz of the DICOM release"
        picked.missing.append(DataError("no MIMIC-CXR-JPG and no MIMIC-CXR found", options.path, hint))
    _pick_hospital_tables(options, picked)
    root = options.films or (jpg if jpg and has_films else dicom or jpg or options.path)
    return Layout(
        "mimic",
        root,
        picked.files,
        ("",) if options.films and not (root / "files").is_dir() else ("files",),
        picked.remarks,
        SUFFIXES,
        find_versions(picked.files, jpg, options.labels),
        ("metadata",) if jpg else ("records",),
        picked.missing,
        has_headers="records" in picked.files,
        modules=picked.modules,
    )


@dataclass
class _Picked:
    """The files found so far, and errors for the files that should exist."""

    files: dict[str, SourceFile] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    missing: list[DataError] = field(default_factory=list)
    modules: dict[str, Path] = field(default_factory=dict)

    def pick(self, name: str, folder: Path, file: str, prefix: str = "", instead: str = "") -> None:
        try:
            self.files[name] = pick_file(folder, file, self.remarks, prefix)
        except DataError as error:
            self.missing.append(DataError(error.what, error.where, f"{error.hint}{instead}"))


def _pick_jpg_tables(folder: Path, labels: str, picked: _Picked) -> None:
    picked.pick("metadata", folder, f"{CXR}-metadata.csv", instead=f"; {RECORD_LIST}.csv.gz with DICOM films, too")
    name, other = ("negbio", "chexpert") if labels == "negbio" else ("chexpert", "negbio")
    instead = f"; or take the other labeller's with --labels {other}" if has_file(folder, f"{CXR}-{other}") else ""
    picked.pick("labels", folder, f"{CXR}-{name}.csv", instead=instead)
    if labels == "radiologist":
        picked.pick("radiologists", folder, f"{RADIOLOGIST}.csv", instead="; it came with release 2.1.0")
    picked.pick("split", folder, f"{CXR}-split.csv")


def _pick_record_list(folder: Path, labels: str, picked: _Picked) -> None:
    if labels:
        hint = f"put {CXR}-metadata, -chexpert and -split of MIMIC-CXR-JPG under the same path"
        raise DataError("MIMIC-CXR as DICOM has no labels", folder, hint)
    picked.pick("records", folder, f"{RECORD_LIST}.csv")
    picked.remarks += [
        f"no {CXR}-metadata.csv.gz: view, size and time come from the DICOM tags",
        f"no {CXR}-chexpert.csv.gz: no findings, so only for pretraining",
        f"no {CXR}-split.csv.gz: no official split",
    ]


def _pick_hospital_tables(options: SourceOptions, picked: _Picked) -> None:
    place = options.ehr or options.path
    looked_for = "a folder with hosp/patients.csv.gz, hosp/admissions.csv.gz and icu/icustays.csv.gz"
    try:
        ehr = find_one_folder(place, "MIMIC-IV", _is_ehr, looked_for)
    except DataError as error:
        hint = f"{error.hint}; if they are elsewhere, use --ehr"
        picked.missing.append(DataError(error.what, error.where, hint))
        return
    # Version 1.0 keeps patients and admissions in core/.
    hosp = "core" if not (ehr / "hosp").is_dir() or has_file(ehr / "core", "patients") else "hosp"
    for name, folder in (("patients", hosp), ("admissions", hosp), ("icustays", "icu")):
        picked.pick(name, ehr / folder, f"{name}.csv", prefix=f"{folder}/")
    picked.modules |= {name: ehr / name for name in ("hosp", "icu")}
    ed = find_folder(place, "MIMIC-IV-ED", _is_ed) or (
        find_folder(options.path, "MIMIC-IV-ED", _is_ed) if options.ehr else None
    )
    if ed is not None:
        picked.pick("edstays", ed / "ed", "edstays.csv", prefix="ed/")
        picked.modules["ed"] = ed / "ed"
    else:
        picked.remarks.append("no ed/edstays.csv.gz: emergency stays are known only for admitted patients")


def _is_jpg(folder: Folder) -> bool:
    return any(has_table(folder, f"{CXR}-{name}") for name in ("metadata", "chexpert", "split"))


def _is_record_list(folder: Folder) -> bool:
    return has_table(folder, RECORD_LIST)


def _is_ed(folder: Folder) -> bool:
    return "ed" in folder.folders and has_file(folder.path / "ed", "edstays")


def _is_ehr(folder: Folder) -> bool:
    places = {"hosp": ("patients", "admissions"), "core": ("patients", "admissions"), "icu": ("icustays",)}
    return any(has_file(folder.path / name, stem) for name in folder.folders & set(places) for stem in places[name])
