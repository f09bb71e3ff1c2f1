"""Which fitted probe is applied to which films, and where its scores go: known before torch is loaded.

In: a workspace, a run or an evaluation, a folder of films or a cohort. Out: Chosen. No torch.
Never: a file over another one, in a dataset, or among the workspace's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.place import check_place
from cxrssl.core.text import few_nearest, plain, shell_word
from cxrssl.core.workspace import Workspace
from cxrssl.export.ids import Ids
from cxrssl.records.encoder import open_record
from cxrssl.records.eval_settings import JOINED, PIXELS
from cxrssl.records.evaluation import Evaluation, open_evaluation
from cxrssl.records.fitted import Fitted, FittedPatches, has_fitted, has_patches, open_probe
from cxrssl.records.reading import CLS, parse_reading
from cxrssl.records.run import RunFiles

SUFFIXES = (".csv", ".parquet")
RECORD_TOO = "reads the health record, which new films come without"
NOT_FOR_FILMS: dict[str, str] = {
    PIXELS: "reads a thumbnail of each film: it is a baseline, and is applied to no new films",
    JOINED: RECORD_TOO,
    "ehr-only": RECORD_TOO,
    "view-only": RECORD_TOO,
    "random-init": "reads an encoder that was never trained: it is a baseline, and is applied to no new films",
}
"""By kind of evaluation: why its probe is not applied to new films."""


@dataclass(frozen=True)
class PredictChoices:
    """What is predicted, and where it is written."""

    folder: Path | None = None
    """Of films; None for a cohort."""
    cohort: str = ""
    out: Path | None = None
    ids: Ids = "pseudonyms"
    """Of a cohort's films; those of a folder have their file names."""
    device: str = "auto"
    may_replace: bool = False
    num_workers: int = 0
    has_external: bool = False
    """Whether the files of an encoder of others are named."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A fitted probe that can be applied to new films, and the file that is to be written."""

    evaluation: Evaluation
    fitted: Fitted | FittedPatches
    dest: Path


def choose_probe(workspace: Workspace, name: str, choices: PredictChoices) -> Chosen:
    """Return the probe of a run or an evaluation, and where its scores go.

    Raises: UsageError for a wrong place, DataError when there is no such probe, or one that cannot read new films.
    """
    evaluation = find_evaluation(workspace, name)
    why = _why_not(evaluation)
    if why:
        what = f"the probe of evaluation {evaluation.eval_id} {why}"
        raise DataError(what, evaluation.path, "name a run that was probed, or the evaluation of one")
    _check_external(evaluation, choices)
    return Chosen(evaluation, open_probe(evaluation), find_place(workspace, evaluation, choices))


def _check_external(evaluation: Evaluation, choices: PredictChoices) -> None:
    is_of_others = evaluation.settings.kind == "external"
    if is_of_others and not choices.has_external:
        what = f"the probe of evaluation {evaluation.eval_id} reads an encoder of others"
        raise UsageError(f"{what}, whose weights the workspace does not keep", hint="name its files: --external PATH")
    if choices.has_external and not is_of_others:
        what = f"--external says nothing: the probe of evaluation {evaluation.eval_id} reads the encoder of a run"
        raise UsageError(what, hint="omit --external")


def _why_not(evaluation: Evaluation) -> str:
    """Return why a probe of this kind is not applied to new films; "" for one that may be."""
    settings = evaluation.settings
    reading = parse_reading(settings.candidate.read) if settings.candidate.read else CLS
    if reading.kind == "knn":
        return f"reads {reading.words}: it is the train films themselves, which are not kept with it"
    if settings.probe.protocol and settings.candidate.weights_sha256:
        return f"reads films as protocol {plain(settings.probe.protocol, 60)} shows them"
    return NOT_FOR_FILMS.get(settings.kind, "")


def find_evaluation(workspace: Workspace, name: str) -> Evaluation:
    """Return the evaluation of this id, or that of a run: the one with a fitted probe, on its own cohort if on several.

    Raises: UsageError when there are several, or neither; DataError when a run has no fitted probe.
    """
    if name in workspace.eval_ids():
        return open_evaluation(workspace.evals / name)
    run_id = workspace.find_run(name).name
    found = [
        open_evaluation(workspace.evals / each) for each in workspace.eval_ids() if each.startswith(f"{run_id}-on-")
    ]
    found = [each for each in found if each.settings.candidate_id == run_id]
    if not found:
        raise DataError(f"run {run_id} has not been probed", workspace.evals, f"fit a probe: cxrssl probe {run_id}")
    usable = [each for each in found if has_fitted(each) or has_patches(each)]
    usable = [each for each in usable if each.settings.probe.is_whole] or usable
    if len(usable) > 1:
        cohorts = {each.cohort for each in open_record(RunFiles(workspace.runs / run_id).encoder).origin.cohorts}
        own = [each for each in usable if each.settings.cohort in cohorts]
        usable = own or usable
    if len(usable) > 1:
        hint = f"name one of them: {few_nearest(name, [each.eval_id for each in usable])}"
        raise UsageError(f"run {run_id} has {len(usable)} fitted probes", hint=hint)
    return usable[0] if usable else found[0]


def find_place(workspace: Workspace, evaluation: Evaluation, choices: PredictChoices) -> Path:
    """Return the file that will be written. Raises: UsageError."""
    if choices.out is not None and choices.out.suffix not in SUFFIXES:
        what = f'the ending of the file says its format, and "{plain(choices.out.suffix, 20)}" is none'
        raise UsageError(what, choices.out, f"--out {shell_word(choices.out.with_suffix('.csv'))}, or .parquet")
    if choices.folder is not None and not choices.folder.is_dir():
        raise UsageError("there is no such folder of films", choices.folder, "check the path")
    source = choices.cohort if choices.folder is None else choices.folder.resolve().name
    shown = re.sub(r"[^A-Za-z0-9_+.-]+", "-", source)[:60]
    own = workspace.exports / f"{evaluation.settings.candidate_id}-predicts-{shown}.csv"
    dest = (choices.out or own).absolute()
    root = choices.folder or open_cohort(workspace.find_cohort(choices.cohort), verify=False).root
    check_place(workspace, dest, root)
    if dest.exists() and not choices.may_replace:
        raise UsageError("the file is there already", dest, "replace it with --force, or use another --out")
    return dest
