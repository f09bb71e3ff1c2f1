"""All figures of a report, in its order.

In: what is published, as tables of a report show it. Out: Plans. No matplotlib until one is drawn.
"""

from __future__ import annotations

from cxrssl.report.figures.plan import Material, Plan
from cxrssl.report.figures.plan_forests import plan_forests
from cxrssl.report.figures.plan_reliability import plan_reliability
from cxrssl.report.figures.plan_roc import plan_roc


def plan_figures(material: Material) -> list[Plan]:
    """Return the figures that a report may draw, none without something to show; their names differ."""
    plans = [plan for planned in (plan_forests, plan_roc, plan_reliability) for plan in planned(material)]
    assert len({each.name for each in plans}) == len(plans), "two figures of one name"
    return plans
