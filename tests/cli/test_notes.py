"""What is noted about films is said where they are packed, shown and audited, with what may be typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.command import run
from tests.images.dicom_films import draw_cells, make_film


def test_notes_are_shown_by_ingest_show_and_audit_and_a_choice_decides_otherwise(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tags: list[dict[str, Any]] = [{}, {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}]
    for num, each in enumerate([*tags, {"WindowCenter": 40, "WindowWidth": 80}]):
        ids = {"SOPInstanceUID": f"1.2.{num}", "StudyInstanceUID": f"1.{num}", "PatientID": str(num)}
        (tmp_path / "data" / f"{num}.dcm").write_bytes(make_film(draw_cells(), **ids, **each))
    words = ("ingest", "dicom", tmp_path / "data", "--size", 64)
    made = run(*words, workspace=tmp_path / "ws")
    assert made.returncode == 0
    shown = run("cohort", "show", "dicom", workspace=tmp_path / "ws")
    for output in (made.stdout, shown.stdout):
        assert "packed films with a note, named in noted.csv\n" in output
        assert "  PresentationLUTShape contradicts PhotometricInterpretation  1\n" in output
        assert "  window unusable, range used                                 1\n" in output
        assert "hint: look at such a film; if it is a negative, --polarity shape" in output
    noted = (tmp_path / "ws/images/dicom/noted.csv").read_text()
    assert noted.splitlines()[1:] == [
        "1.2.1,1.dcm,PresentationLUTShape contradicts PhotometricInterpretation",
        '1.2.2,2.dcm,"window unusable, range used"',
    ]
    chosen = run(*words, "--polarity", "shape", workspace=tmp_path / "ws")
    assert "3 of 3 films packed at" in chosen.stdout, "another choice packs the films again"
    wrong = run(*words, "--polarity", "guess", workspace=tmp_path / "ws")
    assert wrong.returncode == 2
    assert 'cxrssl: error: --polarity is "guess"' in wrong.stderr
