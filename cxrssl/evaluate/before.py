"""What is asked of a probe, held against the workspace before torch is loaded, which takes seconds.

In: words of the command line. Out: nothing, or the error that the probe itself would end with. No torch.
Never: a word that is refused here and not by the probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrssl.cohort.again import name_ingest
from cxrssl.cohort.pool import COMMA
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.asked import EVERYTHING, Asked, settle
from cxrssl.evaluate.protocol import Protocol, follow
from cxrssl.evaluate.record import choose_record
from cxrssl.records.encoder import EncoderRecord, open_record
from cxrssl.records.eval_settings import ProbeSettings, check_folds
from cxrssl.records.imported import refuse_imported
from cxrssl.records.packing import explain_unlike_packs, pack_options, read_pack, read_pipeline
from cxrssl.records.run import RunFiles
from cxrssl.train.pooled import open_films


@dataclass(frozen=True)
class Wanted:
    """What a probe is asked for."""

    run_id: str = ""
    """Empty for an encoder of others."""
    cohort: str = ""
    """One or, before `list_cohorts`, several with commas between them; empty for the run's own."""
    split: str = ""
    asked: Asked = EVERYTHING
    protocol: Protocol | None = None
    joined: str = ""
    has_head: bool = False
    """Whether the run's own head is to score films too."""
    elsewhere: Sequence[str] = ()
    """Cohorts to which the probe is carried."""


def list_cohorts(workspace: Workspace, wanted: Wanted) -> tuple[list[str], list[str]]:
    """Return the cohorts to probe on, one after another, and what is to be said of them before.

    They are those that are named, with commas between them, or all that the run was trained on and that have findings.

    Raises: UsageError for an empty name, one named twice, or a probe of several that is to be carried elsewhere.
    """
    named = [name.strip() for name in wanted.cohort.split(COMMA)]
    for name in named if len(named) > 1 else ():
        if not name or named.count(name) > 1:
            what = f'"{plain(wanted.cohort, 120)}" has an empty name of a cohort, or one twice'
            raise UsageError(what, hint="name each cohort once: --on mimic,nih")
    found = named
    notes: list[str] = []
    if wanted.run_id and not wanted.cohort:
        origin = open_record(find_finished(workspace, wanted.run_id).encoder, verify=False).origin
        found = trained_on = [each.cohort for each in origin.cohorts]
        if len(trained_on) > 1:
            found = _with_findings(workspace, trained_on)
            on = f"{len(trained_on)} cohorts: it is probed on {', '.join(found)}"
            rest = [name for name in trained_on if name not in found]
            notes = [f"run {wanted.run_id} was trained on {on}"]
            notes += [f"not on {', '.join(rest)}, without findings to probe"] if rest else []
    if len(found) > 1 and wanted.elsewhere:
        what = f"--test-on carries the probe of one cohort, and {len(found)} are probed: {', '.join(found)}"
        raise UsageError(what, hint=f"name the one that it is fitted on: --on {found[0]}")
    return found, notes


