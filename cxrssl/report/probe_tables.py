"""The tables of a report on probes: macro scores with paired differences, and scores by finding.

In: evaluations on equal terms, the published differences between them. Out: tables whose every number has its interval
and whose every row names what was probed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.compare import UNTRAINED, VANILLA, Differences, Group, describe_against_pixels, find_pixels
from cxrssl.records.eval_settings import EvalSettings, ProbeSettings, objective_of
from cxrssl.records.evaluation import EvalScores, Evaluation, describe_strengths
from cxrssl.report.cells import Cell, Estimate
from cxrssl.report.conditions import show_asked
from cxrssl.report.lines import Code, Line, Span, join_codes, join_lines
from cxrssl.report.pin import Pin, describe_missing, references_of
from cxrssl.report.small import Count, SmallCells, hide_small
from cxrssl.report.tables import ReportTable
from cxrssl.results.outcomes import describe_outcomes
from cxrssl.stats.resample import explain_marks
from cxrssl.stats.scores import FindingScore
from cxrssl.stats.seeds import ONE_SEED

MAX_NAMED = 4
"""Runs whose names stand in a sentence."""
_SUBJECT = "{subject}"
ALWAYS_SHOWN = (UNTRAINED, VANILLA)
"""Columns that stand there without a number, too."""
RANKED = "Each film is scored by a probe of the other folds, and ranked within its own."


def outcome_sentence(evaluations: Sequence[Evaluation]) -> list[Span]:
    """Return the first line of a report: which runs were given an outcome, and which have seen test subjects."""
    settings = [evaluation.settings for evaluation in evaluations]
    named = sorted({each.candidate_id for each in settings if each.kind == "run" and each.is_outcome_used})
    features = {name for each in settings if each.kind == "run" for name in each.taught}
    before, _, after = describe_outcomes(bool(named), features, _SUBJECT).partition(_SUBJECT)
    subject = _name_some(named) if named else ["any run"]
    sentences: list[Line] = [*_selected_on_test(settings), [before, *subject, after]]
    imputed = {each.candidate_id for each in settings if each.candidate.missing == "paper"}
    if imputed:
        what = "Unknown views and positions were imputed from the films of all splits, as published: "
        sentences.append([what, *_name_some(sorted(imputed)), "."])
    unlisted = {each.candidate_id: each.candidate.unlisted for each in settings if each.candidate.unlisted}
    sentences += [
        [Code(name), f" started from {plain(', '.join(names), 300)}; whether that saw the test films is unknown."]
        for name, names in sorted(unlisted.items())
    ]
    seen = {each.candidate_id: each.of_scored(each.transductive) for each in settings if each.transductive}
    for what, names in _by_what(seen).items():
        verb = "is" if len(names) == 1 else "are"
        sentences.append([*_name_some(names), f" {verb} transductive: {plain(what)}."])
    leaks = {each.candidate_id: each.of_scored(each.leak) for each in settings if each.leak}
    sentences += [[*_name_some(names), f": {plain(what)}."] for what, names in _by_what(leaks).items()]
    return join_lines(sentences)


def _by_what(said: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of which the same is said, by what that is."""
    names: dict[str, list[str]] = {}
    for name, what in sorted(said.items()):
        names.setdefault(what, []).append(name)
    return names


def _name_some(names: Sequence[str]) -> list[Span]:
    """Return names with a comma between them; of many their number and the first."""
    if len(names) <= MAX_NAMED:
        return join_codes(names)
    return [f"{len(names):,} runs (", *join_codes(names[: MAX_NAMED - 1]), " and others)"]


def _selected_on_test(settings: Sequence[EvalSettings]) -> list[Line]:
    """Return which protocols chose by the films that are scored, in a sentence; nothing where none did."""
    protocols = sorted({each.probe.protocol or "" for each in settings if each.probe.selected_on == "test"})
    if not protocols:
        return []
    return [["selected on: test, by protocol ", *join_codes(protocols), "; such scores are too high."]]


