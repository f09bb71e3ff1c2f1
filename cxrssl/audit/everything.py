"""Everything that is published, audited: each cohort alone, each pair of cohorts, each run, each evaluation.

In: a workspace. Out: one Audit. Never: an exception for what is wrong with the data: that is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from cxrssl.audit.checks import Audit, Result, make_audit, pass_check, report_finding, skip_check
from cxrssl.audit.cohorts import Audited, audit_cohort, audit_pair, look_at_all, open_audited
from cxrssl.audit.evaluations import Evaluated, audit_evaluation, audit_reuse, read_evaluated
from cxrssl.audit.pretraining import TRANSDUCTIVE, audit_pretraining
from cxrssl.audit.seen import Pretraining, read_pretraining
from cxrssl.cohort.features import known_names
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.text import count_noun, nearest_hint, plain
from cxrssl.core.workspace import MOST_RUNS, Workspace
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.records.comparison import KIND as COMPARISON
from cxrssl.records.damage import Damage
from cxrssl.records.encoder import name_fault
from cxrssl.records.eval_settings import is_of_folds
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.group import KIND as GROUP
from cxrssl.records.published import Published, read_published
from cxrssl.records.reader import RunRecord, is_of_encoder
from cxrssl.records.run import RunFiles

UNLISTED = "films-not-listed"
DAMAGED = "record-damaged"
_Key = tuple[str, str, str]
"""Run, cohort and split; the last two are empty for what concerns the run alone."""


def audit_workspace(
    workspace: Workspace,
    name: str = "",
    against: Sequence[str] = (),
    targets: Sequence[str] = (),
    read: Published | None = None,
) -> Audit:
    """Return the audit of one cohort, or of all when none is named.

    `against` names the cohorts and runs to compare it with, all when empty; `targets` the findings, or features, that
    are to be predicted; `read` is what was just read of the workspace, None reads it.

    Raises: UsageError for a name that does not exist.
    """
    names = [workspace.find_cohort(name).name] if name else workspace.cohort_names()
    if not names:
        workspace.find_cohort("")  # its error names the command that makes one
    others, runs = _resolve(workspace, against)
    audits, opened = [], dict[str, Audited]()
    found = {each: open_audited(workspace, each) for each in dict.fromkeys([*names, *others])}
    _check_targets([each for each in found.values() if isinstance(each, Cohort)], targets)
    for each, cohort in found.items():
        results = [cohort] if isinstance(cohort, Result) else []
        if isinstance(cohort, Cohort):
            results, opened[each] = audit_cohort(workspace, cohort, targets)
        audits += [make_audit(f"cohort {each}", results)] if each in names else []
    for first, second in _pairs(names, others):
        if first in opened and second in opened:
            audits.append(audit_pair(opened[first], opened[second]))
    read = read or read_published(workspace)
    evaluated, damage = _read_arrays(read)
    audited = {each: opened[each] for each in names if each in opened}
    of_runs: dict[_Key, Audit] = {}
    for run_id in runs:
        of_runs |= _audit_run(workspace, run_id, read, opened, audited, evaluated, targets)
    audits += of_runs.values()
    audits += _audit_evaluations(workspace, audited, of_runs, evaluated, with_baselines=not against)
    audits += [] if against else [make_audit(f"{each.kind} {each.name}", [_name_damage(each)]) for each in damage]
    return Audit(tuple(result for audit in audits for result in audit.results))


def _resolve(workspace: Workspace, against: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the cohorts and the runs that are named; all of both when none is."""
    if not against:
        return workspace.cohort_names(), workspace.run_ids()
    cohorts, runs = [], []
    for name in against:
        if name in workspace.cohort_names():
            cohorts.append(name)
        elif any(run_id.startswith(name) for run_id in workspace.run_ids()):
            runs.append(workspace.find_run(name).name)
        else:
            known = [*workspace.cohort_names(), *workspace.run_ids()]
            raise UsageError(
                f'no cohort and no run "{plain(name, 80)}"', workspace.root, nearest_hint(name, known, MOST_RUNS)
            )
    return cohorts, runs


def _pairs(names: Sequence[str], others: Sequence[str]) -> list[tuple[str, str]]:
    """Return (pretraining, test) for every two cohorts of which one is audited."""
    both = [(a, b) for a in names for b in others if a != b]
    return list(dict.fromkeys([*both, *((b, a) for a, b in both)]))


def _check_targets(cohorts: Sequence[Cohort], targets: Sequence[str]) -> None:
    """Raise UsageError for a target that no cohort has: one cohort need not have the findings of another."""
    known = {*known_names()}.union(*(each.finding_names.tolist() for each in cohorts))
    for target in targets:
        if target not in known:
            raise UsageError(f'there is no finding or feature "{plain(target, 60)}"', hint=nearest_hint(target, known))


