"""A probe fitted in the synthetic MIMIC, applied to a second synthetic hospital where every finding is commoner."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cxrssl.cohort.ingest import IngestOptions
from cxrssl.cohort.split import Shares
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.evaluate.transfer import carry_probe, run_maker
from cxrssl.images.store import open_images
from cxrssl.ingest import ingest_dataset
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.fitted import find_calibrations
from cxrssl.stats.calibration import is_off
from cxrssl.synthetic import HospitalSpec, write_hospital
from tests.export.encoders import publish_run

ODDS = 4.0
FINDINGS = ("Edema", "Pleural Effusion")
"""Those that an encoder without training sees."""
HALVES = Shares(40, 30, 30)


@pytest.mark.slow
def test_the_ranking_stays_the_probabilities_are_off_and_val_there_repairs_them(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace").create()
    for name, seed, odds in (("first", 0, 1.0), ("second", 1, ODDS)):
        write_hospital(tmp_path / name, HospitalSpec(400, seed, film_px=64, record="none", odds=odds))
        options = IngestOptions("mimic", tmp_path / name, name=name, size_px=64, num_workers=1, shares=HALVES)
        ingest_dataset(workspace, options)
    packed = open_images(workspace.images / "first")
    changes = ("views.global_px=64", "model.patch_px=8")
    publish_run(workspace, "own", cohort="first", images_sha256=packed.content_sha256, changes=changes)
    settings = ProbeSettings(num_resamples=200)
    (here,) = probe_run(workspace, "own", "first", "hash", settings, ProbeChoices(baselines=False))
    (transfer,) = carry_probe(workspace, here, ["second"], run_maker(workspace, here, "cpu"), ProbeChoices())
    calibrations = find_calibrations(transfer.carried)
    assert calibrations is not None
    for finding in ("macro", *FINDINGS):
        assert transfer.change[finding].lo <= 0 <= transfer.change[finding].hi
    for finding in FINDINGS:
        assert transfer.carried.scores.findings[finding].auroc.lo > 0.5
        found = calibrations.findings[finding]
        assert found.raw is not None
        assert found.after_there is not None
        assert is_off(found.raw.intercept)
        assert found.raw.intercept.value == pytest.approx(math.log(ODDS), abs=0.7)
        assert not is_off(found.after_there.intercept)
        assert found.after_there.brier.value < found.raw.brier.value
