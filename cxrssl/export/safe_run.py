"""One run as it may leave the hospital: its description, when things happened to it, and the numbers of its steps.

Never: ids, paths, hosts, texts of events, or a digit more than three of what rests on films of a panel.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.numbers import encode_numbers
from cxrssl.core.workspace import Workspace
from cxrssl.export.archive import to_json
from cxrssl.export.cut import cut_description
from cxrssl.export.unnamed import Names, check_texts
from cxrssl.records.events import is_telling
from cxrssl.records.reader import RunRecord, read_run
from cxrssl.records.run import RunFiles
from cxrssl.records.steps import NO_METRICS, iter_metrics
from cxrssl.records.tail import iter_journal

ENDED = frozenset({"finished", "stopped", "failed"})
METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
"""Of what belongs to no finding: those of a finding rest on films of a few subjects, and have its name in theirs."""
PROBED = "probe_"
"""Begins the names of metrics that rest on films of a panel: they keep three digits."""
VERSIONS = ("cxrssl", "torch")
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def open_run(workspace: Workspace, run_id: str) -> RunRecord:
    """Return a run that may leave. Raises: DataError if it has not ended, UsageError if it was imported."""
    run = read_run(workspace.runs / run_id)
    if run is None or run.damage:
        what = run.damage[0].sentence if run else f"run {run_id} cannot be read"
        raise DataError(what, workspace.runs / run_id)
    if run.imported:
        raise UsageError(f"run {run_id} was imported: hand on the archive that it came in", run.folder)
    if run.state not in ENDED:
        raise DataError(f"run {run_id} has not ended: it is {run.state}", run.folder, "resume it, or let it end")
    return run


def write_run(run: RunRecord, names: Names, conditions: Sequence[str]) -> dict[str, bytes]:
    """Return the files of a run. Raises: DataError when one would name somebody."""
    place, about = f"runs/{run.run_id}", cut_description(run.description, conditions)
    versions = {name: about.versions[name] for name in VERSIONS if name in about.versions}
    commit, code = _keep_hash(about.commit), _keep_hash(about.code_sha256)
    description = dataclasses.replace(about, versions=versions, commit=commit, code_sha256=code).to_dict()
    events, metrics = list(_clean_events(run.folder)), list(_clean_metrics(run.folder))
    check_texts([run.run_id, description], names, place)
    check_texts(sorted({name for record in metrics for name in record}), names, place)
    return {
        f"{place}/run.json": to_json(description),
        f"{place}/events.jsonl": _to_lines(events),
        f"{place}/metrics-0001.jsonl": _to_lines(metrics),
    }


def _keep_hash(text: str) -> str:
    """Return a hash as it is, and nothing for any other text."""
    return text if HASH.fullmatch(text) else ""


def _clean_events(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield when what happened to a run, without the process, the host and the words of it."""
    for record in iter_journal(RunFiles(folder).events):
        if is_telling(record):
            numbers = {name: record[name] for name in ("ts", "step") if _is_number(record.get(name))}
            yield {"event": record["event"], **numbers}


def _clean_metrics(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the numbers of each step."""
    for record in iter_metrics(folder):
        numbers = {
            name: round(value, 3) if name.startswith(PROBED) and math.isfinite(value) else value
            for name, value in record.items()
            if name in NO_METRICS or (METRIC_NAME.fullmatch(name) and _is_number(value))
        }
        yield {name: value for name, value in numbers.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _to_lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(
        json.dumps(encode_numbers(record), allow_nan=False, separators=(",", ":")).encode() + b"\n"
        for record in records
    )
