"""Everything that a report says, read or made once: what is published, differences, means, curves, flows, the audit.

In: a workspace, a Choice. Out: Gathered. Never: an exception for a cohort that cannot be followed: that is damage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cxrssl.audit.checks import Result
from cxrssl.audit.everything import audit_workspace
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import CxrsslError, DataError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.averages import Averages, has_seeds, publish_averages, table_groups
from cxrssl.evaluate.compare import Differences, list_pairs, publish_comparisons
from cxrssl.evaluate.groups import SeedGroup, group_seeds
from cxrssl.evaluate.learning import Curve, find_curves, publish_curves
from cxrssl.records.cohorts import KIND as COHORT
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.learning import CurveNumbers
from cxrssl.records.published import Published, read_published, renew_comparisons
from cxrssl.records.setup import find_setups
from cxrssl.report.choose import Choice, narrow
from cxrssl.report.document import file_stem
from cxrssl.report.find_pin import find_pin
from cxrssl.report.flow import Flow, follow_films
from cxrssl.report.pin import Pin

MISSHAPEN = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError)
"""What looking at a cohort raises that another version or another program has made, whole as its files are."""


@dataclass(frozen=True)
class Gathered:
    """What one report is made of."""

    workspace: Workspace
    published: Published
    """All of the workspace, comparisons and groups as they are after this report made them."""
    chosen: Published
    """Of it what the report is about, with the damage as it was found."""
    choice: Choice
    differences: Differences
    groups: Sequence[SeedGroup]
    averages: Averages
    curves: Sequence[Curve]
    numbers: Mapping[str, CurveNumbers]
    flows: Mapping[str, Flow]
    """By the name of its figure, small counts in full."""
    audit: Sequence[Result] | None
    """None where the workspace holds no cohort."""
    pin: Pin | None = None

    @property
    def tables(self) -> list[list[SeedGroup]]:
        """Groups of what was chosen that one table may hold."""
        ids = {each.eval_id for each in self.chosen.evaluations}
        chosen = [each for each in self.groups if any(one.eval_id in ids for one in each.evaluations)]
        return table_groups(chosen)

    @property
    def seeds(self) -> list[list[SeedGroup]]:
        """Those of `tables` that say more than one of single evaluations."""
        return [table for table in self.tables if has_seeds(table)]


def gather(workspace: Workspace, choice: Choice) -> Gathered:
    """Return what a report of this choice is made of; comparisons, means and curves that are missing are published.

    Raises: DataError when nothing of what was chosen was probed yet, or nothing that was can be read; UsageError for a
    choice of what is not there.
    """
    before = read_published(workspace)
    chosen = narrow(before, choice)
    _check_any(workspace, before, chosen)
    groups = group_seeds(before.evaluations, find_setups((run.run_id, run.description) for run in before.runs))
    pin = _find_pin(workspace, before, chosen, choice, groups)
    differences = publish_comparisons(workspace, [*list_pairs(before.evaluations), *_list_pinned(pin, chosen)])
    tables = [table for table in table_groups(groups) if has_seeds(table)]
    averages = publish_averages(workspace, tables, before.groups, list(pin.groups.values()) if pin else ())
    published = renew_comparisons(workspace, before)
    flows, unfollowed = _follow(workspace, chosen)
    curves = find_curves(before.evaluations, before.points)
    numbers = publish_curves(workspace, curves)
    return Gathered(
        workspace=workspace,
        published=published,
        chosen=replace(chosen, damage=(*chosen.damage, *unfollowed)),
        choice=choice,
        differences=differences,
        groups=groups,
        averages=averages,
        curves=_choose_curves(curves, chosen),
        numbers=numbers,
        flows=flows,
        audit=_audit(workspace, published, chosen, choice),
        pin=pin,
    )


def _find_pin(
    workspace: Workspace, before: Published, chosen: Published, choice: Choice, groups: Sequence[SeedGroup]
) -> Pin | None:
    if not choice.baseline:
        return None
    terms = {each.settings.terms for each in chosen.evaluations}
    return find_pin(workspace, choice.baseline, groups, chosen.ablations or before.ablations, terms)


def _list_pinned(pin: Pin | None, chosen: Published) -> list[tuple[Evaluation, Evaluation]]:
    """Return each evaluation with the one of the pinned baseline that is subtracted from it."""
    pairs = [(each, pin.find(each)) for each in chosen.evaluations] if pin else []
    return [(each, other) for each, other in pairs if other is not None]


def _check_any(workspace: Workspace, before: Published, chosen: Published) -> None:
    if chosen.evaluations:
        return
    hint = "probe a run: cxrssl probe RUN"
    if before.evaluations:
        raise DataError("nothing of what was chosen was probed yet", workspace.root, hint)
    unusable = [each for each in before.damage if each.kind == EVALUATION]
    what = f"no evaluation can be read; {unusable[0].sentence}" if unusable else "nothing was probed yet"
    raise DataError(what, workspace.root, hint)


def _choose_curves(curves: Sequence[Curve], chosen: Published) -> list[Curve]:
    ids = {each.eval_id for each in chosen.points}
    return [each for each in curves if any(one.eval_id in ids for draws in each.points.values() for one in draws)]


def _follow(workspace: Workspace, chosen: Published) -> tuple[dict[str, Flow], list[Damage]]:
    """Return the flow of each cohort and split that was probed and is still there, by the name of its figure.

    A cohort whose films cannot be followed is damage, and takes no other with it.
    """
    flows: dict[str, Flow] = {}
    damage = []
    for name in workspace.cohort_names():
        splits = [split for cohort, split in chosen.probed if cohort == name]
        try:
            cohort = open_cohort(workspace.cohorts / name) if splits else None
            for split in splits:
                if cohort is not None and split in cohort.schemes:
                    flows[file_stem(f"flow-{name}-{split}")] = follow_films(
                        workspace, cohort, split, chosen.evaluations
                    )
        except CxrsslError as error:
            damage.append(Damage(COHORT, name, error.what))
        except MISSHAPEN as error:
            damage.append(Damage(COHORT, name, f"its films cannot be followed: {type(error).__name__}: {error}"))
    return flows, damage


def _audit(workspace: Workspace, published: Published, chosen: Published, choice: Choice) -> list[Result] | None:
    """Return the results of the audit that concern what was chosen; None where there is no cohort to audit."""
    if not workspace.cohort_names():
        return None
    results = list(audit_workspace(workspace, read=published).results)
    if choice.is_all:
        return results
    runs = {each.run_id for each in published.runs} - {each.run_id for each in chosen.runs}
    evaluations = {each.eval_id for each in (*published.evaluations, *published.points)}
    evaluations -= {each.eval_id for each in (*chosen.evaluations, *chosen.points)}
    of = {each.settings.cohort for each in chosen.evaluations}
    of |= {name for each in chosen.runs for name in each.description.cohort_names}
    others = {*workspace.cohort_names()} - of
    left = {f"run {name}" for name in runs} | {f"evaluation {name}" for name in evaluations}
    left |= {f"cohort {name}" for name in others}
    return [each for each in results if not _is_about(each.about, left, others)]


def _is_about(about: str, left: set[str], cohorts: set[str]) -> bool:
    """Return whether a result is about one of what is left out, or tests on or pretrains on such a cohort."""
    pair = about.removeprefix("pretraining on cohort ").split(", test on cohort ")
    ends = about.partition(" on cohort ")[2].partition(", split ")[0]
    is_of_pair = about.startswith("pretraining on cohort ") and not cohorts.isdisjoint(pair)
    return about.partition(" on cohort ")[0] in left or about in left or is_of_pair or ends in cohorts


def name_arms(gathered: Gathered) -> Gathered:
    """Return it with runs of ablations called by their arms too: their recipes may differ in what labels do not say."""
    arms = {run: facts.arm for each in gathered.chosen.ablations for run, facts in each.contract.runs.items()}
    if not arms:
        return gathered

    def name(evaluations: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
        return tuple(_name_arm(each, arms.get(each.settings.run_id, "")) for each in evaluations)

    groups = [replace(each, evaluations=name(each.evaluations), repeats=name(each.repeats)) for each in gathered.groups]
    chosen = replace(gathered.chosen, evaluations=name(gathered.chosen.evaluations))
    return replace(gathered, groups=groups, chosen=chosen)


def _name_arm(evaluation: Evaluation, arm: str) -> Evaluation:
    if not arm:
        return evaluation
    settings = evaluation.settings
    return replace(evaluation, settings=replace(settings, label=f"{plain(arm, 60)}: {settings.label}"))
