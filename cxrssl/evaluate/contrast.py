"""Two sides, each an evaluation or the seeds of a setup, found by name and compared wherever they are on equal terms.

In: two names, the evaluations of a workspace. Out: Contrasts, one for each test set that both were scored on. Numpy
only. Never: sides compared that were not scored on the same films, labels and settings of the probe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from cxrssl.cohort.condition import hide_values
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import count_noun, nearest_hint, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import compare_published
from cxrssl.evaluate.groups import SeedGroup, compare_groups, group_seeds, score_group
from cxrssl.evaluate.resamples import Resamples
from cxrssl.records.eval_settings import EvalSettings, ProbeSettings
from cxrssl.records.evaluation import EvalScores, Evaluation, list_all_evaluations
from cxrssl.records.setup import Setup, read_setups
from cxrssl.stats.holm import adjust_named, p_of_interval
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import Comparison
from cxrssl.stats.seeds import SeedMean, SeedScores

METRICS = ("auroc", "auprc")
MACRO = ""
"""In the place of a finding: the mean over them."""
MAX_NAMED = 6
Matches = Callable[[Evaluation], bool]


@dataclass(frozen=True)
class Line:
    """One number of both sides, and the difference."""

    first: float
    second: float
    difference: Interval
    p: float
    """Of no difference, two-sided, as the interval is; nan without one."""
    p_holm: float
    """Adjusted for the findings of its metric; that of the mean over them is p itself."""


@dataclass(frozen=True)
class Contrast:
    """By how much the first side ranks one test set better than the second."""

    first: SeedGroup
    second: SeedGroup
    macro: dict[str, Line]
    """By metric."""
    findings: dict[str, dict[str, Line]]
    """By metric, then by finding."""
    is_paired: bool
    method: str

    @property
    def evaluation(self) -> Evaluation:
        """One of the first side: films, subjects and labels are those of all."""
        return self.first.evaluations[0]


def find_contrasts(workspace: Workspace, a: str, b: str) -> list[Contrast]:
    """Return the comparison a - b of two names on each test set on which both were scored on equal terms.

    A name is that of an evaluation, of a run or of a setup, or the beginning of an id; see `find_side`.

    Raises: UsageError for a name of nothing or of several setups; DataError for a run that was not probed, or sides
    that were never scored on equal terms.
    """
    evaluations, _ = list_all_evaluations(workspace)
    setups = read_setups(workspace)
    sides = [find_side(workspace, name, evaluations) for name in (a, b)]
    shared = [terms for terms in dict.fromkeys(e.settings.terms for e in sides[0]) if _of(sides[1], terms)]
    if not shared:
        first, second = _nearest(sides[0], sides[1])
        unlike = "; ".join(explain_terms(first.settings, second.settings))
        what = f"these were not scored on equal terms: {unlike}"
        raise DataError(what, f"{first.eval_id}, {second.eval_id}", "probe both on one cohort in the same way")
    groups = [
        [_one_group(name, _of(side, terms), setups) for name, side in zip((a, b), sides, strict=True)]
        for terms in shared
    ]
    return [_compare(workspace, *pair) for pair in groups]


def find_side(workspace: Workspace, name: str, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the evaluations that a name means: the first that finds some of an id of an evaluation, the id of what was
    scored, a run, the label of tables with or without its seed, the beginning of an id up to a hyphen, any beginning.
    Points of learning curves are found by the id of their evaluation alone.
    """
    by_id: tuple[Matches, ...] = (lambda each: each.eval_id == name,)
    whole: tuple[Matches, ...] = (
        lambda each: each.settings.candidate_id == name,
        lambda each: each.settings.run_id == name,
        lambda each: each.settings.label == name or _without_seed(each) == name,
        lambda each: each.settings.candidate_id.startswith(f"{name}-"),
        lambda each: each.settings.candidate_id.startswith(name),
        lambda each: each.eval_id.startswith(name),
    )
    tables = [each for each in evaluations if each.settings.probe.fraction is None]
    for among, rules in ((evaluations, by_id), (tables, whole)):
        for matches in rules:
            found = [each for each in among if name and matches(each)]
            if found:
                return found
    if name and any(run_id.startswith(name) for run_id in workspace.run_ids()):
        run = workspace.find_run(name).name
        raise DataError(f"run {run} was not probed yet", workspace.runs / run, f"cxrssl probe {run}")
    known = {*workspace.run_ids(), *(each.settings.candidate_id for each in tables)}
    hint = nearest_hint(name, known) if known else "probe a run: cxrssl probe RUN"
    raise UsageError(f'no evaluation, run or setup "{plain(name, 120)}"', workspace.root, hint)


def explain_terms(a: EvalSettings, b: EvalSettings) -> list[str]:
    """Return in what the terms of two evaluations differ, in words; nothing where they are equal."""
    unlike = [f"{name} {plain(first, 60)} and {plain(second, 60)}" for name, first, second in _list_terms(a, b)]
    same_cohort = a.cohort == b.cohort
    if same_cohort and a.cohort_sha256 != b.cohort_sha256:
        unlike.append(f"cohort {plain(a.cohort, 60)} was made anew in between")
    elif same_cohort and a.images_sha256 != b.images_sha256:
        unlike.append(f"the films of cohort {plain(a.cohort, 60)} were packed anew in between")
    if a.protocol_version != b.protocol_version:
        unlike.append(f"probed by versions {a.protocol_version} and {b.protocol_version} of the probe")
    return unlike


