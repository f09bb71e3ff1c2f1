"""Real datasets as folders of one's own: Hannover, COVID and NIH."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cxrssl.cohort.features import find_feature
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import open_images
from cxrssl.ingest import ingest_dataset
from tests.cohort.folders import MAPS, values_of


def test_hannover_needs_a_map_and_no_code(data: Path, workspace: Workspace, tmp_path: Path) -> None:
    root = data / "hannover_covid19"
    summary = build_cohort(workspace, IngestOptions("folder", root, map=MAPS / "hannover.toml"))
    cohort = open_cohort(summary.path)
    assert (len(cohort), len(set(cohort.subject_id.tolist()))) == (243, 71)
    assert summary.values["positions"]["icu"] == {"in": 150, "before": 7, "after": 29, "never": 57}
    with (root / "data.csv").open() as file:
        rows = {row["image_id"]: row for row in csv.DictReader(file)}
    assert cohort.ehr_age_h is not None
    aged = [name for name in cohort.names if find_feature(name).has_age]
    ends = {"crp": (0.5, 400), "po2": (20, 340), "d_dimer": (200, 35000)}
    columns = {"d_dimer": "d-dimer", "factor_xiii": "factor_xii"}
    for name in ("crp", "po2", "pco2", "d_dimer", "ldh", "lymphocytes", "neutrophils", "factor_xiii"):
        ages = cohort.ehr_age_h[:, aged.index(name)].tolist()
        low, high = (find_feature(name).measured.low, find_feature(name).measured.high)  # type: ignore[union-attr]
        for film, value, age in zip(cohort.image_id.tolist(), values_of(cohort, name), ages, strict=True):
            column = columns.get(name, name)
            said, offset = rows[film][f"{column}_val"], rows[film][f"{column}_offset"]
            number = float(said or "nan") * (1000 if name == "d_dimer" else 1)
            number = ends[name][number > 0] if np.isinf(number) else number
            if said and -7 <= float(offset) <= 0 and low <= number <= high:
                assert value == pytest.approx(number, rel=1e-6)
                assert age == -24 * float(offset)
            else:
                assert value is None
    died = [rows[film]["death_offset"] != "" for film in cohort.image_id.tolist()]
    assert values_of(cohort, "mortality") == [1 if each else None for each in died]
    assert cohort.labels(["Known death"], blank="ignore")[:, 0].tolist() == died


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "folder"), [("covid", "covid19_cxr"), ("nih", "nih_chestxray14")])
def test_a_real_dataset_as_a_folder_is_film_by_film_its_built_in_ingest(
    dataset: str, folder: str, data: Path, workspace: Workspace, tmp_path: Path
) -> None:
    root = data / folder
    summary, _ = ingest_dataset(workspace, IngestOptions(dataset, root, size_px=64, num_workers=1))
    built_in = open_cohort(summary.path)
    scheme = built_in.default_split
    with (tmp_path / "parts.csv").open("w", newline="") as file:
        pairs = zip(built_in.image_id.tolist(), built_in.split_of(scheme).tolist(), strict=True)
        csv.writer(file).writerows([("film", "part"), *pairs])
    text = (MAPS / f"{dataset}.toml").read_text()
    join = '[[films.join]]\nfile = "parts.csv"\ncolumn = "film"\n'
    head, _, tail = text.partition("[ehr]\n")
    (tmp_path / "map.toml").write_text(head.replace("[films]\n", '[films]\nsplit = "part"\n') + join + "[ehr]\n" + tail)
    summary, _ = ingest_dataset(
        workspace, IngestOptions("folder", root, map=tmp_path / "map.toml", size_px=64, num_workers=1)
    )
    own = open_cohort(summary.path)
    assert len(own) == summary.values["films"]["accepted"] == len(built_in)
    for name in ("image_id", "study_id", "subject_id", "path", "view", "position", "taken_at", "finding_names"):
        assert getattr(own, name).tolist() == getattr(built_in, name).tolist()
    for name in ("ehr_values", "ehr_known", "label_values", "age_is_censored"):
        np.testing.assert_array_equal(getattr(own, name), getattr(built_in, name))
    assert own.split_of("official").tolist() == built_in.split_of(scheme).tolist()
    packs = [open_images(workspace.images / name) for name in (dataset, "folder")]
    assert packs[0].index.pixel_hash.tolist() == packs[1].index.pixel_hash.tolist()
    assert any(packs[0].index.pixel_hash.tolist())
