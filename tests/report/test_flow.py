"""The flow of films of a cohort whose pack is of another state of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.workspace import Workspace
from cxrssl.ingest import ingest_dataset
from cxrssl.report.flow import cohort_flow
from tests.images.dicom_films import draw_cells, make_film


def test_films_packed_for_another_state_of_a_cohort_are_no_step_of_its_flow(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    for name, num_films in (("three", 3), ("two", 2)):
        root = tmp_path / name
        root.mkdir()
        for number in range(num_films):
            ids = {"SOPInstanceUID": f"1.2.{number + 1}", "StudyInstanceUID": "1.3", "PatientID": "p"}
            (root / f"{number}.dcm").write_bytes(make_film(draw_cells(seed=number), **ids))
        packs = name == "three"
        options = IngestOptions("dicom", root, name=name, size_px=48, num_workers=1, may_pack=packs)
        ingest_dataset(workspace, options)
    assert [step.what for step in cohort_flow(workspace, "three").steps][-1] == "films packed"
    shutil.copytree(workspace.images / "three", workspace.images / "two")
    flow = cohort_flow(workspace, "two")
    assert flow.steps[-1].what == "films in the cohort"
    assert [sum(part[0].films for part in flow.parts), flow.steps[-1].films] == [2, 2]
