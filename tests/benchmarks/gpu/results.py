"""The file of results: written whole after each of them, and read by the next call.

In: what a case has found. Out: DEVICE.json. Never: a file that is half there, whenever the command is killed.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from pathlib import Path
from typing import Any

from cxrssl.core.durable import write_json
from tests.benchmarks.gpu.cases import Case
from tests.benchmarks.gpu.child import Outcome

SAME = ("device", "driver", "torch", "code")
"""What must be the same for an earlier result to be one of this call."""


class Results:
    """Results by the name of their case."""

    def __init__(self, folder: Path, machine: dict[str, Any]) -> None:
        device = re.sub(r"[^a-z0-9]+", "-", str(machine["device"]).lower()).strip("-")
        self.path, self.machine = folder / f"{device}.json", machine
        self.by_name: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.by_name = {each["name"]: each for each in json.loads(self.path.read_text())["results"]}

    def has(self, case: Case) -> bool:
        """Return whether the case was measured to its end, or failed, with this device, driver, torch and code."""
        about = self.by_name.get(case.name)
        is_same = about is not None and about["case"] == dataclasses.asdict(case) and about["by"] == self._by()
        return is_same and not (about or {}).get("is_cut", False)

    def is_current(self, about: dict[str, Any]) -> bool:
        """Return whether a result of the file was measured with what is here now."""
        return bool(about["by"] == self._by())

    def keep(self, case: Case, outcome: Outcome, took_s: float) -> dict[str, Any]:
        """Write what is known of a case, and return it."""
        about = {
            "name": case.name,
            "case": dataclasses.asdict(case),
            "by": self._by(),
            "at": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "took_s": round(took_s, 1),
            "found": outcome.found,
        }
        if outcome.error:
            about |= {"error": outcome.error, "is_cut": outcome.is_cut, "last_lines": outcome.last_lines}
        self.by_name[case.name] = about
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"machine": self.machine, "results": list(self.by_name.values())})
        return about

    def _by(self) -> dict[str, Any]:
        return {name: self.machine.get(name) for name in SAME}
