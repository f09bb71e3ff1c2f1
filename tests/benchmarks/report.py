"""What `cxrssl report` costs, CPU of all cores: of one ablation with all figures drawn anew, and when nothing changed.

    uv run python -m tests.benchmarks.report               # 40 arms x 3 seeds, 400 films of 200 subjects, 14 findings
    uv run python -m tests.benchmarks.report --arms 20     # 60 runs

Each report is a process of its own, as a user starts it. Its peer is a bare process that imports matplotlib, draws one
plot and saves it as SVG, PDF and PNG. A first report, which is not timed against it, makes the comparisons.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.ablate.grid import Grid, load_grid
from cxrssl.ablate.table import make_table
from cxrssl.core.workspace import Workspace
from cxrssl.records import fitted
from cxrssl.records.ablation import publish_table
from cxrssl.records.arrays import Predictions
from cxrssl.records.contract import Contract, DataFacts, RunFacts
from cxrssl.records.eval_settings import CandidateSettings, EvalSettings, ProbeSettings
from cxrssl.records.evaluation import EvalScores, Evaluation, open_evaluation, publish_evaluation
from cxrssl.records.features import Architecture
from cxrssl.records.fitted import CALIBRATION, Calibrations, FindingCalibration
from cxrssl.records.subgroups import Subgroup, write_subgroups
from cxrssl.stats.calibration import score_calibration
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import score_predictions
from cxrssl.stats.subgroups import MACRO, SubgroupScore
from tests.benchmarks.installed import installed_environment
from tests.records.folders import make_run, metric, write_lines

NUM_FILMS, NUM_SUBJECTS, NUM_STEPS = 400, 200, 500
FINDINGS = tuple(f"Finding {letter}" for letter in "ABCDEFGHIJKLMN")
COHORT = "mimic"
ARMS = '[arms.arm-{number:02d}]\ntrain.lr = {rate}\nehr.features = ["view"]\n'
PEER = """
import io
from matplotlib.figure import Figure
figure = Figure(figsize=(7, 3))
figure.add_axes((0.1, 0.1, 0.8, 0.8)).plot(range(100))
figure.text(0.5, 0.95, "a plot")
for kind in ("svg", "pdf", "png"):
    figure.savefig(io.BytesIO(), format=kind, dpi=200)
"""


def make_workspace(root: Path, num_arms: int, seeds: tuple[int, ...]) -> Workspace:
    """Return a workspace with one ablation whose runs have ended and were probed, and with its baselines."""
    workspace = Workspace(root).create()
    workspace.mark()
    arms = "".join(ARMS.format(number=number, rate=0.001 + number / 10_000) for number in range(1, num_arms))
    text = f"""question = "Which is best?"
