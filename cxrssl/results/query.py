"""The typed questions of those who show results: what is published, what of it is damaged, which is best.

In: a workspace. Out: Results, frozen. Never: SQL, or an exception for what a file contains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cxrssl.core.workspace import Workspace
from cxrssl.records.comparison import KIND as COMPARISON
from cxrssl.records.comparison import ComparisonRecord, list_comparisons
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import Evaluation, list_evaluations
from cxrssl.records.reader import RunRecord, list_runs
from cxrssl.results.rows import Metric
from cxrssl.stats.resample import Interval


@dataclass(frozen=True)
class Results:
    """All that a workspace holds."""

    runs: tuple[RunRecord, ...]
    """The one that started last first."""
    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[ComparisonRecord, ...]
    damage: tuple[Damage, ...]
    """Of runs, then of evaluations, then of comparisons."""

    @property
    def probed(self) -> list[tuple[str, str]]:
        """Cohorts and splits that something was scored on."""
        return sorted({(each.settings.cohort, each.settings.split) for each in self.evaluations})


def read_results(workspace: Workspace) -> Results:
    """Return what a workspace holds now."""
    runs, of_runs = list_runs(workspace)
    evaluations, of_evaluations = list_evaluations(workspace)
    comparisons, of_comparisons = list_comparisons(workspace)
    damage = (*of_runs, *of_evaluations, *of_comparisons)
    return Results(tuple(runs), tuple(evaluations), tuple(comparisons), damage)


def renew_comparisons(workspace: Workspace, results: Results) -> Results:
    """Return results with the comparisons as they are now; since then some may have been published or made again."""
    comparisons, damage = list_comparisons(workspace)
    others = [each for each in results.damage if each.kind != COMPARISON]
    return replace(results, comparisons=tuple(comparisons), damage=(*others, *damage))


def find_best(evaluations: Sequence[Evaluation], metric: Metric = "auroc", finding: str = "") -> Evaluation | None:
    """Return the evaluation of highest value of one finding, or of the macro mean; None when it is defined in none.

    Only evaluations on equal terms should be asked.
    """
    values = {each.eval_id: measure(each, metric, finding).value for each in evaluations}
    defined = [each for each in evaluations if not math.isnan(values[each.eval_id])]
    return max(defined, key=lambda each: values[each.eval_id], default=None)


def measure(evaluation: Evaluation, metric: Metric = "auroc", finding: str = "") -> Interval:
    """Return a metric of one finding, or its macro mean, with its interval; nan for a finding that is not scored."""
    scores = evaluation.scores
    if finding:
        score = scores.findings.get(finding)
        undefined = Interval(math.nan, math.nan, math.nan, 0)
        return undefined if score is None else score.auroc if metric == "auroc" else score.auprc
    return scores.macro_auroc if metric == "auroc" else scores.macro_auprc
