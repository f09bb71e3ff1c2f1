"""What `cxrssl probe` says of the evaluations that it has published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cxrssl.cli.boxed import describe_boxes, summarise_boxes
from cxrssl.cli.curves import describe_curves, mark_few
from cxrssl.cli.external import describe_source
from cxrssl.cli.options import align
from cxrssl.cli.protocol import describe_protocol_use, first_line
from cxrssl.cli.transfer import describe_fit, describe_transfers, summarise_transfers
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

    def describe(self) -> list[str]:
        """Return the lines for people: the mean over findings first, then what it rests on, then each finding."""
        first = self.evaluations[0]
        source, decoded = first.settings.candidate.external, table_of_decodings(self.evaluations)
        return [
            *first_line(self.evaluations),
            f"{self._films}; macro AUROC{self._matched}:",
            *align([describe_scores(each) for each in self.evaluations]),
            *describe_differences(self.workspace, self.evaluations),
            *describe_protocol_use(self.evaluations),
            *describe_asked(first),
            *(describe_source(source) if source else []),
            *self._notes,
            f"Subjects with the finding, and its AUROC{self._matched}:",
            *align(table_of_findings(first)),
            *describe_boxes(self.evaluations),
            *([first.scores.check_note] if first.scores.check_note else []),
            describe_in_words(find_visible_of(first.scores)),
            *describe_fit(first),
            *describe_curves(self.curves),
            *(["Linearly decodable from frozen features, by encoder:", *align(decoded)] if decoded else []),
            *describe_transfers(self.transfers),
            *explain_marks(self._shown),
        ]

    @property
    def _films(self) -> str:
        """Which films were scored, and how."""
        scores, about = self.evaluations[0].scores, self.evaluations[0].settings
        folds = about.probe.folds
        films = count_noun(scores.num_films, "film" if folds else "test film")
        how = f", each scored by a probe of the other of {folds} folds" if folds else ""
        where = [part for part in (about.cohort, about.link, "" if folds else f"split {about.split}") if part]
        return f"{films} of {count_noun(scores.num_subjects, 'subject')}{how}, cohort {', '.join(where)}"

    @property
    def _matched(self) -> str:
        names = self.evaluations[0].scores.matched_on
        return f", and matched on {', '.join(names)}" if names else ""

    @property
    def _notes(self) -> list[str]:
        """What a reader must know before the numbers mean anything."""
        scores, about = self.evaluations[0].scores, self.evaluations[0].settings
        leak = f"Not a fair test: {about.leak}." if about.leak else ""
        seen = f"Transductive, no label was seen: {about.transductive}." if about.transductive else ""
        usual = STRENGTH_FOLDS if about.probe.folds else STRENGTH
        strength = usual if any(each.scores.strengths for each in self.evaluations) else ""
        is_record = any(each.settings.candidate.chosen_by for each in self.evaluations)
        record = STRENGTH_RECORD if is_record and not about.probe.folds else ""
        return [note for note in (leak, seen, strength, record, scores.choice_note) if note]

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


def describe_scores(evaluation: Evaluation) -> tuple[str, ...]:
    """Return the row of an evaluation: its label, macro AUROC, where it was matched that too, strength of the probe."""
    scores = evaluation.scores
    matched = [scores.matched_text] if scores.macro_matched else []
    chosen = scores.head.text if scores.head else f"C {scores.strength_text or 'none'}"
    return evaluation.settings.label, scores.macro_auroc.to_text(), *matched, chosen


def describe_differences(workspace: Workspace, evaluations: Sequence[Evaluation]) -> list[str]:
    """Return lines on by how much each encoder is better than each of its references among these evaluations."""
    group = list(evaluations)
    encoders = [each for each in group if each.settings.kind in ("run", "external", JOINED)]
    return [line for each in encoders for line in _describe(workspace, each, group)]


def _describe(workspace: Workspace, evaluation: Evaluation, group: Group) -> list[str]:
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
    return [f"Macro AUROC of {label} minus that of:", *align(rows), *filter(None, notes)] if rows else []


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
        lines.append(f"Only films where {plain(probe.where, 300)}; left out: {left_out}.")
    return lines


def table_of_decodings(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """Return what was decoded, one row a feature and one column an encoder; nothing where nothing was."""
    asked = [each for each in evaluations if each.scores.decodings]
    if not asked:
        return []
    rows = [["", *(plain(each.settings.label, 60) for each in asked), "films", "subjects"]]
    for name, first in asked[0].scores.decodings.items():
        found = [each.scores.decodings.get(name) for each in asked]
        numbers = [each.score.to_text() if each else "" for each in found]
        rows.append([f"{name} ({first.metric})", *numbers, f"{first.num_films:,}", f"{first.num_subjects:,}"])
    return rows


def table_of_findings(evaluation: Evaluation) -> list[list[str]]:
    """Return for each finding the scored subjects who have it, few of them marked, its AUROC, and the matched one."""
    scores = evaluation.scores
    return [
        [
            plain(name, 60),
            "no probe" if name in scores.not_fitted else mark_few(score.num_pos_subjects or 0),
            score.auroc.to_text(),
            *([scores.matched[name].to_text()] if name in scores.matched else []),
        ]
        for name, score in scores.findings.items()
    ]
