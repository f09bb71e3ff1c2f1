"""What was made of a run and would lose its origin with it: evaluations, ablations, runs that started from it.

In: a workspace. Out: Needs. Never: a look at more than manifests, contracts and run.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrssl.core.artefact import MANIFEST
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import count_noun
from cxrssl.core.workspace import Workspace
from cxrssl.records.contract import CONTRACT
from cxrssl.records.eval_settings import EvalSettings
from cxrssl.records.fields import read_fields
from cxrssl.records.file import read_json
from cxrssl.records.run import RunFiles


@dataclass(frozen=True)
class Needs:
    """What needs a run."""

    evaluations: tuple[str, ...] = ()
    ablations: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.evaluations or self.ablations or self.runs)

    @property
    def sentence(self) -> str:
        """As in "2 evaluations, 1 ablation (controls)"."""
        parts = []
        for names, noun in ((self.evaluations, "evaluation"), (self.ablations, "ablation"), (self.runs, "run")):
            if names:
                more = ", ..." if len(names) > 3 else ""
                parts.append(f"{count_noun(len(names), noun)} ({', '.join(names[:3])}{more})")
        return ", ".join(parts)


def find_needs(workspace: Workspace, run_id: str) -> Needs:
    """Return what needs a run."""
    return Needs(
        evaluations=tuple(name for name, of_run in _evaluated(workspace) if of_run == run_id),
        ablations=tuple(_ablations_of(workspace, run_id)),
        runs=tuple(_started_from(workspace, run_id)),
    )


def _evaluated(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield the evaluations with the run that each is of."""
    for name in workspace.eval_ids():
        settings = _table(_read(workspace.evals / name / MANIFEST)).get("settings")
        yield name, read_fields(EvalSettings, settings, []).run_id


def _ablations_of(workspace: Workspace, run_id: str) -> Iterator[str]:
    for name in workspace.ablation_names():
        if run_id in _table(_table(_read(workspace.ablations / name / CONTRACT)).get("runs")):
            yield name


def _started_from(workspace: Workspace, run_id: str) -> Iterator[str]:
    for name in workspace.run_ids():
        recipe = _table(_table(_read(RunFiles(workspace.runs / name).description)).get("recipe"))
        init, extends = _table(recipe.get("model")).get("init"), _table(recipe.get("train")).get("extends")
        if run_id in {str(each).partition("@")[0].partition(":")[0] for each in (init, extends)}:
            yield name


def _read(path: Path) -> object:
    try:
        return read_json(path)
    except IntegrityError:
        return {}


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
