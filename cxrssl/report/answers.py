"""What answers the items of a checklist: each answer is lines made of records, with the file that holds them.

In: Evidence. Out: lines, none where no record answers. Never: a line that says more than its record.
"""

from __future__ import annotations

from collections.abc import Callable

from cxrssl.report.answers_data import (
    count_events,
    count_people,
    describe_data,
    describe_elements,
    describe_eligibility,
    describe_flow,
    describe_level,
    describe_missing,
    describe_partition,
    describe_preparation,
    describe_size,
    describe_subsets,
    describe_truth,
)
from cxrssl.report.answers_model import (
    describe_declared,
    describe_design,
    describe_ensembles,
    describe_libraries,
    describe_method,
    describe_model,
    describe_selection,
    describe_start,
    describe_training,
    list_questions,
)
from cxrssl.report.answers_scores import (
    describe_calibration,
    describe_explained,
    describe_external,
    describe_fairness,
    describe_imbalance,
    describe_metrics,
    describe_parts,
    describe_performance,
    describe_predictions,
    describe_robustness,
    describe_thresholds,
    describe_uncertainty,
)
from cxrssl.report.evidence import Evidence

Answer = Callable[[Evidence], list[str]]


def describe_clusters(evidence: Evidence) -> list[str]:
    """Return nothing: no record says which hospital a film is from."""
    return []


def describe_measures(evidence: Evidence) -> list[str]:
    """Return the metrics, and how their intervals and comparisons were made."""
    return [*describe_metrics(evidence), *describe_uncertainty(evidence)]


ANSWERS: dict[str, Answer] = {
    "calibration": describe_calibration,
    "clusters": describe_clusters,
    "data": describe_data,
    "declared": describe_declared,
    "design": describe_design,
    "elements": describe_elements,
    "eligibility": describe_eligibility,
    "ensembles": describe_ensembles,
    "events": count_events,
    "explained": describe_explained,
    "external": describe_external,
    "fairness": describe_fairness,
    "flow": describe_flow,
    "imbalance": describe_imbalance,
    "level": describe_level,
    "libraries": describe_libraries,
    "measures": describe_measures,
    "method": describe_method,
    "metrics": describe_metrics,
    "missing": describe_missing,
    "model": describe_model,
    "parts": describe_parts,
    "partition": describe_partition,
    "people": count_people,
    "performance": describe_performance,
    "predictions": describe_predictions,
    "preparation": describe_preparation,
    "question": list_questions,
    "robustness": describe_robustness,
    "selection": describe_selection,
    "size": describe_size,
    "start": describe_start,
    "subsets": describe_subsets,
    "thresholds": describe_thresholds,
    "training": describe_training,
    "truth": describe_truth,
    "uncertainty": describe_uncertainty,
}
"""By the name that items of checklists give."""
