"""A step on a GPU that computes nothing: no tensor of another device, no wait, and no more kernels than are known.

Skipped where there is no C compiler for the stub, or torch was built without CUDA.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
COUNTS = HERE / "kernels.json"
"""Kernels by case and part; written by `just fake-gpu-counts` after a change that is meant."""
MARGIN = 40
"""More than versions of torch differ by, and far below what a careless loop adds."""
SMALL = [
    "model.backbone=vit-micro",
    "model.patch_px=8",
    "views.global_px=48",
    "train.batch_size=8",
]
FOCAL = ["views.focal_px=24", "views.num_focal=2"]
GIVEN: dict[str, Any] = {"columns": 5, "changes": {"ehr": {"features": ["sex", "age"]}}}
PREDICTED: dict[str, Any] = {"predict": True, "changes": {"ehr": {"predict": ["icu", "since_admission"]}}}
MSN = [*SMALL, *FOCAL, "objective.num_prototypes=16"]


def other(objective: str, *settings: str) -> list[str]:
    return [f"objective.name={objective}", *SMALL, *settings]


CASES: dict[str, dict[str, Any]] = {
    "strict": {"set": MSN},
    "paper": {"recipe": "paper", "set": MSN, **GIVEN},
    "rotation, contrast, queue": {
        "set": [*MSN, "views.rotation_deg=10", "views.contrast=0.2", "objective.queue_size=16"]
    },
    "in parts": {"set": MSN, "micro_batch": 3},
    "bf16": {"set": [*MSN, "train.precision=bf16"], **GIVEN},
    "bf16 in parts": {"set": [*MSN, "train.precision=bf16"], "micro_batch": 4, **GIVEN},
    "fused views": {"set": [*MSN, "views.contrast=0.2"], "fused": True},
    "tf32": {"set": [*MSN, "train.precision=tf32"]},
    "fusion mlp": {"set": [*MSN, "ehr.fusion=mlp", "ehr.dropout=0.5"], **GIVEN},
    "fusion film": {"set": [*MSN, "ehr.fusion=film"], **GIVEN},
    "both branches": {"set": [*MSN, "ehr.branch=both"], **GIVEN},
    "predicted": {"set": MSN, **PREDICTED},
    "predicted by skill": {"set": [*MSN, "ehr.predict_gate=skill"], **PREDICTED},
    "dino": {"set": other("dino", *FOCAL, "objective.num_outputs=16"), **GIVEN},
    "simclr": {"set": other("simclr"), **GIVEN},
    "mae": {"set": other("mae", "objective.decoder_depth=2")},
    "supervised": {"set": other("supervised"), "findings": 4},
    "deterministic": {"set": [*MSN, "train.precision=bf16"], "deterministic": True, **GIVEN},
}
PLANTED = "bf16"
"""The case with every part."""
PLANTS = {"tensor of the CPU": "mixed", "item": "waits", "a hundred kernels": "num_kernels"}
PARTS = (
    *("feed", "views", "encode", "encode_targets", "compare", "backward", "clip", "guard", "optimiser", "begin_step"),
    *("end_step", "weights", "numbers", "health", "features"),
)


def build_stub(folder: Path) -> dict[str, str]:
    """Return an environment in which CUDA seems to be there; skip the tests where it cannot be made."""
    compiler = shutil.which("cc")
    headers = Path(sysconfig.get_paths()["purelib"]) / "triton/backends/nvidia/include"
    if compiler is None or not (headers / "driver_types.h").is_file() or not torch.backends.cuda.is_built():
        pytest.skip("needs a C compiler, the headers that come with Triton, and torch built with CUDA")
    library = folder / "libcuda.so.1"
    command = [compiler, "-shared", "-fPIC", "-I", str(headers), "-o", str(library), str(HERE / "stub.c")]
    subprocess.run(command, check=True, capture_output=True)
    return {**os.environ, "LD_PRELOAD": str(library), "LD_LIBRARY_PATH": str(folder), "OMP_NUM_THREADS": "1"}


def run_cases(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what each part of each case asked of the device."""
    environment = build_stub(folder)
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-m", "tests.gpu.fake.steps", str(folder / "cases.json")]
    done = subprocess.run(command, env=environment, cwd=HERE.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def count_kernels(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {case: {name: part["num_kernels"] for name, part in about["parts"].items()} for case, about in found.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    plants = {kind: {**CASES[PLANTED], "plant": kind} for kind in PLANTS}
    return run_cases(tmp_path_factory.mktemp("fake"), CASES | plants)


@pytest.mark.parametrize("case", CASES)
def test_a_step_mixes_no_devices_waits_for_nothing_and_launches_no_more_than_is_known(
    found: dict[str, Any], case: str
) -> None:
    assert found[case]["error"] == ""
    known = json.loads(COUNTS.read_text())[case]
    for name, part in found[case]["parts"].items():
        assert part["mixed"] == [], name
        assert part["waits"] == [], name
        assert part["num_kernels"] <= known[name] + MARGIN, (name, part["names"])


def test_every_part_of_a_step_is_watched(found: dict[str, Any]) -> None:
    assert set(found[PLANTED]["parts"]) == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_planted_in_a_part_is_found(found: dict[str, Any], kind: str, part: str) -> None:
    value = found[kind]["parts"][part][PLANTS[kind]]
    if kind == "a hundred kernels":
        assert value > json.loads(COUNTS.read_text())[PLANTED][part] + MARGIN
    else:
        assert value


def test_a_batch_in_one_part_takes_few_kernels_for_what_runs_once_a_step(found: dict[str, Any]) -> None:
    """Moving average, guard, clipping and optimiser take kernels over lists, however many weights there are."""
    for case in CASES:
        parts = found[case]["parts"]
        assert sum(parts[name]["num_kernels"] for name in ("clip", "guard", "optimiser", "end_step")) <= 60, case