def _with_findings(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """Return those of these cohorts that have findings; all where none has."""
    found = [name for name in names if open_films(workspace, name)[0].finding_names.size]
    return found or list(names)


def check_wanted(workspace: Workspace, wanted: Wanted, settings: ProbeSettings) -> None:
    """Raise what a probe of this would raise, as far as no film need be encoded to know it."""
    check_split(settings, wanted.split)
    check_head_and_folds(wanted.has_head, settings)
    record = open_record(find_finished(workspace, wanted.run_id).encoder, verify=False) if wanted.run_id else None
    if record is not None and wanted.has_head:
        check_head(record, wanted.run_id)
    cohort, _ = open_films(workspace, wanted.cohort or (record.origin.one_cohort() if record else ""))
    check_findings(cohort)
    if not settings.folds and wanted.split:
        cohort.split_of(wanted.split)
    if wanted.joined:
        choose_record(cohort, wanted.joined)
    followed, asked = follow(wanted.protocol, settings, wanted.asked)
    settle(followed, cohort, asked)
    for name in wanted.elsewhere:
        check_elsewhere(name, cohort.name)
        there, _ = open_films(workspace, name)
        check_findings(there)
        compare_packs(workspace, cohort.name, there)


def compare_packs(workspace: Workspace, fitted_on: str, there: Cohort) -> str:
    """Return how the films of a cohort were packed otherwise than those that a probe was fitted on, or "".

    Raises: DataError for another size, which makes another film of each: `cxrssl ingest` packs them alike.
    """
    wanted, path = read_pack(workspace.images / fitted_on), workspace.images / there.name
    packed, pipeline = read_pack(path), read_pipeline(path)
    whose = f"cohort {fitted_on}"
    unlike = explain_unlike_packs(packed, wanted, there.path.tolist(), whose)
    if not unlike and pipeline != read_pipeline(workspace.images / fitted_on):
        unlike = f"by another version of the program than those of {whose}"
    what = f"the films of cohort {there.name} are packed {unlike}" if unlike else ""
    if packed.size_px != wanted.size_px:
        again = name_ingest(there.source, there.name, pack_options(wanted))
        raise DataError(what, path, f"pack them alike: {again}")
    return what


def find_finished(workspace: Workspace, run_id: str) -> RunFiles:
    """Return the files of a finished run. Raises: UsageError, DataError when it is not finished."""
    files = RunFiles(workspace.find_run(run_id))
    if not files.is_published:
        refuse_imported(files.folder, "used to encode films: its encoder stayed where it was trained")
        what = f"run {files.folder.name} is not finished"
        raise DataError(what, files.folder, "run the same pretrain command to resume")
    return files


def check_split(settings: ProbeSettings, split: str) -> None:
    """Raise UsageError for folds that cannot be, or folds and a split."""
    check_folds(settings.folds)
    if settings.folds and split:
        raise UsageError("--folds scores every film, so that --split has no effect", hint="name one of them")


def check_head_and_folds(has_head: bool, settings: ProbeSettings) -> None:
    """Raise UsageError for a head in folds."""
    if has_head and settings.folds:
        what = "--head scores films by a head that is there, and --folds fits a probe for each fold"
        raise UsageError(what, hint="leave one of them out")


def check_head(record: EncoderRecord, run_id: str) -> None:
    """Raise DataError for a run without a head of its own."""
    if record.head_sha256:
        return
    why = "it was published by an older version" if record.learnt_labels else "its objective learns no labels"
    if record.recipe.get("objective", {}).get("pool") == "patches":
        why = "its layer for findings reads the mean of the patches, and not the class token"
    train = "leave --head out, or train one: cxrssl pretrain --recipe finetune --init RUN"
    hint = "pretrain again" if record.learnt_labels else train
    raise DataError(f"run {run_id} has no head of its own: {why}", record.folder, hint)


def check_findings(cohort: Cohort) -> None:
    """Raise DataError for a cohort without findings."""
    if not cohort.finding_names.size:
        hint = "ingest it with a table of labels (cxrssl ingest dicom --map), or probe on another with --cohort"
        raise DataError(f"cohort {cohort.name} has no findings to probe", cohort.root, hint)


def check_elsewhere(name: str, fitted_on: str) -> None:
    """Raise UsageError for a probe that is carried to the cohort that it is fitted on."""
    if name == fitted_on:
        what = f"--test-on names {name}, the cohort that the probe is fitted on"
        raise UsageError(what, hint="its test films are scored anyway: name other cohorts")


def check_files(encoder: Path, seen: Path | None) -> None:
    """Raise DataError when the files of an encoder of others, or the list of its films, are not there."""
    if not encoder.exists():
        raise DataError("there is no such file or folder", encoder)
    if seen is not None and not seen.is_file():
        raise DataError("there is no such list of training films", seen)
