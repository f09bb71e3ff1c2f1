"""Odd cohorts beside good ones: what stops the look at one of them is a finding, and all others are still made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxrssl.audit import cohorts
from cxrssl.audit.checks import Result
from cxrssl.audit.everything import audit_workspace
from cxrssl.audit.ids import audit_ids
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.ingest import ingest_dataset
from tests.audit.conftest import republish_cohort
from tests.images.dicom_films import draw_cells, make_film


def add_unlabelled(workspace: Workspace, folder: Path, num_films: int = 3) -> Workspace:
    """Ingest DICOM films of two subjects without labels as cohort `dicom`."""
    folder.mkdir()
    for number in range(num_films):
        ids = {"SOPInstanceUID": f"1.2.{number + 1}", "StudyInstanceUID": f"1.3.{number + 1}"}
        film = make_film(draw_cells(seed=number), **ids, PatientID=f"p{number % 2}")
        (folder / f"{number}.dcm").write_bytes(film)
    ingest_dataset(workspace, IngestOptions("dicom", folder, size_px=48, num_workers=1))
    return workspace


@pytest.fixture
def odd(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The clean hospital and, beside it, a cohort without findings."""
    return add_unlabelled(workspace, tmp_path / "dicoms")


def test_a_cohort_without_findings_is_audited_as_any_other(odd: Workspace) -> None:
    assert open_cohort(odd.cohorts / "dicom").label_values.shape == (3, 0)
    audit = audit_workspace(odd)
    assert audit.codes == set()
    assert {"cohort dicom", "cohort mimic"} <= set(audit.by_subject)


def test_a_target_may_be_a_finding_of_one_cohort_alone(odd: Workspace) -> None:
    assert audit_workspace(odd, targets=["Edema"]).codes == set()
    with pytest.raises(UsageError, match='no finding or feature "Edma"'):
        audit_workspace(odd, targets=["Edma"])


def test_an_array_without_findings_that_differs_is_still_found(odd: Workspace) -> None:
    cohort = open_cohort(odd.cohorts / "dicom")
    republish_cohort(odd, "dicom", label_values=np.zeros((len(cohort), 1), np.int8), finding_names=np.array(["x"]))
    assert "arrays-differ-from-database" in audit_workspace(odd, "dicom").codes


def test_what_stops_the_look_at_one_cohort_leaves_the_others(odd: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = audit_workspace(odd)

    def stop(cohort: Cohort) -> list[Result]:
        if cohort.name == "mimic":
            return audit_ids(cohort)
        raise IndexError("list index out of range")

    monkeypatch.setattr(cohorts, "audit_ids", stop)
    audit = audit_workspace(odd)
    (found,) = audit.refusals
    assert (found.code, found.about) == ("audit-stopped", "cohort dicom")
    assert found.finding == "cohort dicom: IndexError: list index out of range"
    assert audit.by_subject["cohort mimic"] == whole.by_subject["cohort mimic"]
    assert len(audit.by_subject["cohort dicom"].results) > 5


def test_a_machine_that_cannot_is_no_finding(odd: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cohort: Cohort) -> list[Result]:
        raise SetupError("the disk is full")

    monkeypatch.setattr(cohorts, "audit_ids", fail)
    with pytest.raises(SetupError, match="the disk is full"):
        audit_workspace(odd)


def test_a_cohort_whose_summary_lacks_what_it_should_hold_is_named_and_leaves_the_others(odd: Workspace) -> None:
    republish_file(odd, "dicom", "summary.json", b"{}")
    audit = audit_workspace(odd)
    assert {each.about for each in audit.findings} == {"cohort dicom"}
    assert audit.codes == {"audit-stopped"}
    republish_file(odd, "dicom", "summary.json", b"{")
    assert {each.about for each in audit_workspace(odd).findings} == {"cohort dicom"}


def test_films_packed_for_another_state_of_a_cohort_are_named_once_and_looked_at_no_more(odd: Workspace) -> None:
    cohort = open_cohort(odd.cohorts / "mimic")
    other = open_cohort(odd.cohorts / "dicom")
    shutil.rmtree(odd.images / "dicom")
    shutil.copytree(odd.images / "mimic", odd.images / "dicom")
    assert len(cohort) != len(other)
    audit = audit_workspace(odd)
    assert audit.codes == {"films-of-another-cohort"}


def republish_file(workspace: Workspace, cohort: str, file: str, data: bytes) -> None:
    """Publish a cohort again with another file: right hashes around wrong content."""
    from cxrssl.core.durable import hash_settings, sha256_file

    path = workspace.cohorts / cohort / file
    path.write_bytes(data)
    manifest = path.with_name("manifest.json")
    content = json.loads(manifest.read_text())
    del content["manifest_sha256"]
    content["files"][file] |= {"sha256": sha256_file(path), "bytes": len(data)}
    manifest.write_text(json.dumps({**content, "manifest_sha256": hash_settings(content)}))
