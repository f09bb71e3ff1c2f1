"""`cxrssl --help` beside the bare import of typer, in the same run: the ratio says what our own code adds."""

import subprocess
import sys
import time

from tests.benchmarks.installed import installed_environment

NUM_RUNS = 20


def best_s(*words: str) -> float:
    times = []
    for _ in range(NUM_RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, env=installed_environment(), check=True)
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    best_s("-m", "cxrssl", "--help")  # writes the bytecode
    ours, peer = best_s("-m", "cxrssl", "--help"), best_s("-c", "import typer")
    print(f"cxrssl --help {ours * 1000:.0f} ms, import typer {peer * 1000:.0f} ms, ratio {ours / peer:.2f}")
