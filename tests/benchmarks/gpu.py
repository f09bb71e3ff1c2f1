"""Pretraining on one GPU, end to end through the real loop: films/s, waits, memory, and where the rest of a step goes.

Films are drawn, packed in the real format and held by the device; bf16, on the CPU fp32; each case runs in a process of
its own. Beside it, on the same GPU: the published step with its views ready, and the published loader on at most 16
cores.

    python -m tests.benchmarks.gpu                              a GPU; writes tests/bench/gpu-DEVICE-DATE.json
    python -m tests.benchmarks.gpu --device cpu --steps 3       shows that the command works; writes nothing

Needs torch, timm, numpy and safetensors alone; the published loader needs lightly, and is left out without it.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "bench"
WANTED = {"vit-tiny": 8000, "vit-small": 4000}
"""Films/s on one H100."""
NUM_WARM, NUM_CHECKED, NUM_PROFILED = 10, 20, 5
LOADER_CORES, LOADER_BATCHES, LOADER_FILMS = 16, 40, 64
PUBLISHED_BACKBONE = "vit-tiny-6h"


@dataclasses.dataclass(frozen=True)
class Case:
    """What one process measures."""

    what: str
    """`run`, the real loop; `published`, the published step; `loader`, the published loader."""
    backbone: str = ""
    recipe: str = "strict"
    batch_size: int = 64
    compile: str = "off"
    is_deterministic: bool = False
    device: str = "cuda"
    num_steps: int = 200

    @property
    def precision(self) -> str:
        """bf16, which many CPUs only imitate, a hundred times slower."""
        return "bf16" if self.device == "cuda" else "fp32"

    @property
    def name(self) -> str:
        if self.what == "loader":
            return "published loader"
        if self.what == "published":
            return f"published step, views ready, {self.batch_size}"
        words = [self.backbone, f"{self.recipe} recipe", str(self.batch_size)]
        words += ["compiled"] * (self.compile == "on") + ["deterministic"] * self.is_deterministic
        return ", ".join(words)


# ---- what a case measures, in its own process


def measure_run(case: Case, workspace: Path) -> dict[str, Any]:
    """Train through the real loop and return rates, shares and the profile."""

    from cxrssl.core.journal import read_journal
    from cxrssl.core.workspace import Workspace
    from cxrssl.recipe.load import load_recipe
    from cxrssl.recipe.machine import Machine
    from cxrssl.train.loop import pretrain
    from cxrssl.train.plan import plan_run
    from tests.gpu.trace import profile_trace
    from tests.gpu.watch import NAMES, OPTIMISER, Stages, watch_loop
    from tests.gpu.world import NAME

    is_short = case.device == "cpu"
    warm, checked, profiled = (1, 0, 1) if is_short else (NUM_WARM, NUM_CHECKED, NUM_PROFILED)
    with tempfile.TemporaryDirectory() as temp:
        stages = Stages(warm, checked, case.num_steps, profiled, Path(temp) / "trace.json")
        changes = [
            f"model.backbone={case.backbone}",
            f"train.batch_size={case.batch_size}",
            f"train.precision={case.precision}",
        ]
        recipe = load_recipe(case.recipe, changes, {"ehr": {"features": ["sex", "age", "view", "position"]}})
        machine = Machine(
            device=case.device,
            compile=case.compile,
            deterministic=case.is_deterministic,
            feed="resident",
            checkpoint_every=10**9,
        )
        plan = _lengthen(plan_run(Workspace(workspace), NAME, recipe, machine, Path(temp).name), stages.num_steps)
        with watch_loop(stages):
            pretrain(plan)
        records = read_journal(plan.folder / "metrics-0001.jsonl")
        trace = profile_trace(json.loads(stages.trace.read_text())["traceEvents"], NAMES, profiled)
    start = stages.clocks[stages.timed_from].since(stages.clocks[0])
    timed = stages.clocks[stages.profiled_from].since(stages.clocks[stages.timed_from])
    step_s = timed.wall_s / case.num_steps
    return {
        "films_per_s": case.batch_size / step_s,
        "step_ms": step_s * 1000,
        "wait_frac": timed.wait_s / timed.wall_s,
        "health_frac": timed.health_s / timed.wall_s,
        "start_s": start.wall_s - start.health_s - stages.timed_from * step_s,
        "peak_bytes": stages.peak_bytes,
        "films_bytes": len(plan.rows) * plan.images.size_px**2,
        "syncs": dict(stages.syncs),
        "last_loss": records[-1]["loss"],
        "profile": {
            "step_ms": trace.step_ms,
            "blocked_ms": trace.blocked_ms,
            "shares": {name if name != OPTIMISER else "optimiser": share for name, share in trace.shares().items()},
            "kernels": {name if name != OPTIMISER else "optimiser": num for name, num in trace.num_kernels.items()},
            "syncs": dict(trace.syncs),
        },
    }


def _lengthen(plan: Any, num_steps: int) -> Any:
    """Return the plan with as many epochs as it takes."""
    num_epochs = -(-num_steps // plan.steps_per_epoch)
    train = dataclasses.replace(plan.recipe.train, num_epochs=num_epochs)
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, train=train))


def measure_published(case: Case, workspace: Path) -> dict[str, Any]:
    """Take steps of the transcription of the published code, its views ready on the device, in bf16 autocast."""
    import torch

    from tests.benchmarks import step as peer
    from tests.gpu.watch import wait_for_device

    torch.set_default_device(case.device)
    plain_loss = peer.Published.loss

    def loss_left_on_the_device(published: Any, anchors: Any, targets: Any) -> SimpleNamespace:
        """Return the loss as in a loop that logs seldom: the host does not wait to read it."""
        loss = plain_loss(published, anchors, targets)
        return SimpleNamespace(backward=loss.backward, item=loss.detach)

    with (
        patch.object(peer, "NUM_FILMS", case.batch_size),
        patch.object(peer.Published, "loss", loss_left_on_the_device),
    ):
        published, (views, ehr) = peer.Published(), peer.draw_inputs()
        with torch.autocast(case.device, torch.bfloat16, enabled=case.precision == "bf16"):
            for step in range(1 + NUM_WARM * (case.device != "cpu") + case.num_steps):
                if step == 1 + NUM_WARM * (case.device != "cpu"):
                    wait_for_device()
                    started = time.perf_counter()
                published.step(views, ehr)
            wait_for_device()
    step_s = (time.perf_counter() - started) / case.num_steps
    peak = torch.cuda.max_memory_allocated() if case.device != "cpu" else 0
    return {"films_per_s": case.batch_size / step_s, "step_ms": step_s * 1000, "peak_bytes": peak}


def measure_loader(case: Case, workspace: Path) -> dict[str, Any]:
    """Read batches of views as the published code does: a process a core opens JPEGs and cuts them with lightly."""
    os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"
    import io

    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from tests.benchmarks import views as peer

    jpegs = [peer.encode(peer.draw_film(seed)) for seed in range(LOADER_FILMS)]
    num_batches = LOADER_BATCHES if case.device != "cpu" else 1
    num_cores = min(LOADER_CORES, len(os.sched_getaffinity(0)))

    class Films(Dataset[list[Any]]):
        def __len__(self) -> int:
            return (num_batches + num_cores) * case.batch_size

        def __getitem__(self, film: int) -> list[Any]:
            return peer.TRANSFORM(Image.open(io.BytesIO(jpegs[film % LOADER_FILMS])).convert("RGB"))

    loader = DataLoader(Films(), case.batch_size, num_workers=num_cores, multiprocessing_context="fork")
    for number, _ in enumerate(loader):
        if number == num_cores - 1:  # every worker has begun
            started = time.perf_counter()
    return {"films_per_s": num_batches * case.batch_size / (time.perf_counter() - started), "num_cores": num_cores}


# ---- all cases, their table and their file


def list_cases(options: argparse.Namespace) -> list[Case]:
    """Return the cases in the order in which they are worth having."""
    common = {"device": options.device, "num_steps": options.steps}
    runs = [
        Case("run", backbone, batch_size=size, compile=word, **common)
        for backbone in options.backbones
        for size in options.batches
        for word in options.compile
    ]
    if options.no_peers:
        return runs
    size, word = options.batches[len(options.batches) // 2], options.compile[-1]
    peers = [Case("loader", device=options.device)]
    for each in options.batches:
        peers.append(Case("published", PUBLISHED_BACKBONE, batch_size=each, **common))
        peers.append(Case("run", PUBLISHED_BACKBONE, "paper", each, word, **common))
    rest = [Case("run", name, batch_size=size, compile=word, is_deterministic=True, **common) for name in WANTED]
    return [*runs, *peers, *rest] if options.device != "cpu" else [*runs, *peers]


def measure(case: Case, workspace: Path) -> dict[str, Any]:
    """Return what a process of its own measures, or why it could not."""
    words = [sys.executable, "-m", "tests.benchmarks.gpu", "--case", json.dumps(dataclasses.asdict(case))]
    process = subprocess.run(
        [*words, "--workspace", str(workspace)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if process.returncode:
        return {"error": (process.stderr.strip().splitlines() or [f"exit {process.returncode}"])[-1]}
    measured: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return measured


def describe_machine(device: str) -> dict[str, Any]:
    import torch

    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "num_cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
        "date": datetime.date.today().isoformat(),
    }


def print_row(case: Case, found: dict[str, Any]) -> None:
    if "error" in found:
        print(f"  {case.name:<52} failed: {found['error']}", flush=True)
        return
    ratio = f"{found['films_per_s'] / WANTED[case.backbone]:.2f}" if case.backbone in WANTED else ""
    peak, start = found.get("peak_bytes", 0) / 2**30, found.get("start_s")
    shares = [f"{found[key]:.2%}" if key in found else "" for key in ("wait_frac", "health_frac")]
    print(
        f"  {case.name:<52} {found['films_per_s']:>9,.1f} {ratio:>7} {found.get('step_ms', 0):>9,.1f} {shares[0]:>8} "
        f"{shares[1]:>8} {peak:>7.2f} {f'{start:.1f}' if start is not None else '':>7}"
        f"   {sum(found['syncs'].values()) if 'syncs' in found else '':>4}",
        flush=True,
    )


def print_profiles(results: list[dict[str, Any]]) -> None:
    """Print each run's shares of the step, kernels a step, and waits of the host."""
    for result in results:
        profile = result.get("profile")
        if not profile:
            continue
        kernels = profile["kernels"]
        print(f"\n{result['name']}: {profile['step_ms']:.1f} ms a step under the profiler, ", end="")
        print(f"{sum(kernels.values()):,.0f} kernels, host held up {profile['blocked_ms']:.1f} ms")
        for name, share in profile["shares"].items():
            print(f"  {name:<20} {share:>7.1%}" + (f" {kernels.get(name, 0):>8,.0f} kernels" if kernels else ""))
        for name, number in {**result["syncs"], **profile["syncs"]}.items():
            print(f"  the host waited: {name}, {number:g} times")


