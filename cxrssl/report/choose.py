"""What a report is about: runs, a cohort or an ablation, and whether runs that did not finish are left out.

In: what is published, a Choice. Out: what is left of it. Never: a mean over some of the seeds of a setup: it is of all
that were trained, whichever of its runs were named, as a choice among seeds is a choice of results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, nearest_hint, plain, shell_word
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.records.ablation import Ablation
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.published import Published
from cxrssl.records.run import KIND as RUN

BASELINES = frozenset({"random-init", "pixels", "ehr-only", "view-only"})
"""Kinds of what stands beside every run on its films, and is never named."""


@dataclass(frozen=True)
class Choice:
    """What is asked for; all of it where nothing is."""

    runs: tuple[str, ...] = ()
    """Ids of runs or of other encoders, or their beginnings."""
    cohort: str = ""
    """Runs trained or scored on it."""
    ablation: str = ""
    """The runs of its grid."""
    is_finished: bool = False
    """Leave out runs that have not finished: running, stopped, failed, died, unseen, or not readable."""
    baseline: str = ""
    """A run, arm or setup that is subtracted everywhere; it leaves nothing out."""

    @property
    def is_all(self) -> bool:
        return replace(self, baseline="") == Choice()

    def to_dict(self) -> dict[str, object]:
        """Return what was chosen, nothing where all was."""
        words: dict[str, object] = {"runs": list(self.runs), "cohort": self.cohort, "ablation": self.ablation}
        words |= {"finished": self.is_finished, "baseline": self.baseline}
        return {name: value for name, value in words.items() if value}

    def to_words(self) -> list[str]:
        """Return the options of `cxrssl report` that choose it."""
        named = {"runs": ",".join(self.runs), "cohort": self.cohort, "ablation": self.ablation}
        named["baseline"] = self.baseline
        words = [word for name, value in named.items() if value for word in (f"--{name}", shell_word(value))]
        return [*words, *(["--finished"] if self.is_finished else [])]


def narrow(published: Published, choice: Choice) -> Published:
    """Return what is published of what was chosen.

    Raises: UsageError for a run, cohort or ablation that is not there.
    """
    if choice.is_all:
        return published
    chosen = _find_runs(published, choice)
    _check_cohort(published, choice.cohort)
    skipped = {each.run_id for each in published.runs if choice.is_finished and each.state != "finished"}
    asked = [each for each in _scored(published) if _is_asked(each, chosen, choice.cohort, skipped)]
    scored = {each.settings.run_id for each in asked}
    runs = [
        each
        for each in published.runs
        if each.run_id not in skipped
        and (chosen is None or each.run_id in chosen)
        and (not choice.cohort or choice.cohort in each.description.cohort_names or each.run_id in scored)
    ]
    ids, terms = {each.eval_id for each in asked}, {each.settings.terms for each in asked}
    left = {each.run_id for each in runs} | ids
    all_ids = {each.run_id for each in published.runs} | {each.eval_id for each in _scored(published)}
    return replace(
        published,
        runs=tuple(runs),
        evaluations=tuple(each for each in published.evaluations if _is_kept(each, ids, terms)),
        points=tuple(each for each in published.points if _is_kept(each, ids, terms)),
        ablations=tuple(each for each in published.ablations if _has_part(each, choice, left)),
        damage=tuple(
            each
            for each in published.damage
            if not (each.name in all_ids - left or (choice.is_finished and each.kind == RUN))
        ),
    )


def _has_part(ablation: Ablation, choice: Choice, left: set[str]) -> bool:
    """Return whether an ablation is asked for: by its name, or with some of its runs."""
    if choice.ablation:
        return ablation.name == choice.ablation
    return choice.is_all or bool(set(ablation.contract.runs) & left)


def describe_choice(published: Published, choice: Choice) -> str:
    """Return what a report is about, and how many runs it leaves out."""
    about = [
        f"runs {', '.join(plain(each, 80) for each in choice.runs)}" if choice.runs else "",
        f"cohort {plain(choice.cohort, 80)}" if choice.cohort else "",
        f"ablation {plain(choice.ablation, 80)}" if choice.ablation else "",
    ]
    what = ", ".join(filter(None, about)) or "all that is published"
    left = {each.run_id for each in published.runs if each.state != "finished"}
    left |= {each.name for each in published.damage if each.kind == RUN}
    is_any_left = choice.is_finished and left
    return f"{what}; without {count_noun(len(left), 'run')} that did not finish" if is_any_left else what


def _find_runs(published: Published, choice: Choice) -> set[str] | None:
    """Return the ids that are asked for; None where none is."""
    chosen: set[str] | None = None
    if choice.ablation:
        known = [each.name for each in published.ablations]
        found = next((each for each in published.ablations if each.name == choice.ablation), None)
        if found is None:
            what = f'no {ABLATION} "{plain(choice.ablation, 80)}" with a table in this workspace'
            raise UsageError(what, hint=nearest_hint(choice.ablation, known) if known else "make one: cxrssl ablate")
        chosen = set(found.contract.runs)
    if choice.runs:
        ids = {each.run_id for each in published.runs} | {each.settings.run_id for each in _scored(published)}
        ids |= {each.settings.candidate_id for each in _scored(published) if each.settings.kind not in BASELINES}
        named = set().union(*(_match(name, ids) for name in choice.runs))
        chosen = named if chosen is None else chosen & named
    return chosen


def _check_cohort(published: Published, name: str) -> None:
    cohorts = {each.settings.cohort for each in _scored(published)}
    cohorts |= {name for each in published.runs for name in each.description.cohort_names}
    if name and name not in cohorts:
        what = f'nothing is published of cohort "{plain(name, 80)}"'
        raise UsageError(what, hint=nearest_hint(name, cohorts) if cohorts else "")


def _match(name: str, ids: set[str]) -> set[str]:
    """Return the ids that are a name, or begin with it."""
    found = {name} & ids or {each for each in ids if name and each.startswith(name)}
    if not found:
        raise UsageError(f'no run "{plain(name, 80)}" in this workspace', hint=nearest_hint(name, ids) if ids else "")
    return found


def _scored(published: Published) -> Sequence[Evaluation]:
    return (*published.evaluations, *published.points)


def _is_asked(evaluation: Evaluation, chosen: set[str] | None, cohort: str, skipped: set[str]) -> bool:
    settings = evaluation.settings
    is_named = chosen is None or not chosen.isdisjoint((settings.run_id, settings.candidate_id))
    return is_named and settings.run_id not in skipped and cohort in ("", settings.cohort)


def _is_kept(evaluation: Evaluation, ids: set[str], terms: set[str]) -> bool:
    """Return whether an evaluation was asked for, or is of a baseline on the same films."""
    is_beside = evaluation.settings.kind in BASELINES and evaluation.settings.terms in terms
    return evaluation.eval_id in ids or is_beside
