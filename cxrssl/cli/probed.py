"""What `cxrssl probe` says of the evaluations that it has published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxrssl.cli.boxed import describe_boxes, summarise_boxes
from cxrssl.cli.curves import describe_curves
from cxrssl.cli.external import describe_source
from cxrssl.cli.lines import Part, Table, lay_out
from cxrssl.cli.protocol import describe_protocol_use, first_line
from cxrssl.cli.transfer import describe_fit, describe_transfers, summarise_transfers
from cxrssl.cohort.condition import hide_values
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import REFERENCES, Group, describe_against_pixels, publish_comparisons
from cxrssl.evaluate.learning import Curve
from cxrssl.evaluate.transfer import Transfer
from cxrssl.evaluate.visible import find_visible_of
from cxrssl.records.eval_settings import JOINED, PIXELS
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.learning import CurveNumbers
from cxrssl.stats.power import describe_in_words
from cxrssl.stats.resample import Interval, explain_marks

STRENGTH = "C: inverse L2 strength, one for all findings, of highest mean AUROC on val films."
STRENGTH_FOLDS = "C: inverse L2 strength, one for all findings, of highest mean AUROC in the other folds."
BY_FINDING = "By finding: films scored, films and subjects with the finding, AUROC with its interval"
STRENGTH_RECORD = "That of the record alone is chosen by folds of the train subjects."


@dataclass(frozen=True)
class Probed:
    """The evaluation of an encoder, which comes first, and those of its baselines."""

    workspace: Workspace
    evaluations: Sequence[Evaluation]
    transfers: Sequence[Transfer]
    """The same probe in other cohorts."""
    curves: Sequence[tuple[Curve, CurveNumbers]]
    """Of fewer labels."""

    def summarise(self) -> dict[str, Any]:
        """Return all numbers, ready for JSON."""
        summary: dict[str, Any] = {
            each.eval_id: {
                "settings": each.settings.to_dict(),
                **each.scores.to_dict(),
                "smallest_difference": find_visible_of(each.scores),
                **summarise_boxes(each),
            }
            for each in self.evaluations
        }
        summary |= summarise_transfers(self.transfers)
        if self.curves:
            summary["learning"] = {
                curve.curve_id: {"label": curve.settings.label, **numbers.to_dict()} for curve, numbers in self.curves
            }
        return summary

    def describe(self, width: int) -> list[str]:
        """Return the lines for people, of `width` places."""
        return lay_out(self._parts(width), width)

    def _parts(self, width: int) -> list[Part]:
        """Return the lines: the mean over findings first, then what it rests on, then each finding."""
        first = self.evaluations[0]
        source, decoded = first.settings.candidate.external, table_of_decodings(self.evaluations)
        folds = first.settings.probe.folds
        num_defined = sum(each.is_defined for each in first.scores.findings.values())
        shown: list[Part] = ["", "Linearly decodable from frozen features, by encoder:", decoded] if decoded else []
        return [
            *first_line(self.evaluations),
            f"{self._films}.",
            table_of_scores(self.evaluations),
            f"Macro AUROC: the mean over {count_noun(num_defined, 'finding')}. Intervals: {first.scores.method}.",
            *self._notes,
            *describe_heads(self.evaluations),
            *describe_differences(self.workspace, self.evaluations),
            *describe_protocol_use(self.evaluations),
            *describe_asked(first),
            *(describe_source(source) if source else []),
            *describe_findings(first, width),
            *describe_boxes(self.evaluations),
            *([first.scores.check_note] if first.scores.check_note else []),
            describe_in_words(find_visible_of(first.scores), "scored subjects" if folds else "test subjects"),
            *describe_fit(first),
            *describe_curves(self.curves),
            *shown,
            *describe_transfers(self.transfers),
            *explain_marks(self._shown),
        ]

    @property
    def _films(self) -> str:
        """Which films were scored, and how."""
        scores, about = self.evaluations[0].scores, self.evaluations[0].settings
        folds = about.probe.folds
        films = count_noun(scores.num_films, "film" if folds else "test film")
        how = f", each scored by a probe of the other {folds - 1} of {folds} folds" if folds else ""
        where = [part for part in (about.cohort, about.link, "" if folds else f"split {about.split}") if part]
        return f"{films} of {count_noun(scores.num_subjects, 'subject')}{how}, cohort {', '.join(where)}"

    @property
    def _notes(self) -> list[str]:
        """What a reader must know before the numbers mean anything."""
        scores, about = self.evaluations[0].scores, self.evaluations[0].settings
        leak = f"Not a fair test: {about.of_scored(about.leak)}." if about.leak else ""
        seen = about.of_scored(about.transductive)
        seen = f"Transductive, no label was seen: {seen}." if seen else ""
        matched = f"Matched: among films alike in {', '.join(scores.matched_on)}." if scores.matched_on else ""
        usual = STRENGTH_FOLDS if about.probe.folds else STRENGTH
        strength = usual if any(each.scores.strengths for each in self.evaluations) else ""
        is_record = any(each.settings.candidate.chosen_by for each in self.evaluations)
        record = STRENGTH_RECORD if is_record and not about.probe.folds else ""
        return [note for note in (leak, seen, matched, strength, record, scores.choice_note) if note]

    @property
    def _shown(self) -> list[Interval]:
        """Every number with a mark that is to be explained."""
        scores = self.evaluations[0].scores
        return [
            *(each for one in self.transfers for each in (*one.carried.scores.intervals, *one.there.scores.intervals)),
            *(each.scores.macro_auroc for each in self.evaluations),
            *(each.auroc for each in scores.findings.values()),
            *(each.auroc for each in scores.matched.values() if not each.is_vacuous),
            *(each.score for one in self.evaluations for each in one.scores.decodings.values()),
        ]


def table_of_scores(evaluations: Sequence[Evaluation]) -> Table:
    """Return a row an evaluation: its label, macro AUROC, where it was matched that too, strength of the probe."""
    is_matched = any(each.scores.macro_matched for each in evaluations)
    has_strength = any(each.scores.strength_text for each in evaluations)
    head = ["", "macro AUROC", *(["matched"] if is_matched else []), *(["C"] if has_strength else [])]
    rows = [
        [
            plain(each.settings.label, 200),
            each.scores.macro_auroc.to_text(),
            *([each.scores.matched_text] if is_matched else []),
            *([each.scores.strength_text or "none"] if has_strength else []),
        ]
        for each in evaluations
    ]
    return Table(head, rows)


def describe_heads(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return which head of a protocol was kept, a line an encoder."""
    found = [(each.settings.label, each.scores.head) for each in evaluations]
    return [f"Head of {plain(label, 120)}: {plain(head.text, 120)}." for label, head in found if head]