def _list_terms(a: EvalSettings, b: EvalSettings) -> list[tuple[str, Any, Any]]:
    names = [field.name for field in fields(ProbeSettings) if field.name not in ("where_sha256", "protocol_sha256")]
    pairs = [("cohort", a.cohort, b.cohort), ("split", a.split, b.split)]
    pairs += [(f"probe's {name}", getattr(a.probe, name), getattr(b.probe, name)) for name in names]
    fitted = [each.carried.cohort if each.carried else "its own cohort" for each in (a, b)]
    pairs.append(("probe fitted on", fitted[0], fitted[1]))
    unlike = [(name, first, second) for name, first, second in pairs if first != second]
    return [(name, _show(_hide(name, first)), _show(_hide(name, second))) for name, first, second in unlike]


def _hide(name: str, value: Any) -> Any:
    """Return a condition without values that may identify, as messages and tables say it; all else as it is."""
    return hide_values(value) if name == "probe's where" and isinstance(value, str) else value


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _of(side: Sequence[Evaluation], terms: str) -> list[Evaluation]:
    return [each for each in side if each.settings.terms == terms]


def _nearest(a: Sequence[Evaluation], b: Sequence[Evaluation]) -> tuple[Evaluation, Evaluation]:
    """Return the pair whose terms differ least."""
    pairs = [(first, second) for first in a for second in b]
    return min(pairs, key=lambda pair: len(explain_terms(pair[0].settings, pair[1].settings)))


def _without_seed(evaluation: Evaluation) -> str:
    return evaluation.settings.label.partition(", seed ")[0]


def _one_group(name: str, found: Sequence[Evaluation], setups: dict[str, Setup]) -> SeedGroup:
    """Return the one setup that these are. Raises: UsageError when they are several."""
    groups = group_seeds(found, setups)
    if len(groups) == 1:
        return replace(groups[0], repeats=())
    ids = [each.evaluations[0].settings.candidate_id for each in groups]
    same = len(set(ids)) < len(ids)
    shown = [each.evaluations[0].eval_id for each in groups] if same else ids
    named = ", ".join(plain(each, 120) for each in shown[:MAX_NAMED])
    more = f" and {len(shown) - MAX_NAMED} more" if len(shown) > MAX_NAMED else ""
    raise UsageError(f'"{plain(name, 120)}" is {count_noun(len(groups), "setup")}', hint=f"name one: {named}{more}")


def _compare(workspace: Workspace, first: SeedGroup, second: SeedGroup) -> Contrast:
    if first.evaluations[0].eval_id == second.evaluations[0].eval_id:
        raise UsageError("both names are the same evaluation", first.evaluations[0].eval_id)
    if len(first.evaluations) == len(second.evaluations) == 1:
        return _compare_single(workspace, first, second)
    resamples = Resamples()
    scores = [score_group(each, resamples) for each in (first, second)]
    return _of_seeds(first, second, scores, compare_groups(first, second, resamples))


def _compare_single(workspace: Workspace, first: SeedGroup, second: SeedGroup) -> Contrast:
    a, b = first.evaluations[0], second.evaluations[0]
    found = compare_published(workspace, a, b).differences
    macro, findings = {}, {}
    for metric in METRICS:
        ours, theirs, both = (_numbers_of(each, metric) for each in (a.scores, b.scores, found))
        p_values = {name: p_of_interval(number, found.level) for name, number in both.items()}
        macro[metric], findings[metric] = _tabulate(ours, theirs, both, p_values)
    return Contrast(first, second, macro, findings, True, found.method)


def _of_seeds(first: SeedGroup, second: SeedGroup, scores: Sequence[SeedScores], found: SeedScores) -> Contrast:
    macro, findings = {}, {}
    for metric in METRICS:
        ours, theirs, both = (_means_of(each, metric) for each in (*scores, found))
        p_values = {name: mean.p_value for name, mean in both.items()}
        intervals = [{name: mean.interval for name, mean in each.items()} for each in (ours, theirs, both)]
        macro[metric], findings[metric] = _tabulate(intervals[0], intervals[1], intervals[2], p_values)
    return Contrast(first, second, macro, findings, found.is_paired, found.macro.auroc.method_text)


Numbers = Mapping[str, Interval]
"""By finding; the mean over them under MACRO."""


def _numbers_of(scores: EvalScores | Comparison, metric: str) -> Numbers:
    whole: Interval = getattr(scores, f"macro_{metric}")
    return {MACRO: whole, **{name: getattr(score, metric) for name, score in scores.findings.items()}}


def _means_of(scores: SeedScores, metric: str) -> dict[str, SeedMean]:
    whole: SeedMean = getattr(scores.macro, metric)
    return {MACRO: whole, **{name: getattr(each, metric) for name, each in scores.findings.items()}}


def _tabulate(
    ours: Numbers, theirs: Numbers, both: Numbers, p_values: Mapping[str, float]
) -> tuple[Line, dict[str, Line]]:
    """Return the line of the mean over findings, and those of the findings that all have, a family of Holm's."""
    names = [name for name in both if name != MACRO and name in ours and name in theirs]
    p_holm = adjust_named({name: p_values[name] for name in names}) | {MACRO: p_values[MACRO]}
    lines = {
        name: Line(ours[name].value, theirs[name].value, both[name], p_values[name], p_holm[name])
        for name in (MACRO, *names)
    }
    return lines.pop(MACRO), lines
