"""`python -m tests.benchmarks.gpu`: all cases by value until the clock stops them, then one table.

just bench-gpu --minutes 10          on a GPU; writes tests/bench/DEVICE.json
just bench-gpu --device cpu          the rehearsal: tiny shapes, every case by the same code, in 3 minutes
just bench-gpu --only 'vit-small*' loader  cases of these names or kinds; --again measures what has a result too
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu.cases import Case, list_cases, warm_cases
from tests.benchmarks.gpu.child import ROOT, end_with_parent, start_case
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.table import header, row

RESULTS = ROOT / "tests" / "bench"
CASE_SHARE = 0.5
"""Of the time there is, for one case: several times what any should take, and one that hangs leaves some for others."""
CORES_EACH = 4
"""For a case that need not be alone."""
SMALL_FILM_PX = 48


class Bench:
    """Measures cases until a deadline."""

    def __init__(self, results: Results, workspace: Path, deadline: float, limit_s: float) -> None:
        self._results, self._workspace, self._deadline, self._limit_s = results, workspace, deadline, limit_s
        self.not_begun: list[str] = []

    def measure(self, cases: list[Case]) -> None:
        """Measure cases in order: one that is timed alone, neighbours that are not together."""
        todo = [case for case in cases if not self._results.has(case)]
        for is_timed, group in groupby(todo, lambda case: case.is_timed):
            if is_timed:
                for case in group:
                    self._measure(case)
            else:
                checks = list(group)
                later = todo[todo.index(checks[-1]) + 1 :]
                self._measure_together([*checks, *warm_cases(later)])

    def _measure_together(self, cases: list[Case]) -> None:
        num_cores = len(os.sched_getaffinity(0))
        workers = num_cores if cases[0].is_rehearsal else max(1, num_cores // CORES_EACH)
        with ThreadPoolExecutor(workers) as pool:
            for done in as_completed([pool.submit(self._measure, case) for case in cases]):
                done.result()

    def _measure(self, case: Case) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s < case.needs_s:
            self.not_begun += [case.name] * (case.kind != "warm")
            return
        started = time.monotonic()
        with start_case(case, self._workspace) as child:
            outcome = child.wait(min(left_s, self._limit_s))
        took_s = time.monotonic() - started
        if case.kind == "warm":
            return
        if outcome.is_cut and not outcome.found:
            self.not_begun.append(case.name)
            return
        print(row(self._results.keep(case, outcome, took_s)), flush=True)


def main() -> None:
    end_with_parent()
    # So that a signal ends the cases too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parse_options()
    deadline = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as temp:
        # Drawn while torch looks for the device.
        drawing = _start_drawing(Path(temp), options)
        machine = _describe(options.device)
        print("pretraining: {device}, {num_cores} cores, torch {torch}, code {code}".format(**machine))
        results = Results(options.results, machine)
        if drawing.wait():
            raise SystemExit("the films could not be drawn")
        if options.device == "cpu":  # shapes are too small for more
            os.environ["OMP_NUM_THREADS"] = "1"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(options.results / ".compiled")
        cases = [case for case in _choose(options) if options.only is None or _is_named(case, options.only)]
        if options.again:
            for case in cases:
                results.by_name.pop(case.name, None)
        bench = Bench(results, Path(temp) / "workspace", deadline, CASE_SHARE * options.minutes * 60)
        print(header(), flush=True)
        try:
            bench.measure(cases)
        finally:
            _print_end(results, bench, cases)


def _print_end(results: Results, bench: Bench, cases: list[Case]) -> None:
    order = {case.name: place for place, case in enumerate(cases)}
    known = sorted(results.by_name.values(), key=lambda about: order.get(about["name"], len(order)))
    print(f"\nall that {results.path} holds:\n{header()}")
    for about in known:
        print(row(about) + ("" if results.is_current(about) else "  (of other code, driver or torch)"))
    if bench.not_begun:
        print(f"no time for: {'; '.join(bench.not_begun)}. The same command measures them.")


def _is_named(case: Case, words: list[str]) -> bool:
    return any(fnmatch(case.name, word) or case.kind == word for word in words)


def _choose(options: argparse.Namespace) -> list[Case]:
    return list_cases(options.device, options.backbones, options.batches, options.steps)


def _describe(device: str) -> dict[str, Any]:
    """Return what the machine is, asked in another process, so that this one holds nothing of the device."""
    code = "import json, sys; from tests.benchmarks.gpu.machine import describe_machine as d; "
    code += "print(json.dumps(d(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, device], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(2)
    machine: dict[str, Any] = json.loads(done.stdout)
    return machine


def _start_drawing(folder: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    code = "import sys; from pathlib import Path; from tests.gpu.world import draw_workspace; "
    code += "draw_workspace(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))"
    words = [sys.executable, "-c", code, str(folder), str(options.films), str(options.film_px)]
    return subprocess.Popen(words, cwd=ROOT)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, help="the clock; 10, of the rehearsal 3")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="cases of these names, with * for anything, or kinds")
    parser.add_argument("--again", action="store_true", help="measure what has a result too")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the file")
    parser.add_argument("--steps", type=int, help="timed steps of a case")
    parser.add_argument("--films", type=int, help="films that are drawn and held")
    parser.add_argument("--film-px", type=int)
    parser.add_argument("--backbones", nargs="+")
    parser.add_argument("--batches", nargs="+", type=int)
    options = parser.parse_args()
    is_small = options.device == "cpu"
    usual: dict[str, Any] = {
        "minutes": 3.0 if is_small else 10.0,
        "steps": 2 if is_small else 100,
        "films": 64 if is_small else 4096,
        "film_px": SMALL_FILM_PX if is_small else 320,
        "backbones": ["vit-micro"] if is_small else ["vit-tiny", "vit-small"],
        "batches": [4] if is_small else [64, 256],
    }
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.results = options.results.resolve()
    return options


if __name__ == "__main__":
    main()
