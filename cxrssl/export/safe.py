"""Runs as they may leave the hospital: settings, curves and scores, without a row of a patient.

In: a workspace, names of runs. Out: the files of an archive. No torch. Never: predictions, ids, paths, texts of events,
counts of few people, or a score that nobody has decided to let out.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import hash_content
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.place import check_place
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.averages import find_references, has_seeds, make_settings, table_groups
from cxrssl.evaluate.compare import compare_evaluations, list_pairs
from cxrssl.evaluate.groups import Resamples, SeedGroup, compare_groups, group_seeds, score_group
from cxrssl.export.archive import README, pack_archive, to_json
from cxrssl.export.conditions import Conditions
from cxrssl.export.cut import Cut, cut_comparison, cut_means, cut_scores, find_cut, is_small
from cxrssl.export.readme import write_readme
from cxrssl.export.safe_run import open_run, write_run
from cxrssl.export.unnamed import Names, check_texts
from cxrssl.records.comparison import DIFFERENCES, ComparisonSettings, find_comparison
from cxrssl.records.encoder import FILMS, read_films
from cxrssl.records.eval_settings import PIXELS
from cxrssl.records.evaluation import SCORES, Evaluation, list_evaluations
from cxrssl.records.group import NUMBERS, GroupNumbers, list_groups
from cxrssl.records.reader import RunRecord
from cxrssl.records.run import RunFiles
from cxrssl.records.scores import EvalScores
from cxrssl.records.setup import find_setups

SCORE_FIELDS = frozenset({
    "findings", "macro_auroc", "macro_auprc", "num_films", "num_subjects", "num_resamples", "level", "seed",
    "num_not_packed", "num_twins_left_out", "not_fitted", "not_chosen", "chosen_on_few", "strengths", "is_decoded",
    "decoded", "record_r2", "num_left_out", "num_train_subjects", "train_pos_subjects", "head", "selected_on",
})  # fmt: skip
"""Of scores.json; a field that is not named here stays inside until somebody has looked at what it tells."""
INSIDE = frozenset({"is_matched", "matched", "macro_matched", "matched_on", "num_dropped", "over_draws"})
"""Of scores.json, looked at and left inside: a matched score rests on pairs whose number of people is not recorded."""
BASELINES = ("random-init", PIXELS, "ehr-only", "view-only")
"""Kinds of evaluations that belong to no run; every run is compared with them."""
SEEN = "the run has seen films or people that it is tested on"
SEEN_UNLABELLED = "the run has seen films that are scored, without their labels"


@dataclass(frozen=True)
class SafeExport:
    """What `export_runs` returns."""

    path: Path
    sha256: str
    num_runs: int
    num_evaluations: int
    num_comparisons: int
    num_groups: int
    hidden: Mapping[str, tuple[str, ...]]
    """By eval_id the findings that rest on few subjects."""


@dataclass(frozen=True)
class _Scored:
    """An evaluation, and as it leaves."""

    own: Evaluation
    safe: Evaluation
    cut: Cut


def export_runs(workspace: Workspace, names: Sequence[str], out: Path, may_replace: bool = False) -> SafeExport:
    """Write an archive of runs, of their evaluations and the baselines beside them, that names nobody.

    Raises: UsageError for a run that is not there and a file that may not be replaced, DataError for a run that has not
    ended, or an archive that would name somebody.
    """
    check_place(workspace, out, None)
    if out.exists() and not may_replace:
        raise UsageError("the file is there already", out, "replace it with --force, or use another --out")
    runs = [open_run(workspace, name) for name in dict.fromkeys(workspace.find_run(name).name for name in names)]
    names_of = _find_names(workspace, runs)
    chosen = _select(workspace, runs)
    named = [(run.run_id, run.description) for run in runs]
    cuts_of = [find_cut(each.scores) for each in chosen]
    pairs = [(each, cut_scores(each.scores, cut)) for each, cut in zip(chosen, cuts_of, strict=True)]
    conditions = Conditions.of_archive(named, [(each.settings, _hash_scores(scores)) for each, scores in pairs])
    scored = [
        _make_safe(each, scores, cut, conditions, place)
        for place, ((each, scores), cut) in enumerate(zip(pairs, cuts_of, strict=True))
    ]
    files: dict[str, bytes] = {}
    for run in runs:
        files |= write_run(run, names_of, conditions.words)
    records = {f"evals/{each.safe.eval_id}": _evaluation_records(each) for each in scored}
    records |= _list_comparisons(workspace, scored)
    records |= _list_groups(workspace, scored, runs)
    for folder, contents in records.items():
        check_texts([folder.partition("/")[2], contents], names_of, folder)
        files |= {f"{folder}/{name}": to_json(value) for name, value in contents.items()}
    cuts = {
        each.safe.eval_id: {"hidden": list(each.cut.hidden), "features": list(each.cut.features)}
        for each in scored
        if each.cut.is_coarse
    }
    files[README] = write_readme(list(files), cuts).encode()
    data = pack_archive(files, cuts)
    write_bytes(out, data)
    counts = {kind: sum(each.startswith(f"{kind}/") for each in records) for kind in ("comparisons", "groups")}
    return SafeExport(
        path=out,
        sha256=hashlib.sha256(data).hexdigest(),
        num_runs=len(runs),
        num_evaluations=len(scored),
        num_comparisons=counts["comparisons"],
        num_groups=counts["groups"],
        hidden={each.safe.eval_id: each.cut.hidden for each in scored if each.cut.hidden},
    )


def _find_names(workspace: Workspace, runs: Sequence[RunRecord]) -> Names:
    """Return all subjects and films that the runs and what was scored of them know. Raises: IntegrityError."""
    ids: set[str] = set()
    for run in runs:
        films = RunFiles(run.folder).encoder / FILMS
        if films.is_file():
            seen = read_films(films)
            ids |= {*seen.image_id.tolist(), *seen.subject_id.tolist()}
    for each in list_evaluations(workspace)[0]:
        if not each.imported:
            scored = each.predictions()
            ids |= {*scored.image_id.tolist(), *scored.subject_id.tolist()}
    return Names.of(ids)


def _select(workspace: Workspace, runs: Sequence[RunRecord]) -> list[Evaluation]:
    """Return the evaluations of the runs, and those of baselines on equal terms with one of them."""
    known = [each for each in list_evaluations(workspace)[0] if not each.imported]
    run_ids = {run.run_id for run in runs}
    own = [each for each in known if each.settings.run_id in run_ids]
    terms = {each.settings.terms for each in own}
    beside = [each for each in known if each.settings.kind in BASELINES and each.settings.terms in terms]
    chosen = [each for each in (*own, *beside) if not is_small(each.scores.num_subjects)]
    return sorted(chosen, key=lambda each: each.eval_id)


def _make_safe(own: Evaluation, scores: EvalScores, cut: Cut, conditions: Conditions, place: int) -> _Scored:
    leak, transductive = SEEN if own.settings.leak else "", SEEN_UNLABELLED if own.settings.transductive else ""
    settings = conditions.hide(dataclasses.replace(own.settings, leak=leak, transductive=transductive))
    safe = dataclasses.replace(
        own,
        eval_id=conditions.rename(own.eval_id, settings, place),
        settings=settings,
        scores=scores,
        content_sha256=_hash_scores(scores),
    )
    return _Scored(own, safe, cut)


def _hash_scores(scores: EvalScores) -> str:
    return hash_content({SCORES: hashlib.sha256(to_json(_score_values(scores))).hexdigest()})


def _score_values(scores: EvalScores) -> dict[str, Any]:
    values = {name: value for name, value in scores.to_dict().items() if name in SCORE_FIELDS}
    if values.get("head"):
        values["head"] = {**values["head"], "auroc": None}  # on films of val, of which nobody counted the people
    return values


def _evaluation_records(each: _Scored) -> dict[str, Any]:
    return {"settings.json": each.safe.settings.to_dict(), SCORES: _score_values(each.safe.scores)}


def _list_comparisons(workspace: Workspace, scored: Sequence[_Scored]) -> dict[str, dict[str, Any]]:
    """Return the comparisons that a report makes of these evaluations, by their folders."""
    by_id = {each.own.eval_id: each for each in scored}
    made = {}
    for own_a, own_b in list_pairs([each.own for each in scored]):
        a, b = by_id[own_a.eval_id], by_id[own_b.eval_id]
        record = find_comparison(workspace, ComparisonSettings.of(own_a, own_b))
        try:
            differences = record.differences if record else compare_evaluations(own_a, own_b)
        except IntegrityError:
            raise
        except DataError:
            continue  # as in a report: they cannot be compared
        settings = ComparisonSettings.of(a.safe, b.safe)
        cut = cut_comparison(differences, (a.cut, b.cut))
        made[f"comparisons/{settings.comparison_id}"] = {
            "settings.json": settings.to_dict(),
            DIFFERENCES: cut.to_dict(),
        }
    return made


def _list_groups(
    workspace: Workspace, scored: Sequence[_Scored], runs: Sequence[RunRecord]
) -> dict[str, dict[str, Any]]:
    """Return the means over seeds that a report shows of these evaluations, by their folders."""
    setups = find_setups((run.run_id, run.description) for run in runs)
    cuts, ids = (
        {each.own.eval_id: each.cut for each in scored},
        {each.own.eval_id: each.safe.eval_id for each in scored},
    )
    known = {each.settings.group_id: each for each in list_groups(workspace)[0]}
    safe = _by_members(group_seeds([each.safe for each in scored], setups))
    made = {}
    for table in table_groups(group_seeds([each.own for each in scored], setups)):
        resamples = Resamples()
        for group in table if has_seeds(table) else ():
            references = find_references(group, table)
            record = known.get(group.group_id)
            try:
                if record is not None and record.settings == make_settings(group, references):
                    numbers = record.numbers
                else:
                    differences = {name: compare_groups(group, each, resamples) for name, each in references.items()}
                    numbers = GroupNumbers(score_group(group, resamples), differences)
            except IntegrityError:
                raise
            except DataError:
                continue
            beside = {name: safe[_key(each, ids)] for name, each in references.items()}
            settings = make_settings(safe[_key(group, ids)], beside)
            shown = _cut_numbers(numbers, [group, *references.values()], cuts)
            made[f"groups/{settings.group_id}"] = {"settings.json": settings.to_dict(), NUMBERS: shown.to_dict()}
    return made


def _cut_numbers(numbers: GroupNumbers, groups: Sequence[SeedGroup], cuts: Mapping[str, Cut]) -> GroupNumbers:
    of = [cuts[each.eval_id] for group in groups for each in group.evaluations]
    return GroupNumbers(
        cut_means(numbers.scores, of), {name: cut_means(each, of) for name, each in numbers.differences.items()}
    )


def _by_members(groups: Sequence[SeedGroup]) -> dict[frozenset[str], SeedGroup]:
    return {_key(group, {}): group for group in groups}


def _key(group: SeedGroup, ids: Mapping[str, str]) -> frozenset[str]:
    return frozenset(ids.get(each.eval_id, each.eval_id) for each in group.evaluations)
