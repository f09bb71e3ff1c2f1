"""An archive of `cxrssl runs export` brought into a workspace: runs and scores that can be read, and say whence.

In: a file that anybody may have made. Out: published folders that reports, the dashboard and SQL show. No torch.
Never: anything written before all of it was checked, or a folder replaced.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import hash_content, open_artefact, publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import CxrsslError, IntegrityError, UsageError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.export.archive import AGAIN, DAMAGED, Archive, read_archive
from cxrssl.records.comparison import DIFFERENCES, ComparisonSettings
from cxrssl.records.comparison import KIND as COMPARISON
from cxrssl.records.eval_settings import EvalSettings
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import SCORES, EvalScores
from cxrssl.records.events import is_event, run_state
from cxrssl.records.fields import read_fields
from cxrssl.records.group import KIND as GROUP
from cxrssl.records.group import NUMBERS, GroupNumbers, GroupSettings
from cxrssl.records.imported import IN_TENS, RUN, Imported
from cxrssl.records.run import DESCRIPTION, EVENTS, RunDescription
from cxrssl.records.tail import is_metric, records_in
from cxrssl.stats.scores import Comparison

CURVES = "metrics-0001.jsonl"
SETTINGS = "settings.json"
STATES = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Intake:
    """What `import_runs` returns."""

    sha256: str
    """Of the archive."""
    run_ids: tuple[str, ...]
    eval_ids: tuple[str, ...]
    num_new: int
    """Folders that were not there already."""


@dataclass(frozen=True)
class _Folder:
    """A folder to be published."""

    dest: Path
    kind: str
    settings: Mapping[str, Any]
    files: Mapping[str, bytes]
    imported: Imported

    @property
    def content_sha256(self) -> str:
        return hash_content({name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()})


def import_runs(workspace: Workspace, path: Path) -> Intake:
    """Publish all that an archive holds; what the workspace holds of it already stays.

    Raises: DataError for what is no whole archive of this version, UsageError when something else has one of its names.
    """
    archive = read_archive(path)
    try:
        folders = [
            *_list_evaluations(workspace, archive),
            *_list_pairs(workspace, archive),
            *_list_runs(workspace, archive),
        ]
    except IntegrityError as error:
        raise IntegrityError(error.what, path, AGAIN) from None
    new = [folder for folder in folders if not _is_there(folder)]
    for folder in new:
        with publish(folder.dest, folder.kind, folder.settings, folder.imported.to_inputs()) as building:
            for name, data in folder.files.items():
                write_bytes(building / name, data)
    return Intake(archive.sha256, tuple(archive.names_in("runs")), tuple(archive.names_in("evals")), len(new))


def _is_there(folder: _Folder) -> bool:
    """Return whether the workspace holds this very folder. Raises: UsageError when it holds another of its name."""
    if not folder.dest.exists() and not folder.dest.is_symlink():
        return False
    try:
        found = open_artefact(folder.dest, folder.kind)
        if found.inputs.get("archive") and found.content_sha256 == folder.content_sha256:
            return True
    except CxrsslError:
        pass
    place = f"{folder.dest.parent.name}/{folder.dest.name}"
    hint = "import it into another workspace: --workspace FOLDER"
    raise UsageError(f"the workspace holds another {plain(place, 200)}: nothing was imported", folder.dest, hint)


def _list_evaluations(workspace: Workspace, archive: Archive) -> Iterator[_Folder]:
    for eval_id in archive.names_in("evals"):
        place = f"evals/{eval_id}"
        values = archive.read_json(f"{place}/{SETTINGS}")
        _parse(EvalSettings, values, f"{place}/{SETTINGS}")
        _parse(EvalScores, archive.read_json(f"{place}/{SCORES}"), f"{place}/{SCORES}")
        files = {SCORES: archive.files[f"{place}/{SCORES}"]}
        yield _Folder(workspace.evals / eval_id, EVALUATION, values, files, _cut_of(archive, eval_id))


def _cut_of(archive: Archive, eval_id: str) -> Imported:
    """Return what the archive says that it left out of an evaluation."""
    cut = archive.cuts.get(eval_id)
    if cut is None:
        return Imported(archive.sha256)
    if not isinstance(cut, dict) or not all(isinstance(cut.get(name), list) for name in ("hidden", "features")):
        raise IntegrityError(f"{DAMAGED}: its manifest does not say what was left out of {eval_id}")
    lists = [cut.get("hidden"), cut.get("features")]
    hidden, features = (", ".join(plain(each, 60) for each in names or []) for names in lists)
    return Imported(archive.sha256, hidden, features, IN_TENS)


def _list_pairs(workspace: Workspace, archive: Archive) -> Iterator[_Folder]:
    """Yield comparisons and groups."""
    made: tuple[tuple[str, str, str, Path, type[Any], type[Any]], ...] = (
        ("comparisons", COMPARISON, DIFFERENCES, workspace.comparisons, ComparisonSettings, Comparison),
        ("groups", GROUP, NUMBERS, workspace.groups, GroupSettings, GroupNumbers),
    )
    for folder, kind, file, parent, settings, numbers in made:
        for name in archive.names_in(folder):
            place = f"{folder}/{name}"
            values = archive.read_json(f"{place}/{SETTINGS}")
            about = _parse(settings, values, f"{place}/{SETTINGS}")
            if name != (about.comparison_id if kind == COMPARISON else about.group_id):
                raise IntegrityError(f"{DAMAGED}: {place} is that of another {kind}")
            _parse(numbers, archive.read_json(f"{place}/{file}"), f"{place}/{file}")
            yield _Folder(
                parent / name, kind, values, {file: archive.files[f"{place}/{file}"]}, Imported(archive.sha256)
            )


def _list_runs(workspace: Workspace, archive: Archive) -> Iterator[_Folder]:
    for run_id in archive.names_in("runs"):
        place, faults = f"runs/{run_id}", list[str]()
        about = RunDescription.from_dict(archive.read_json(f"{place}/{DESCRIPTION}"), faults)
        if about.run_id != run_id:
            faults.append("is that of another run")
        if faults:
            raise IntegrityError(f"{DAMAGED}: {place}/{DESCRIPTION} {faults[0]}")
        names = (DESCRIPTION, EVENTS, CURVES)
        missing = [name for name in names if f"{place}/{name}" not in archive.files]
        if missing:
            raise IntegrityError(f"{DAMAGED}: {place}/{missing[0]} is missing")
        files = {name: archive.files[f"{place}/{name}"] for name in names}
        events = records_in(files[EVENTS])
        if not all(map(is_event, events)) or run_state(events, 0.0) not in STATES:
            raise IntegrityError(f"{DAMAGED}: {place}/{EVENTS} does not say that the run has ended")
        if not all(map(is_metric, records_in(files[CURVES]))):
            raise IntegrityError(f"{DAMAGED}: {place}/{CURVES} holds records of no step")
        yield _Folder(workspace.runs / run_id, RUN, {"run_id": run_id}, files, Imported(archive.sha256))


def _parse(kind: type[Any], values: Any, place: str) -> Any:
    faults: list[str] = []
    record = read_fields(kind, values, faults)
    if faults:
        raise IntegrityError(f"{DAMAGED}: {place} {faults[0]}")
    known = {field.name for field in dataclasses.fields(kind)}
    if strangers := sorted(set(values) - known):
        raise IntegrityError(f'{DAMAGED}, or a newer cxrssl wrote it: {place} has "{plain(strangers[0], 60)}"')
    return record