def macro_table(
    group: Group, differences: Differences, small: SmallCells = "hide", pin: Pin | None = None
) -> ReportTable:
    """Return macro AUROC and AUPRC, and paired differences to the REFERENCES of an evaluation, or to a pin."""
    found = {name: [find(each, group) for each in group] for name, find in references_of(pin).items()}
    always = ALWAYS_SHOWN if pin is None else ()
    found = {name: others for name, others in found.items() if name in always or any(others)}
    is_matched = any(each.scores.macro_matched for each in group)
    rows: list[list[Cell]] = []
    for place, evaluation in enumerate(group):
        scores = evaluation.scores
        own: list[Cell] = [Estimate(scores.macro_auroc), Estimate(scores.macro_auprc)]
        own += [_matched_cell(scores)] if is_matched else []
        against = [_difference(evaluation, others[place], differences) for others in found.values()]
        rows.append([describe_row(evaluation), *own, *against])
    objectives = dict.fromkeys(objective_of(each.settings) for each in group if each.settings.kind == "run")
    vanilla = " ".join(["vanilla", *objectives]) if len(objectives) == 1 else "without record"
    numbers = ["AUROC", "AUPRC", *(["AUROC matched"] if is_matched else [])]
    columns = ["Features", *numbers, *(f"AUROC - {vanilla if name == VANILLA and not pin else name}" for name in found)]
    beaten = _not_beaten(group, [find_pixels(each, group) for each in group], differences)
    beaten += filter(None, [describe_missing(pin, group[0].settings.terms)])
    notes = [*explain_cells(rows), *beaten, *_macro_notes(group, small)]
    title = f"Probe on {name_terms(group[0].settings)}"
    # The best of several seeds of one setup is luck, and a score of films that were seen is none.
    labels = [each.settings.label for each in group if each.settings.run_id]
    compared = range(1, 1 + len(numbers)) if len(set(labels)) == len(labels) else ()
    barred = [at for at, each in enumerate(group) if each.settings.leak or each.settings.candidate.unlisted]
    return ReportTable(title, columns, rows, notes, short="Runs and baselines", compared=compared, barred=barred)


def _matched_cell(scores: EvalScores) -> Cell:
    """Return mean matched AUROC, with how many findings have no part in it; blank where nothing was matched."""
    num = sum(each.is_vacuous for each in scores.matched.values())
    return Estimate(scores.macro_matched, remark=f"{num} vacuous" if num else "") if scores.macro_matched else ""


def _match_note(group: Group) -> str:
    """Return what matched means, in a sentence; empty where nothing was matched."""
    on = dict.fromkeys(name for each in group for name in each.scores.matched_on)
    if not on:
        return ""
    what = f"Matched: over pairs of films alike in {', '.join(on)}{' (bands of 20 years)' if 'age' in on else ''}; "
    return what + "vacuous findings, of which these leave few pairs, have no part in its mean."


def _not_beaten(group: Group, others: Sequence[Evaluation | None], differences: Differences) -> list[str]:
    """Return which encoders do not beat the thumbnails, each in a sentence."""
    cells = [_difference(each, other, differences) for each, other in zip(group, others, strict=False)]
    pairs = zip(group, cells, strict=False)
    return [describe_against_pixels(describe_row(each), c.interval) for each, c in pairs if isinstance(c, Estimate)]


def _macro_notes(group: Group, small: SmallCells) -> list[Line]:
    """Return how the numbers of a table were made."""
    evaluation = group[0]
    scores, probe = evaluation.scores, evaluation.settings.probe
    num_defined = sum(score.is_defined for score in scores.findings.values()) + evaluation.imported.num_hidden
    films, subjects = hide_small(
        [Count(scores.num_films, scores.num_subjects), Count(scores.num_subjects)], small=small
    )
    (num_not_packed,) = hide_small([Count(scores.num_not_packed)], small=small)
    left_out = hide_small([Count(num) for num in scores.num_left_out.values()], small=small)
    outside = ", ".join(f"{num:,} {split}" for split, num in zip(scores.num_left_out, left_out, strict=True))
    scored: Line = [
        *_how_fitted(group),
        f", macro mean over {count_noun(num_defined, 'finding')}; "
        f"{count_noun(films, 'film' if probe.folds else 'test film')} of {count_noun(subjects, 'subject')} scored, "
        f"{num_not_packed:,} left out because they could not be decoded.",
    ]
    notes: list[Line] = [
        scored,
        _without_probe(scores),
        f"Films that do not meet the condition: {outside}." if outside else "",
        _dropped(scores, probe, small),
        *_choices(group),
        _match_note(group),
        RANKED if probe.folds else "",
        f"Intervals: {scores.method}; differences are paired (macro AUROC).",
        f"Labels: uncertain = {plain(probe.uncertain_text)}, not mentioned = {probe.blank}.",
        f"Each row is one training run with {ONE_SEED}.",
    ]
    return [note for note in notes if note]


def _how_fitted(group: Group) -> list[Span]:
    """Return what was fitted on what; of a protocol of others also which heads were kept."""
    probe = group[0].settings.probe
    if probe.protocol is None:
        return ["Linear probe on frozen features"]
    kept = "; ".join(f"{plain(describe_row(each), 200)}: {each.scores.head.text}" for each in group if each.scores.head)
    heads = f", selected on {probe.selected_on} ({kept}); our linear probe on what has no encoder"
    return ["Heads by protocol ", Code(probe.protocol), heads]


