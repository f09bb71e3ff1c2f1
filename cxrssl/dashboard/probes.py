"""Published evaluations as rows, read from their files: the module that makes them needs torch, a reader does not.

In: the folder of an evaluation. Out: ProbeRow, or None when it cannot be read whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import MANIFEST, open_artefact
from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import IntegrityError
from cxrssl.core.numbers import number_of
from cxrssl.dashboard.state import FindingRow, ProbeRow, Score

KIND = "evaluation"
SCORES = "scores.json"


def probe_terms_of(folder: Path) -> object:
    """Return what changes when an evaluation is published anew."""
    try:
        info = (folder / MANIFEST).stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size, info.st_ino


def read_probe(folder: Path) -> ProbeRow | None:
    """Return a published evaluation; only the hash of its scores is checked, predictions are not opened."""
    try:
        artefact = open_artefact(folder, KIND, verify=False)
        if sha256_file(folder / SCORES) != artefact.manifest["files"][SCORES]["sha256"]:
            return None
        return _row_of(folder.name, artefact.settings, json.loads((folder / SCORES).read_bytes()))
    except (IntegrityError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _row_of(eval_id: str, settings: dict[str, Any], scores: dict[str, Any]) -> ProbeRow:
    terms = [settings.get(key) for key in ("cohort_sha256", "images_sha256", "probe")]
    return ProbeRow(
        eval_id=eval_id,
        **{key: str(settings[key]) for key in ("candidate_id", "kind", "label", "cohort", "split")},
        auroc=_score(scores["macro_auroc"]),
        auprc=_score(scores["macro_auprc"]),
        num_films=int(scores["num_films"]),
        num_subjects=int(scores["num_subjects"]),
        is_outcome_used=bool(settings.get("is_outcome_used")),
        findings=tuple(_finding(name, score) for name, score in scores["findings"].items()),
        terms=json.dumps(terms, sort_keys=True),
        method=f"{float(scores['level']):.0%} percentile bootstrap over subjects, "
        f"{int(scores['num_resamples']):,} resamples",
    )


def _finding(name: str, score: dict[str, Any]) -> FindingRow:
    return FindingRow(
        name, _score(score["auroc"]), _score(score["auprc"]), int(score["num_pos"]), int(score["num_scored"])
    )


def _score(interval: dict[str, Any]) -> Score:
    return Score(*(number_of(interval[key]) for key in ("value", "lo", "hi")))