def main() -> None:
    options = parse_options()
    machine = describe_machine(options.device)
    print("pretraining end to end: {device}, {num_cores} cores, torch {torch}, {date}".format(**machine))
    columns = f"{'films/s':>9} {'wanted':>7} {'step, ms':>9} {'waiting':>8} {'health':>8} {'GiB':>7} {'start,s':>7}"
    print(f"  {'backbone, recipe, batch':<52} {columns}  syncs")
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temp:
        from tests.gpu.world import draw_workspace

        workspace = draw_workspace(Path(temp), options.films, options.film_px).root
        for case in list_cases(options):
            found = measure(case, workspace)
            results.append({"name": case.name, **dataclasses.asdict(case), **found})
            print_row(case, found)
            if options.device != "cpu":  # after each case: what is measured stays, whatever comes
                write_results(machine, results)
    print_profiles(results)


def write_results(machine: dict[str, Any], results: list[dict[str, Any]]) -> None:
    device = re.sub(r"[^a-z0-9]+", "-", machine["device"].lower()).strip("-")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gpu-{device}-{machine['date']}.json"
    path.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


def parse_options() -> argparse.Namespace:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=200, help="timed steps of a case")
    parser.add_argument("--films", type=int, help="films that are drawn and held")
    parser.add_argument("--film-px", type=int, default=320)
    parser.add_argument("--backbones", nargs="+", default=list(WANTED))
    parser.add_argument("--batches", nargs="+", type=int)
    parser.add_argument("--compile", nargs="+", choices=("off", "on"))
    parser.add_argument("--no-peers", action="store_true", help="the real loop alone")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu --steps 3 shows that the command works")
    is_small = options.device == "cpu"
    options.films = options.films or (64 if is_small else 8192)
    options.batches = options.batches or ([4] if is_small else [64, 256, 1024])
    options.compile = options.compile or (["off"] if is_small else ["off", "on"])
    return options


def run_case(words: list[str]) -> None:
    case = Case(**json.loads(words[words.index("--case") + 1]))
    workspace = Path(words[words.index("--workspace") + 1])
    works = {"run": measure_run, "published": measure_published, "loader": measure_loader}
    with contextlib.redirect_stdout(sys.stderr):
        found = works[case.what](case, workspace)
    print(json.dumps(found))


if __name__ == "__main__":
    run_case(sys.argv) if "--case" in sys.argv else main()
