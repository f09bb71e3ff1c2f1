"""All figures of a report, in its order.

In: what is published, as tables of a report show it. Out: Plans. No matplotlib until one is drawn.
"""

from __future__ import annotations

from cxrssl.report.figures.plan import Material, Plan
from cxrssl.report.figures.plan_films import plan_films
from cxrssl.report.figures.plan_forests import plan_forests
from cxrssl.report.figures.plan_gaps import plan_gaps
from cxrssl.report.figures.plan_learning import plan_learning
from cxrssl.report.figures.plan_reliability import plan_reliability
from cxrssl.report.figures.plan_roc import plan_roc
from cxrssl.report.figures.plan_training import plan_training
from cxrssl.report.figures.plan_tsne import plan_tsne


def plan_figures(material: Material) -> list[Plan]:
    """Return the figures that a report may draw, none without something to show; their names differ."""
    kinds = plan_forests, plan_learning, plan_roc, plan_reliability, plan_gaps, plan_training, plan_tsne, plan_films
    plans = [plan for list_plans in kinds for plan in list_plans(material)]
    assert len({each.name for each in plans}) == len(plans), "two figures of one name"
    return plans