recipe = "demo"
seeds = {list(seeds)}
min_difference = 0.01
[primary]
arm = "arm-01"
against = "vanilla"
metric = "auroc"
[arms.vanilla]
ehr.features = []
{arms}"""
    path = root / "study.toml"
    path.write_text(text)
    grid = load_grid(str(path))
    found = {
        (row.name, seed): _make_probed(workspace, f"{row.arm}-s{seed}", row.arm, seed, row.load(seed).to_dict())
        for row in grid.rows
        for seed in seeds
    }
    for kind, skill in (("pixels", 0.6), ("view-only", 0.1)):
        _publish(workspace, kind, kind, kind, CandidateSettings(("view",)), skill)
    _publish_ablation(workspace, grid, found)
    return workspace


def _make_probed(workspace: Workspace, run_id: str, arm: str, seed: int, recipe: dict[str, Any]) -> Evaluation:
    """Publish a run with its journal, and what its encoder scored."""
    features = tuple(recipe["ehr"]["features"])
    folder = make_run(workspace, run_id, end="finish", num_steps=NUM_STEPS, cohort=COHORT, recipe=recipe)
    lines = [metric(step, **({} if step % 50 else {"feature_rank": 50.0 + step / 20})) for step in range(NUM_STEPS)]
    write_lines(folder / "metrics-0001.jsonl", lines)
    shape = Architecture("vit-micro", 16, 224, 0.5, 0.3, seed=seed)
    candidate = CandidateSettings(features, architecture=shape, setup_sha256=arm, num_epochs=24)
    return _publish(workspace, run_id, "run", f"MSN + {arm}", candidate, 1.0 + (seed + len(arm)) / 20)


def _publish(
    workspace: Workspace, name: str, kind: str, label: str, candidate: CandidateSettings, skill: float
) -> Evaluation:
    """Publish an evaluation whose scores follow the labels by `skill`, with groups and calibration."""
    labels = (np.random.default_rng(0).random((NUM_FILMS, len(FINDINGS))) < 0.2).astype(np.int8)
    logits = labels * skill + np.random.default_rng(sum(name.encode())).normal(size=labels.shape)
    subjects = np.array([f"s{row * NUM_SUBJECTS // NUM_FILMS}" for row in range(NUM_FILMS)])
    settings = EvalSettings(
        candidate_id=name,
        kind=kind,
        label=label,
        candidate=candidate,
        is_outcome_used=False,
        cohort=COHORT,
        dataset="mimic",
        split="official",
        cohort_sha256="c",
        images_sha256="i",
        probe=ProbeSettings(),
    )
    scores = EvalScores.of(score_predictions(logits, labels, subjects, FINDINGS), 0, {}, ())
    predictions = Predictions(np.arange(NUM_FILMS).astype(str), subjects, logits, labels, np.array(FINDINGS))
    raw = {
        finding: FindingCalibration(raw=score_calibration(logits[:, k], labels[:, k], subjects, num_resamples=20))
        for k, finding in enumerate(FINDINGS)
    }
    files = {CALIBRATION: fitted._dump(Calibrations("val", findings=raw))}
    number, gap = Interval(0.7, 0.6, 0.8, 1000, 1000, 50), Interval(0.01, -0.04, 0.06, 1000, 1000, 50)
    groups = [
        Subgroup(attribute, group, (SubgroupScore(MACRO, number, gap, 120, 60),))
        for attribute, names in (("sex", ("female", "male")), ("age", ("20-39", "40-59", "60-79")))
        for group in names
    ]
    path = workspace.evals / f"{name}-on-{COHORT}"
    publish_evaluation(path, settings, scores, predictions, None, files | write_subgroups(groups))
    return open_evaluation(path)


def _publish_ablation(workspace: Workspace, grid: Grid, found: dict[tuple[str, int], Evaluation]) -> None:
    runs = {
        each.settings.candidate_id: RunFacts(next(row.arm for row in grid.rows if row.name == name), COHORT, seed, "r")
        for (name, seed), each in found.items()
    }
    contract = Contract("study", grid.text, False, runs, {COHORT: DataFacts("c", "i")}, {"a.py": "s"}, {}, "cpu", 1)
    table = make_table(grid, {row.name: COHORT for row in grid.rows}, found)
    publish_table(workspace.ablations / "study", contract, table)


def run_cpu_s(*words: str) -> float:
    """Run a program to its end and return the seconds of CPU that it took, of all cores, user and system."""
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, env=installed_environment(), **silent)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU of cxrssl report")
    parser.add_argument("--arms", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="make the workspace here, or take the one that is here, and keep it")
    asked = parser.parse_args()
    root = asked.keep or Path(tempfile.mkdtemp(prefix="cxrssl-report-"))
    try:
        if not (root / "ablations" / "study").exists():
            make_workspace(root, asked.arms, tuple(range(asked.seeds)))
        words = ("-m", "cxrssl", "report", "--workspace", str(root))
        first = run_cpu_s(*words)
        unchanged = min(run_cpu_s(*words) for _ in range(3))
        shutil.rmtree(root / "reports")
        drawn = run_cpu_s(*words, "--ablation", "study")
        peer = min(run_cpu_s("-c", PEER) for _ in range(3))
        num_figures = len(list((root / "reports" / "latest").glob("*.svg")))
    finally:
        if not asked.keep:
            shutil.rmtree(root)
    print(f"{asked.arms * asked.seeds} runs on {os.cpu_count()} cores, CPU of all:")
    print(f"  first report, comparisons made  {first:6.2f} s")
    print(f"  nothing changed                 {unchanged:6.2f} s")
    print(f"  all {num_figures:3d} figures drawn anew      {drawn:6.2f} s")
    print(f"  peer: matplotlib, one plot      {peer:6.2f} s")


if __name__ == "__main__":
    main()