def _dropped(scores: EvalScores, probe: ProbeSettings, small: SmallCells) -> str:
    """Return how many films a protocol leaves out, in a sentence; empty where it leaves out none."""
    if not probe.drop_batch:
        return ""
    shown = hide_small([Count(num) for num in scores.num_dropped.values()], small=small)
    films = ", ".join(f"{num:,} {split}" for split, num in zip(scores.num_dropped, shown, strict=True))
    return f"Films that do not fill the last batch of {probe.drop_batch}, left out: {films}."


def _choices(group: Group) -> list[str]:
    """Return which strengths val chose, and how well it could; the candidates of a group share its films and labels."""
    is_in_train = any(each.settings.candidate.chosen_by for each in group)
    record = "That of the record alone is chosen in folds of train." if is_in_train else ""
    return [describe_strengths(group), record, *dict.fromkeys(each.scores.choice_note for each in group)]


def explain_cells(rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return what the marks in a table mean, a sentence each."""
    return explain_marks(cell.interval for row in rows for cell in row if isinstance(cell, Estimate))


def finding_table(group: Group, small: SmallCells = "hide") -> ReportTable:
    """Return AUROC by finding, one column a candidate."""
    rows: list[list[Cell]] = []
    for finding, score in group[0].scores.findings.items():
        scored = [evaluation.scores.findings.get(finding) for evaluation in group]
        cells = [Estimate(each.auroc) if each else "" for each in scored]
        rows.append([finding, *count_cells(score, small), *cells])
    title = f"AUROC by finding: {name_terms(group[0].settings)}"
    columns = ["Finding", "Positive / scored", "Subjects with / without", *map(describe_row, group)]
    check = plain(group[0].scores.check_note, 300)
    notes = [*explain_cells(rows), *([check] if check else [])]
    rivals = range(3, len(columns))
    return ReportTable(title, columns, rows, notes, short="AUROC by finding", rivals=rivals)


def count_cells(score: FindingScore, small: SmallCells) -> list[Cell]:
    """Return films with a finding and scored, and subjects with it and without; small counts hidden."""
    pos, num_scored, with_it, without_it = hide_small(*_counts_of(score), small=small)
    return [f"{pos:,} / {num_scored:,}", f"{with_it:,} / {without_it:,}"]


def _counts_of(score: FindingScore) -> tuple[list[Count], list[Count]]:
    """Return films with the finding and scored, subjects with it and without; and what can be had from them."""
    with_it, without_it = score.num_pos_subjects or 0, score.num_neg_subjects or 0
    shown = [Count(score.num_pos, with_it), Count(score.num_scored), Count(with_it), Count(without_it)]
    return shown, [Count(score.num_scored - score.num_pos, without_it), Count(score.num_ignored)]


def name_terms(settings: EvalSettings) -> str:
    """Return how titles call what the evaluations of a table have in common."""
    link = f", {settings.link}" if settings.link else ""
    asked = f"; {plain(show_asked(settings.probe), 200)}" if settings.probe.asked else ""
    origin = settings.carried
    fitted = f"; probe fitted on cohort {origin.cohort}, split {origin.split}" if origin else ""
    return f"cohort {settings.cohort} ({settings.cohort_sha256[:8]}){link}, split {settings.split}{asked}{fitted}"


def _without_probe(scores: EvalScores) -> str:
    if not scores.not_fitted:
        return ""
    names = ", ".join(plain(name, 60) for name in scores.not_fitted)
    return f"No probe, because train lacks positives or negatives: {names}."


def describe_row(evaluation: Evaluation) -> str:
    """Return how tables call a candidate; of a run also its encoder, length, seed and the end of its id."""
    settings, shape = evaluation.settings, evaluation.settings.candidate.architecture
    if settings.kind == "ehr-only" and settings.candidate.chosen_by is None:
        return f"{settings.label} (by an older version: val chose its strength)"
    if settings.kind != "run" or shape is None:
        return settings.label
    epochs = count_noun(settings.candidate.num_epochs or 0, "epoch")
    return f"{settings.label} ({shape.backbone}, {epochs}, seed {shape.seed}, {settings.candidate_id[-8:]})"


def _difference(evaluation: Evaluation, other: Evaluation | None, differences: Differences) -> Cell:
    """Return by how much an evaluation is better than another; blank without another, words if not comparable."""
    if other is None:
        return ""
    difference = differences[evaluation.eval_id, other.eval_id]
    return difference if isinstance(difference, str) else Estimate(difference.macro_auroc, is_difference=True)
