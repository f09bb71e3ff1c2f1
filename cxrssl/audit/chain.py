"""The chain of hashes of a workspace: source, cohort, films, run, encoder, features, evaluation, comparison, ablation.

In: a workspace. Out: each break of the chain, named; how many links held; what was not there to be compared.
Never: a link that is taken for whole because one before it is broken, or a break that is named twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.release.check import KIND as CHECK
from cxrssl.core.artefact import Artefact, open_artefact
from cxrssl.core.durable import hash_settings, sha256_file
from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import KIND as IMAGES
from cxrssl.records.cohorts import KIND as COHORT
from cxrssl.records.damage import Damage
from cxrssl.records.encoder import KIND as ENCODER
from cxrssl.records.encoder import EncoderRecord, name_fault, open_record
from cxrssl.records.features import KIND as FEATURES
from cxrssl.records.file import read_json
from cxrssl.records.published import Published
from cxrssl.records.reader import is_of_encoder
from cxrssl.records.run import KIND as RUN
from cxrssl.records.run import RunDescription, RunFiles

DAMAGED = ""
"""In the place of the hash of what is there and cannot be used: it is named once, and not by what rests on it."""


@dataclass
class Walk:
    """What a walk along the chain has found so far."""

    breaks: list[Damage] = field(default_factory=list)
    num_held: Counter[str] = field(default_factory=Counter)
    """Published folders that are what their manifests say, by kind."""
    missing: Counter[str] = field(default_factory=Counter)
    """What may be absent and was, so that it was not compared, in words."""
    cohorts: dict[str, str] = field(default_factory=dict)
    """By name the hash of the content, DAMAGED where there is none."""
    images: dict[str, str] = field(default_factory=dict)
    encoders: dict[str, EncoderRecord | None] = field(default_factory=dict)
    """By run_id; None for one that is damaged."""
    evaluations: dict[str, str] = field(default_factory=dict)

    def name(self, kind: str, name: str, what: str) -> None:
        """Add a break."""
        self.breaks.append(Damage(kind, name, what))

    def open(self, path: Path, kind: str, name: str = "") -> Artefact | None:
        """Return a published folder of which every byte is as it was published; None where that is a break."""
        try:
            artefact = open_artefact(path, kind)
        except IntegrityError as error:
            self.name(kind, name or path.name, error.what)
            return None
        self.num_held[kind] += 1
        return artefact


def walk_data(workspace: Workspace) -> Walk:
    """Walk from the publishers' checksums to the packed films."""
    walk = Walk()
    for path in _folders(workspace.checks):
        walk.open(path, CHECK)
    for name in workspace.cohort_names():
        cohort = walk.open(workspace.cohorts / name, COHORT)
        walk.cohorts[name] = _hash_cohort(walk, cohort) if cohort else DAMAGED
        if cohort:
            _compare_sources(walk, cohort, workspace)
    for path in _folders(workspace.images):
        films = walk.open(path, IMAGES)
        walk.images[path.name] = films.content_sha256 if films else DAMAGED
        if films:
            compare_cohort(walk, (IMAGES, path.name), path.name, str(films.settings.get("cohort_sha256")))
    return walk


def walk_runs(walk: Walk, workspace: Workspace, published: Published) -> None:
    """Walk from cohorts and films to runs, and from these to their encoders and what those descend from."""
    walk.breaks += [each for each in published.damage if each.kind == RUN and not is_of_encoder(each)]
    for run_id in workspace.run_ids():
        files = RunFiles(workspace.runs / run_id)
        record = next((each for each in published.runs if each.run_id == run_id), None)
        if record is not None and record.imported:
            walk.missing["cohort and films of an imported run"] += 1
            continue
        if record is not None:
            _compare_run(walk, record.description)
        if files.is_published:
            _open_encoder(walk, files, record.description if record else None)
    for run_id, encoder in walk.encoders.items():
        _compare_ancestors(walk, run_id, encoder)


def walk_features(walk: Walk, workspace: Workspace) -> None:
    """Compare frozen features with their manifests, and with the key that their folder is named by."""
    for path in _folders(workspace.features):
        features = walk.open(path, FEATURES)
        if features and hash_settings(features.settings)[:16] != path.name:
            walk.name(FEATURES, path.name, "lies under the name of other weights or films")


def compare_cohort(walk: Walk, of: tuple[str, str], cohort: str, sha256: str) -> None:
    """Compare the hash of a cohort that something was made from with the cohort that is there now.

    `of` is the kind and the name of what was made. A workspace without any cohort holds results alone, and they stand
    for themselves.
    """
    _compare_made_from(walk, of, ("cohort", cohort), walk.cohorts, sha256)


