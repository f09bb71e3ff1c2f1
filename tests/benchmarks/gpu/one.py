"""One case in this process: `python -m tests.benchmarks.gpu.one CASE WORKSPACE`, a line of JSON for what is known."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu.cases import Case
from tests.benchmarks.gpu.child import end_with_parent


def main() -> None:
    end_with_parent()
    case, workspace = Case(**json.loads(sys.argv[1])), Path(sys.argv[2])
    # What libraries print is no result.
    with open(os.dup(1), "w", buffering=1) as results:
        os.dup2(2, 1)

        def tell(found: dict[str, Any]) -> None:
            results.write(json.dumps(found) + "\n")

        from cxrssl.recipe.settings import BACKBONES
        from tests.benchmarks.gpu import checks, measure, peers

        work = {
            "run": measure.measure_run,
            "warm": measure.measure_training,
            "train": measure.measure_training,
            "bytes": measure.measure_bytes,
            "band": checks.check_band,
            "repeat": checks.check_repeat,
            "ranks": checks.check_ranks,
            "pair": checks.check_pair,
            "features": measure.measure_features,
            "published": peers.measure_published,
            "loader": peers.measure_loader,
        }
        if case.is_rehearsal and case.kind != "band":
            BACKBONES["vit-micro"] = (24, 2, 3)  # the band was measured with the real one
        work[case.kind](case, workspace, tell)


if __name__ == "__main__":
    main()
