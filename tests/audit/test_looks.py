"""Films that look the same: what the real collections hold, and that a hash alone would accuse the wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrssl.audit.looks import find_near
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.cohort.read import open_cohort
from cxrssl.core.workspace import Workspace
from cxrssl.images.fingerprint import identical_pairs, near_pairs
from cxrssl.images.store import open_images
from cxrssl.ingest import ingest_dataset


def test_the_known_twins_of_the_covid_collection_are_found_and_no_others(real_data: Path, tmp_path: Path) -> None:
    """Four films of one case are in it twice, as published by Eurorad and by Radiopaedia; one film has two names."""
    workspace = Workspace(tmp_path / "workspace").create()
    ingest_dataset(workspace, IngestOptions("covid", real_data / "covid19_cxr", size_px=64, num_workers=1))
    cohort, images = open_cohort(workspace.cohorts / "covid"), open_images(workspace.images / "covid")
    rows = np.arange(len(cohort))
    near, (first, second) = find_near(images, rows, images, rows), identical_pairs(images.index.pixel_hash)
    pairs = {tuple(sorted(pair)) for pair in zip(near.first.tolist(), near.second.tolist(), strict=True)}
    pairs |= set(zip(first.tolist(), second.tolist(), strict=True))
    names = [sorted(cohort.path[list(pair)].tolist()) for pair in pairs]
    assert sum("16660_" in name[0] and "acute-respiratory-distress" in name[1] for name in names) == 4
    assert len(names) == 5
    by_hash, _ = near_pairs(images.index.phash, None, 8)
    assert len(by_hash) > 5, "at 8 bits the hash alone accuses films of different people"