def compare_films(walk: Walk, of: tuple[str, str], cohort: str, sha256: str) -> None:
    """Compare the hash of packed films with those that are there now; see `compare_cohort`."""
    _compare_made_from(walk, of, ("films of cohort", cohort), walk.images, sha256)


def _compare_made_from(
    walk: Walk, of: tuple[str, str], what: tuple[str, str], known: Mapping[str, str], sha256: str
) -> None:
    words = f"{what[0]} {plain(what[1], 60)}"
    if not known:
        walk.missing[f"{what[0]}, of which none is here"] += 1
    elif what[1] not in known:
        walk.name(*of, f"was made from {words}, which is gone")
    elif sha256 and known[what[1]] not in (DAMAGED, sha256):
        walk.name(*of, f"was made from {words} in another state ({sha256[:12]}, now {known[what[1]][:12]})")


def _hash_cohort(walk: Walk, cohort: Artefact) -> str:
    """Return the hash of what a cohort says of its films, by which what was made from it names it."""
    try:
        return open_cohort(cohort.path, check=False).content_sha256
    except DataError as error:
        walk.name(COHORT, cohort.path.name, error.what)
        return DAMAGED


def _compare_sources(walk: Walk, cohort: Artefact, workspace: Workspace) -> None:
    """Compare the tables that a cohort was read from with those that lie there now; look for the checks that vouch."""
    name, root = cohort.path.name, Path(cohort.inputs.get("root", ""))
    for file, sha256 in cohort.inputs.items():
        if file == "root":
            continue
        path = root / file
        try:
            if not path.is_file():
                walk.missing["source table of a cohort"] += 1
            elif sha256_file(path) != sha256:
                walk.name(COHORT, name, f"its source {plain(file, 120)} has changed since it was read")
        except OSError:
            walk.missing["source table of a cohort"] += 1
    try:
        release = read_json(cohort.path / "summary.json").get("release") or {}
        checks = [str(key) for key in release.get("checks", ())]
    except (IntegrityError, AttributeError, TypeError):
        return
    for key in checks:
        if not (workspace.checks / key).is_dir():
            walk.name(COHORT, name, f"the check of its release, {plain(key, 60)}, is gone")


def _compare_run(walk: Walk, run: RunDescription) -> None:
    of = (RUN, run.run_id)
    if run.recipe_sha256 and hash_settings(run.recipe) != run.recipe_sha256:
        walk.name(*of, "run.json holds another recipe than the one whose hash it names")
    for each in run.cohorts:
        compare_cohort(walk, of, each.cohort, each.cohort_sha256)
        compare_films(walk, of, each.cohort, each.images_sha256)


def _open_encoder(walk: Walk, files: RunFiles, run: RunDescription | None) -> None:
    run_id = files.folder.name
    try:
        encoder = open_record(files.encoder)
        films = encoder.films()
    except IntegrityError as error:
        walk.encoders[run_id] = None
        walk.name(RUN, run_id, name_fault(error))
        return
    walk.encoders[run_id] = encoder
    walk.num_held[ENCODER] += 1
    if run is None:
        return
    named: dict[str, tuple[Any, Any]] = {
        "run": (encoder.origin.run_id, run_id),
        "recipe": (encoder.recipe, run.recipe),
        "recipe's hash": (encoder.origin.recipe_sha256, run.recipe_sha256),
        "cohort": (encoder.origin.cohort_sha256, run.cohort_sha256),
        "films' hash": (encoder.origin.images_sha256, run.images_sha256),
        "number of films": (len(films.image_id), run.num_films),
    }
    unlike = [what for what, (first, second) in named.items() if first != second and second]
    if unlike:
        walk.name(RUN, run_id, f"encoder: is not that of its run.json: {', '.join(unlike)}")


def _compare_ancestors(walk: Walk, run_id: str, encoder: EncoderRecord | None) -> None:
    for each in encoder.ancestors if encoder else ():
        if each.external is not None:
            walk.missing["file of an encoder that others trained"] += 1
            continue
        name = each.name.partition(":")[0]
        parent = walk.encoders.get(name)
        if name not in walk.encoders:
            walk.missing["run that another one started from"] += 1
        elif parent and each.weights_sha256 not in (parent.weights_sha256, parent.anchor_sha256):
            walk.name(RUN, run_id, f"started from other weights than those of run {plain(name, 120)}")


def _folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def describe_missing(walk: Walk) -> list[str]:
    """Return what was not compared, in words with how often."""
    return [f"not compared, {count_noun(num, 'time')}: {what}" for what, num in sorted(walk.missing.items())]
