"""Features of test films by t-SNE, coloured by finding, view, sex and age: the first trained setup of each table.

In: published features and cohorts of this workspace. Out: Plans. No torch. Never: a colour that a few subjects have,
as points can be counted; a film in more than one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.groups import UNKNOWN, name_groups
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.seed import derive_seed
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.images.store import open_images
from cxrssl.records.eval_settings import EvalSettings
from cxrssl.records.features import open_features
from cxrssl.report.document import file_stem
from cxrssl.report.figures.featured import Featured, find_featured, find_tests, read_or_leave_out
from cxrssl.report.figures.ink import SERIES
from cxrssl.report.figures.plan import Material, Plan, hash_drawn
from cxrssl.report.figures.scatter import OTHER, ScatterFigure, ScatterPanel
from cxrssl.report.figures.terms import name_file, name_terms
from cxrssl.report.small import SMALL, SmallCells
from cxrssl.stats.tsne import NUM_STEPS, PERPLEXITY, place_points

MAX_FILMS = 1000
NUM_FINDINGS = 3
ATTRIBUTES = ("view", "sex", "age")
CAUTION = "Only neighbours mean something: sizes of clusters and distances between them do not."
Index = NDArray[np.int64]


@dataclass(frozen=True)
class _Sheet:
    """A figure before its features are read."""

    workspace: Workspace
    settings: EvalSettings
    folder: Path
    title: str
    small: SmallCells

    def collect(self) -> ScatterFigure:
        """Return the figure; without a point, and with the reason, where what it needs cannot be read."""
        return read_or_leave_out(self._collect, lambda notes: ScatterFigure(self.title, np.zeros((0, 2)), (), notes))

    def _collect(self) -> ScatterFigure:
        cohort = open_cohort(self.workspace.cohorts / self.settings.cohort)
        images = open_images(self.workspace.images / self.settings.cohort, verify=False)
        features_ND = open_features(self.folder)
        is_there_N = images.is_packed_N & np.isfinite(features_ND).all(axis=1)
        tests = find_tests(is_there_N, cohort, self.settings)
        generator = np.random.Generator(np.random.PCG64(derive_seed(self.settings.probe.seed, 0, "t-SNE of a report")))
        rows = np.sort(generator.permutation(tests)[:MAX_FILMS])
        panels = tuple(_list_panels(cohort, rows, self.small))
        if self.small == "hide":  # films have one place in all panels, so that several would tell a row of each
            panels = panels[:1]
        of_more = f" of {len(tests):,}, drawn by a seed" if len(rows) < len(tests) else ""
        how = f"Exact t-SNE, perplexity {PERPLEXITY:g}, {NUM_STEPS} steps from the first two principal components"
        notes = f"{CAUTION} {count_noun(len(rows), 'test film')}{of_more}. {how}."
        hidden = f" Groups of fewer than {SMALL} subjects have no colour of their own." if self.small == "hide" else ""
        return ScatterFigure(self.title, place_points(features_ND[rows]), panels, (f"{notes}{hidden}",))


def plan_tsne(material: Material) -> list[Plan]:
    """Return the figure of the first trained setup of each table; nothing where t-SNE was not asked for."""
    if material.embedded is None:
        return []
    found = ((table, find_featured(material.embedded, table, material)) for table in material.tables)
    return [_plan(material.embedded, table, each, material.small) for table, each in found if each is not None]


def _plan(workspace: Workspace, table: Sequence[SeedGroup], featured: Featured, small: SmallCells) -> Plan:
    title = f"t-SNE of features of test films by {featured.name}"
    caption = f"{title}, on {name_terms(table)}. {CAUTION}"
    sheet = _Sheet(workspace, featured.evaluation.settings, featured.folder, title, small)
    key = hash_drawn(title, caption, featured.evaluation.content_sha256, featured.folder.name, small)
    return Plan(file_stem(f"tsne-{name_file(table)}"), caption, f"{caption} Points of films.", key, sheet.collect)


def _list_panels(cohort: Cohort, rows: Index, small: SmallCells) -> Iterator[ScatterPanel]:
    """Yield a panel for each of the commonest findings, then for each attribute that is known of the films."""
    subjects = cohort.subject_id[rows]
    names = cohort.finding_names.tolist()
    labels_RL = cohort.labels(names)[rows] if names else np.zeros((len(rows), 0), np.int8)
    commonest = sorted(range(len(names)), key=lambda at: (-int((labels_RL[:, at] == 1).sum()), names[at]))
    found = 0
    for at in commonest:
        values = np.where(labels_RL[:, at] == 1, 0, np.where(labels_RL[:, at] == 0, 1, OTHER))
        panel = _make_panel(names[at], values, ("with", "without"), subjects, small)
        if panel is not None and found < NUM_FINDINGS:
            found += 1
            yield panel
    for attribute in (each for each in ATTRIBUTES if each in cohort.names):
        group_N, words = name_groups(cohort, attribute)
        values = np.where(group_N[rows] == UNKNOWN, OTHER, group_N[rows])
        panel = _make_panel(attribute.capitalize(), values, words, subjects, small)
        if panel is not None:
            yield panel


def _make_panel(
    title: str, values: Index, words: Sequence[str], subjects: NDArray[np.str_], small: SmallCells
) -> ScatterPanel | None:
    """Return a panel; None where fewer than two groups have a colour, or where few subjects would be left in grey."""
    least = SMALL if small == "hide" else 1
    counts = {int(place): len(np.unique(subjects[values == place])) for place in np.unique(values) if place != OTHER}
    kept = sorted(sorted(counts, key=lambda place: (-counts[place], place))[: len(SERIES)])
    kept = [place for place in kept if counts[place] >= least]
    group_of = np.full(len(values), OTHER)
    for number, place in enumerate(kept):
        group_of[values == place] = number
    num_others = len(np.unique(subjects[group_of == OTHER]))
    if len(kept) < 2 or (small == "hide" and 0 < num_others < SMALL):
        return None
    shown = tuple(plain(words[place], 40) for place in kept)
    return ScatterPanel(plain(title, 60), shown, np.arange(len(values)), group_of)
