"""The tables of a report, made from published evaluations and cohorts.

In: evaluations of a workspace. Out: tables whose every number has its interval and whose every row says what it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cxrssl.cohort.features import FEATURE_NAMES, is_outcome_used
from cxrssl.core.text import count_noun
from cxrssl.evaluate.evaluation import Evaluation, compare_evaluations
from cxrssl.report.tables import Table, format_interval

OUTCOMES = {"mortality": "in-hospital mortality", "los": "length of stay"}
KIND_ORDER = ("run", "random-init", "ehr-only", "view-only")
Group = list[Evaluation]


def group_evaluations(evaluations: Sequence[Evaluation]) -> list[Group]:
    """Return evaluations that may stand in one table: same cohort, split, films and probe settings; runs first."""
    groups: dict[str, Group] = {}
    for evaluation in evaluations:
        keys = ("cohort", "split", "cohort_sha256", "images_sha256", "probe")
        groups.setdefault(json.dumps([evaluation.settings[key] for key in keys], sort_keys=True), []).append(evaluation)
    return [sorted(group, key=_row_order) for _, group in sorted(groups.items())]


def outcome_sentence(evaluations: Sequence[Evaluation]) -> str:
    """Return the first line of a report: which runs were given an outcome, and which have seen test subjects."""
    named = sorted(
        {
            e.settings["candidate_id"]
            for e in evaluations
            if e.settings["kind"] == "run" and e.settings["is_outcome_used"]
        }
    )
    sentences = ["No outcome of a stay was a pretraining input of any run."]
    if named:
        runs = ", ".join(f"`{name}`" for name in named)
        outcomes = ", ".join(_outcomes_of(evaluations))
        sentences = [f"An outcome ({outcomes}) was a pretraining input of {runs}."]
    imputed = {e.settings["candidate_id"] for e in evaluations if e.settings["candidate"].get("missing") == "paper"}
    if imputed:
        runs = ", ".join(f"`{name}`" for name in sorted(imputed))
        sentences.append(
            f"Unknown views and positions were imputed from the films of all splits, as published: {runs}."
        )
    leaks = {e.settings["candidate_id"]: e.settings["leak"] for e in evaluations if e.settings["leak"]}
    sentences += [f"`{name}`: {leak}." for name, leak in sorted(leaks.items())]
    return " ".join(sentences)


def _outcomes_of(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the outcomes that were pretraining inputs, in words."""
    names = {name for e in evaluations if e.settings["kind"] == "run" for name in e.settings["candidate"]["features"]}
    return [OUTCOMES.get(name, name) for name in FEATURE_NAMES if name in names and is_outcome_used([name])]


def macro_table(group: Group) -> Table:
    """Return macro AUROC and AUPRC, and the paired differences to the untrained encoder and to vanilla MSN."""
    rows = []
    for evaluation in group:
        scores = evaluation.scores
        against = [_difference(evaluation, find(evaluation, group)) for find in (_random_of, _vanilla_of)]
        metrics = [format_interval(scores["macro_auroc"]), format_interval(scores["macro_auprc"])]
        rows.append([_describe(evaluation), *metrics, *against])
    settings, scores = group[0].settings, group[0].scores
    probe = settings["probe"]
    defined = [name for name, score in scores["findings"].items() if score["is_defined"]]
    note = (
        f"Linear probe on frozen features, macro mean over {count_noun(len(defined), 'finding')}; "
        f"{count_noun(scores['num_films'], 'test film')} of {count_noun(scores['num_subjects'], 'subject')} scored, "
        f"{scores['num_not_packed']:,} left out because they could not be decoded. {_without_probe(scores)}"
        f"Intervals: {scores['level']:.0%} percentile bootstrap over subjects, {scores['num_resamples']:,} resamples, "
        f"seed {scores['seed']}; differences are paired (macro AUROC). Labels: uncertain = {probe['uncertain']}, not "
        f"mentioned = {probe['blank']}. Each row is one training run with one seed."
    )
    columns = ("Features", "AUROC", "AUPRC", "AUROC - untrained", "AUROC - vanilla MSN")
    return Table(f"Probe on {_group_name(group)}", columns, rows, note)


def finding_table(group: Group) -> Table:
    """Return AUROC by finding, one column a candidate."""
    rows = []
    for finding, score in group[0].scores["findings"].items():
        cells = [format_interval(evaluation.scores["findings"][finding]["auroc"]) for evaluation in group]
        rows.append([finding, f"{score['num_pos']:,} / {score['num_scored']:,}", *cells])
    title = f"AUROC by finding: {_group_name(group)}"
    return Table(title, ["Finding", "Positive / scored", *[_describe(evaluation) for evaluation in group]], rows)


def _group_name(group: Group) -> str:
    settings = group[0].settings
    link = f", {settings['link']}" if settings.get("link") else ""
    return f"cohort {settings['cohort']} ({settings['cohort_sha256'][:8]}){link}, split {settings['split']}"


def _without_probe(scores: dict[str, Any]) -> str:
    if not scores["not_fitted"]:
        return ""
    return f"No probe, because train lacks positives or negatives: {', '.join(scores['not_fitted'])}. "


def _describe(evaluation: Evaluation) -> str:
    settings = evaluation.settings
    if settings["kind"] != "run":
        return str(settings["label"])
    shape = settings["candidate"]["architecture"]
    epochs = count_noun(settings["candidate"]["num_epochs"], "epoch")
    return f"{settings['label']} ({shape['backbone']}, {epochs}, seed {shape['seed']}, {settings['candidate_id'][-8:]})"


def _difference(evaluation: Evaluation, other: Evaluation | None) -> str:
    if other is None:
        return ""
    return format_interval(compare_evaluations(evaluation, other).macro_auroc.to_dict(), signed=True)


def _random_of(evaluation: Evaluation, group: Group) -> Evaluation | None:
    """The untrained encoder of the same architecture and seed, for a run."""
    if evaluation.settings["kind"] != "run":
        return None
    shape = evaluation.settings["candidate"]["architecture"]
    same = (
        o for o in group if o.settings["kind"] == "random-init" and o.settings["candidate"]["architecture"] == shape
    )
    return next(same, None)


def _vanilla_of(evaluation: Evaluation, group: Group) -> Evaluation | None:
    """The run without health record and with else the same recipe, cohort and films, for a run with one."""
    candidate = evaluation.settings["candidate"]
    if evaluation.settings["kind"] != "run" or not candidate["features"]:
        return None
    for other in group:
        theirs = other.settings["candidate"]
        is_vanilla = other.settings["kind"] == "run" and not theirs["features"]
        if is_vanilla and theirs["setup_sha256"] == candidate["setup_sha256"]:
            return other
    return None


def _row_order(evaluation: Evaluation) -> tuple[int, int, str]:
    features = evaluation.settings["candidate"].get("features", ())
    return KIND_ORDER.index(evaluation.settings["kind"]), len(features), evaluation.eval_id
