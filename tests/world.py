"""A small world in the true NIH layout, written by the tests and ingested by the real code."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.workspace import Workspace
from cxrssl.ingest import ingest_dataset

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
TINY = [
    "model.patch_px=8", "views.global_px=32", "views.focal_px=16", "views.num_focal=2",
    "objective.num_prototypes=8", "train.batch_size=8", "train.num_epochs=3",
]  # fmt: skip


def write_nih(root: Path, num_patients: int = 40, films_each: int = 2, px: int = 48, seed: int = 0) -> Path:
    """Write a data set whose Effusion films carry a bright base, so that a probe has something to find."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    rows = [HEADER]
    for patient in range(1, num_patients + 1):
        for follow_up in range(films_each):
            name = f"{patient:08d}_{follow_up:03d}.png"
            has_effusion = rng.random() < 0.5
            film = rng.integers(40, 120, (px, px)).astype(np.uint8)
            if has_effusion:
                film[px // 2 :] += 100
            Image.fromarray(film).save(root / "images" / name)
            finding = "Effusion" if has_effusion else "No Finding"
            sex, view = rng.choice(["M", "F"]), rng.choice(["PA", "AP"])
            rows.append(f"{name},{finding},{follow_up},{patient},{20 + patient},{sex},{view},{px},{px},0.1,0.1")
    (root / "Data_Entry_2017.csv").write_text("\n".join(rows) + "\n")
    return root


def make_workspace(folder: Path, **options: Any) -> Workspace:
    """Return a workspace with the cohort `nih` ingested and packed."""
    workspace = Workspace(folder / "workspace").create()
    ingest_dataset(workspace, IngestOptions("nih", write_nih(folder / "nih", **options), size_px=48, num_workers=1))
    return workspace
