"""Mutated DICOM films: a film of its declared shape or a named reject, soon and in little memory (goal R36)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cxrssl.images.decode import DECODE_RULES
from tests.scale import scaled

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("CXRSSL_SEED", "20240501"))
MAX_DEATHS_FRAC = 0.01


@pytest.mark.fuzz
def test_mutants_are_films_of_their_shape_or_named_rejects(tmp_path: Path) -> None:
    """A codec may end its process, which a worker survives: see test_dicom_pack."""
    count = scaled(1000, 10_000)
    outcomes, deaths = run_mutants(tmp_path, count)
    print(f"seed {SEED}:", dict(outcomes), "deaths:", deaths)  # noqa: T201
    assert set(outcomes) <= {*DECODE_RULES, "decoded"}, f"seed {SEED}"
    assert sum(outcomes.values()) + len(deaths) == count
    assert {"decoded", "damaged", "truncated", "unsupported pixel format"} <= set(outcomes)
    hangs = [death for death in deaths if death[1] in (signal.SIGPROF, signal.SIGKILL)]
    assert not hangs, f"seed {SEED}: {hangs}"
    assert len(deaths) <= MAX_DEATHS_FRAC * count, f"seed {SEED}: {deaths}"


def run_mutants(folder: Path, count: int) -> tuple[Counter[str], list[tuple[int, int]]]:
    """Return outcome -> mutants, and (mutant, signal) of those that ended the process that decoded them."""
    deaths: list[tuple[int, int]] = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    real_data = ROOT.parent / "shared/data/dicom_radiographs"
    lines: list[str] = []
    while len(lines) + len(deaths) < count:
        words = [sys.executable, str(Path(__file__).with_name("dicom_hostile.py")), str(folder), str(SEED)]
        words += [str(len(lines) + len(deaths)), str(count)] + [str(real_data)] * real_data.is_dir()
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode <= 0, f"seed {SEED}, mutant {len(lines) + len(deaths)}: {done.stderr[-2000:]}"
        lines = (folder / "outcomes").read_text().splitlines()
        if done.returncode < 0:
            number = len(lines) + len(deaths)
            (folder / "mutant").rename(folder / f"deadly-{number}")
            deaths.append((number, -done.returncode))
    return Counter(json.loads(line)["outcome"] for line in lines), deaths