def _audit_run(
    workspace: Workspace,
    run_id: str,
    read: Published,
    opened: dict[str, Audited],
    audited: dict[str, Audited],
    evaluated: Sequence[Evaluated],
    targets: Sequence[str],
) -> dict[_Key, Audit]:
    """Return the audits of a run alone and against each audited cohort."""
    alone, about = (run_id, "", ""), f"run {run_id}"
    record = next((each for each in read.runs if each.run_id == run_id), None)
    whole = _find_damage([each for each in read.damage if (each.kind, each.name) == ("run", run_id)])
    if not RunFiles(workspace.runs / run_id).encoder.exists():
        why = "the run was imported" if record and record.imported else "the run is not finished"
        return {alone: make_audit(about, [*whole, skip_check(UNLISTED, why)])}
    try:
        run = read_pretraining(workspace, run_id, {name: each.images for name, each in opened.items()})
    except IntegrityError as error:
        damage = Damage("run", run_id, name_fault(error))
        return {alone: make_audit(about, [*whole, report_finding(UNLISTED, "its list of films", damage.sentence)])}
    changed = [_find_changed_cohort(each, opened.get(each.cohort)) for each in run.cohorts]
    results = [*whole, _find_unlisted(run, record), *changed]
    audits = {alone: make_audit(about, results)}
    for name, each in audited.items():
        scheme = run.scheme_on(each.cohort)
        probed = [e.settings.split for e in evaluated if (e.settings.run_id, e.settings.cohort) == (run_id, name)]
        usual = scheme if scheme in each.cohort.schemes else each.cohort.default_split
        for scheme in dict.fromkeys([usual, *(split for split in probed if _has_split(each.cohort, split))]):
            about = f"run {run_id} on cohort {name}, split {scheme}"
            results = look_at_all(about, partial(audit_pretraining, run, each.cohort, each.images, scheme, targets))
            audits[run_id, name, scheme] = make_audit(about, results)
    return audits


def _audit_evaluations(
    workspace: Workspace,
    audited: dict[str, Audited],
    of_runs: dict[_Key, Audit],
    evaluated: Sequence[Evaluated],
    with_baselines: bool,
) -> list[Audit]:
    """Return the audits of the evaluations of these runs on these cohorts, and of how often test films were scored."""
    audits, chosen = [], []
    for each in evaluated:
        key = each.settings.run_id, each.settings.cohort, each.settings.split
        is_baseline = with_baselines and each.settings.kind != "run"
        if key[1] in audited and (key in of_runs or is_baseline):
            audit = of_runs.get(key, Audit(()))
            stated = [result for result in audit.findings if result in audit.refusals or result.code == TRANSDUCTIVE]
            place = audited[key[1]]
            results = _audit_evaluation(each, workspace, place, stated)
            audits.append(make_audit(f"evaluation {each.eval_id}", results))
            chosen.append(each)
    return [*audits, make_audit("all evaluations", [audit_reuse(chosen)])] if chosen else []


def _has_split(cohort: Cohort, split: str) -> bool:
    return split in cohort.schemes or is_of_folds(split)


def _audit_evaluation(
    evaluated: Evaluated, workspace: Workspace, place: Audited, stated: Sequence[Result]
) -> list[Result]:
    """Return what is wrong with an evaluation, also when it names what its cohort has not."""

    def compare() -> list[Result]:
        try:
            return [
                pass_check(DAMAGED, "every file with its SHA-256"),
                *audit_evaluation(evaluated, workspace, place.cohort, place.images, stated),
            ]
        except (IntegrityError, UsageError) as error:
            return [_name_damage(Damage(EVALUATION, evaluated.eval_id, error.what))]

    return look_at_all(f"evaluation {evaluated.eval_id}", compare)


def _find_damage(damage: Sequence[Damage]) -> list[Result]:
    """Return one result for a run's description and journals; its encoder is named with its list of films."""
    return [_name_damage(each) for each in damage if not is_of_encoder(each)] or [
        pass_check(DAMAGED, "run.json, events and journals")
    ]


def _name_damage(damage: Damage) -> Result:
    return report_finding(DAMAGED, "what was written", damage.sentence)


def _find_unlisted(run: Pretraining, record: RunRecord | None) -> Result:
    """Compare the list of films with the number that the run was begun with."""
    films, num = run.films, len(run.films.image_id)
    owners = films.cohort.tolist() if films.cohort is not None else [run.cohort] * num
    compared = f"{count_noun(num, 'listed film')} with run.json"
    num_begun = record.description.num_films if record else 0
    if not num_begun:
        return skip_check(UNLISTED, "run.json has no number of films")
    if num == num_begun == len({*zip(owners, films.image_id.tolist(), strict=True)}):
        return pass_check(UNLISTED, compared)
    what = f"the run lists {count_noun(num, 'film')} and was begun with {num_begun:,}"
    return report_finding(UNLISTED, compared, what)


def _find_changed_cohort(run: Pretraining, opened: Audited | None) -> Result:
    code = "cohort-changed-since-run"
    if opened is None:
        return skip_check(code, f"cohort {run.cohort} is not among the audited")
    compared = f"the hash of cohort {run.cohort}"
    if opened.cohort.content_sha256 == run.cohort_sha256:
        return pass_check(code, compared)
    return report_finding(code, compared, f"cohort {run.cohort} is not what it was when the run began")


def _read_arrays(read: Published) -> tuple[list[Evaluated], list[Damage]]:
    """Return the published evaluations with their arrays, and what of these and of what is made of them is damaged."""
    derived = EVALUATION, COMPARISON, GROUP, ABLATION
    evaluated, damage = [], [each for each in read.damage if each.kind in derived]
    for each in (*read.evaluations, *read.points):
        if each.imported:
            continue  # without the films there is nothing to compare it with
        try:
            evaluated.append(read_evaluated(each))
        except IntegrityError as error:
            damage.append(Damage(EVALUATION, each.eval_id, error.what))
    return evaluated, damage