def describe_differences(workspace: Workspace, evaluations: Sequence[Evaluation]) -> list[Part]:
    """Return lines on by how much each encoder is better than each of its references among these evaluations."""
    group = list(evaluations)
    encoders = [each for each in group if each.settings.kind in ("run", "external", JOINED)]
    return [line for each in encoders for line in _describe(workspace, each, group)]


def _describe(workspace: Workspace, evaluation: Evaluation, group: Group) -> list[Part]:
    found = {name: other for name, find in REFERENCES.items() if (other := find(evaluation, group)) is not None}
    published = publish_comparisons(workspace, [(evaluation, other) for other in found.values()])
    rows, notes, label = [], [], evaluation.settings.label
    for name, other in found.items():
        difference = published[evaluation.eval_id, other.eval_id]
        if isinstance(difference, str):
            rows.append((name, difference))
            continue
        rows.append((name, difference.macro_auroc.to_text(signed=True)))
        if name == PIXELS:
            notes.append(describe_against_pixels(label, difference.macro_auroc))
    return ["", f"Macro AUROC of {label} minus that of:", Table((), rows), *filter(None, notes)] if rows else []


def describe_asked(evaluation: Evaluation) -> list[str]:
    """Return what was asked, in a line each, where that is not all findings of all films, uncertain labels ignored."""
    probe, scores = evaluation.settings.probe, evaluation.scores
    lines = []
    if probe.findings:
        lines.append(f"Asked: {', '.join(plain(name, 60) for name in probe.findings)}.")
    if probe.uncertain_by:
        lines.append(f"Uncertain labels count as {probe.uncertain_text}.")
    if probe.where:
        left_out = ", ".join(count_noun(num, f"{split} film") for split, num in scores.num_left_out.items())
        lines.append(f"Only films where {plain(hide_values(probe.where), 300)}; left out: {left_out}.")
    return lines


def table_of_decodings(evaluations: Sequence[Evaluation]) -> Table | None:
    """Return what was decoded, one row a feature and one column an encoder; None where nothing was."""
    asked = [each for each in evaluations if each.scores.decodings]
    if not asked:
        return None
    head = ["", *(plain(each.settings.label, 60) for each in asked), "films", "subjects"]
    rows = []
    for name, first in asked[0].scores.decodings.items():
        found = [each.scores.decodings.get(name) for each in asked]
        numbers = [each.score.to_text() if each else "" for each in found]
        rows.append([f"{name} ({first.metric})", *numbers, f"{first.num_films:,}", f"{first.num_subjects:,}"])
    return Table(head, rows, {len(asked) + 1, len(asked) + 2})


def describe_findings(evaluation: Evaluation, width: int) -> list[Part]:
    """Return the table of findings; what was matched has a table of its own where lines are too short for both."""
    scores, both = evaluation.scores, table_of_findings(evaluation, is_matched=True)
    if not scores.matched or both.fits(width):
        return ["", f"{BY_FINDING}{', and matched' if scores.matched else ''}:", both]
    rows = [(plain(name, 60), found.to_text()) for name, found in scores.matched.items()]
    alike = f"Matched on {', '.join(scores.matched_on)}:"
    return ["", f"{BY_FINDING}:", table_of_findings(evaluation, is_matched=False), alike, Table(("", "AUROC"), rows)]


def table_of_findings(evaluation: Evaluation, *, is_matched: bool) -> Table:
    """Return for each finding its scored films, films and subjects with it, AUROC, and that among films alike."""
    scores = evaluation.scores
    is_matched = is_matched and bool(scores.matched)
    head = ["", "films", "with it", "subjects", "AUROC", *(["matched"] if is_matched else [])]
    rows = []
    for name, score in scores.findings.items():
        counts = [f"{score.num_scored:,}", f"{score.num_pos:,}", f"{score.num_pos_subjects or 0:,}"]
        found = "no probe" if name in scores.not_fitted else score.auroc.to_text()
        matched = scores.matched[name].to_text() if is_matched and name in scores.matched else ""
        rows.append([plain(name, 60), *counts, found, *([matched] if is_matched else [])])
    return Table(head, rows, {1, 2, 3})
