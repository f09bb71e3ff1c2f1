"""What figures are made of, from a workspace as a report reads it."""

from __future__ import annotations

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.averages import has_seeds, publish_averages, table_groups
from cxrssl.evaluate.compare import list_pairs, publish_comparisons
from cxrssl.evaluate.groups import group_seeds
from cxrssl.evaluate.learning import find_curves, publish_curves
from cxrssl.records.published import read_published
from cxrssl.records.setup import find_setups
from cxrssl.report.figures.plan import Material
from cxrssl.report.figures.series import find_arms
from cxrssl.report.small import SmallCells


def make_material(workspace: Workspace, small: SmallCells = "show") -> Material:
    published = read_published(workspace)
    groups = group_seeds(published.evaluations, find_setups((run.run_id, run.description) for run in published.runs))
    tables = table_groups(groups)
    curves = find_curves(published.evaluations, published.points)
    return Material(
        tables=tables,
        averages=publish_averages(workspace, [table for table in tables if has_seeds(table)], published.groups),
        differences=publish_comparisons(workspace, list_pairs(published.evaluations)),
        ablations=published.ablations,
        small=small,
        arms=find_arms(published.ablations),
        runs={run.run_id: run.folder for run in published.runs},
        curves=curves,
        numbers=publish_curves(workspace, curves),
    )
