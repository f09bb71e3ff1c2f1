"""Write `kernels.json` anew: `python -m tests.gpu.fake.counts`; read the difference before committing it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.gpu.fake.test_step import CASES, COUNTS, count_kernels, run_cases


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = run_cases(Path(folder), CASES)
    failed = {case: about["error"] for case, about in found.items() if about["error"]}
    assert not failed, failed
    COUNTS.write_text(json.dumps(count_kernels(found), indent=1) + "\n")


if __name__ == "__main__":
    main()
