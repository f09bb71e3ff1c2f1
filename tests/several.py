"""Several cohorts: one, the same divided in two by patient, and another one that shares two patients with it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxrssl.cohort.ingest import IngestOptions
from cxrssl.cohort.split import hash_split
from cxrssl.core.workspace import Workspace
from cxrssl.ingest import ingest_dataset
from cxrssl.train.pooled import open_films
from tests.world import write_nih

TRAIN = [f"p{patient:02d}" for patient in range(24) if hash_split("covid", f"p{patient:02d}") == "train"]
SHARED = {TRAIN[0]: "test", TRAIN[1]: "train"}
"""Train patients of the second data set, and the split of the first in which they are too."""


def ingest(workspace: Workspace, root: Path, name: str, dataset: str = "nih", **options: Any) -> None:
    options = {"size_px": 48, "num_workers": 1, **options}
    ingest_dataset(workspace, IngestOptions(dataset, root, name=name, **options))


def divide(root: Path, first: Path, second: Path) -> None:
    """Write the films of a data set as two, every other patient in each."""
    header, *rows = (root / "Data_Entry_2017.csv").read_text().splitlines()
    for number, part in enumerate((first, second)):
        (part / "images").mkdir(parents=True)
        own = [row for row in rows if int(row.split(",")[3]) % 2 == number]
        (part / "Data_Entry_2017.csv").write_text("\n".join([header, *own]) + "\n")
        for row in own:
            shutil.copy(root / "images" / row.split(",")[0], part / "images")


def write_covid(root: Path, films: dict[str, list[Path]]) -> Path:
    """Write a data set in the layout of the COVID collection from films of others, by patient; nothing is known of
    age and sex."""
    (root / "images").mkdir(parents=True)
    rows = []
    for patient, paths in films.items():
        for number, path in enumerate(paths):
            name = f"{patient}-{number}.png"
            shutil.copy(path, root / "images" / name)
            known = {"patientid": patient, "offset": number, "finding": "Pneumonia/Viral/COVID-19", "view": "PA"}
            place = {"modality": "X-ray", "folder": "images", "filename": name}
            rows.append({**known, **place, "sex": "", "age": "", "in_icu": "", "survival": ""})
    with open(root / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def make_several(folder: Path) -> Workspace:
    """Return a workspace with a cohort of 40 patients, the same as two of 20, and one of 24 of whom less is known."""
    made = Workspace(folder / "workspace").create()
    whole = write_nih(folder / "whole")
    divide(whole, folder / "odd", folder / "even")
    for name in ("whole", "odd", "even"):
        ingest(made, folder / name, name)
    rng, drawn = np.random.default_rng(9), folder / "drawn"
    drawn.mkdir()
    films: dict[str, list[Path]] = {}
    for patient in range(24):
        path = drawn / f"{patient}.png"
        Image.fromarray(rng.integers(0, 255, (48, 48)).astype(np.uint8)).save(path)
        films[f"p{patient:02d}"] = [path]
    opened, _ = open_films(made, "whole")
    for subject, split in SHARED.items():
        row = opened.rows_of(split)[0]
        films[subject].append(opened.root / opened.path[row])
    ingest(made, write_covid(folder / "covid", films), "covid", "covid")
    return made
