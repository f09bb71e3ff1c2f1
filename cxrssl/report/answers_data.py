"""Answers of checklists on data: where films are from, who is in them, how they were divided and what was left out.

In: Evidence. Out: lines with the file that holds them. Never: a count of fewer than ten people where these are hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cxrssl.cohort.features import find_feature, is_feature
from cxrssl.cohort.read import SPLITS, Cohort
from cxrssl.cohort.release.verified import describe_release
from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.visible import find_visible_of
from cxrssl.records.eval_settings import is_of_folds
from cxrssl.records.evaluation import Evaluation
from cxrssl.report.conditions import show_asked
from cxrssl.report.evidence import Evidence
from cxrssl.report.small import Count, hide_small
from cxrssl.stats.power import describe_in_words

MAX_NAMED = 3


def describe_data(evidence: Evidence) -> list[str]:
    """Return dataset, versions and size of each cohort, and whether its files are those of its publisher."""
    lines = []
    for name, cohort in evidence.cohorts.items():
        films = cohort.summary["films"]
        size = f"{count_noun(films['accepted'], 'film')} of {count_noun(films['subjects'], 'subject')}"
        made = ", ".join(f"{plain(key, 40)} {plain(value, 60)}" for key, value in _items(cohort.summary, "versions"))
        lines.append(f"{plain(name, 60)}: dataset {plain(cohort.dataset, 40)}, {size}{f'; {made}' if made else ''}")
        lines.append(describe_release(plain(name, 60), cohort.summary.get("release")))
    return [f"{line} [{_file(line, evidence)}]" for line in lines]


def describe_eligibility(evidence: Evidence) -> list[str]:
    """Return how many films of each cohort were seen, and by which rules some were rejected."""
    lines = []
    for name, cohort in evidence.cohorts.items():
        films = cohort.summary["films"]
        rules = list(_items(films, "rejected"))
        # Together, as each tells what the others leave over.
        counts = [Count(films["seen"]), Count(films["accepted"]), *(Count(num) for _, num in rules)]
        num_seen, num_accepted, *nums = hide_small(counts, small=evidence.small)
        named = zip((rule for rule, _ in rules), nums, strict=True)
        rejected = ", ".join(f"{plain(rule, 60)} {count_noun(num, 'film')}" for rule, num in named)
        seen = f"{count_noun(num_seen, 'film')} seen, {num_accepted:,} accepted"
        lines.append(_of(name, f"{seen}; rejected: {rejected or 'none'}", "summary.json"))
    return lines


def describe_preparation(evidence: Evidence) -> list[str]:
    """Return how films were packed, and how a recipe shows them."""
    packs = [
        (name, f"films decoded and scaled once to {pack['size_px']} px, version {pack['pipeline_version']} of decoding")
        for name, pack in evidence.packs.items()
    ]
    views = [
        (
            evidence.name_run(run.run_id),
            f"views of {each['global_px']} px, grey values: mean {each['pixel_mean']}, sd {each['pixel_std']}",
        )
        for run in evidence.runs
        if {"global_px", "pixel_mean", "pixel_std"} <= (each := run.description.recipe.get("views", {})).keys()
    ]
    return [*merge(packs, "images/*/manifest.json"), *merge(views, "runs/*/run.json")]


def describe_subsets(evidence: Evidence) -> list[str]:
    """Return what was asked of which films."""
    asked = [
        (each.settings.cohort, show_asked(each.settings.probe) or "all films with all findings, no condition")
        for each in evidence.evaluations
    ]
    left_out = [
        (each.settings.cohort, f"left out as twins of films in a later split: {counts}")
        for each in evidence.encoders
        if (counts := _list_counts(each.scores.num_twins_left_out))
    ]
    return [*merge(asked, "evals/*/manifest.json"), *merge(left_out, "evals/*/scores.json")]


def describe_elements(evidence: Evidence) -> list[str]:
    """Return the features of the record that runs were given, with when each is known."""
    lines = []
    for run in evidence.runs:
        known = [(name, find_feature(name)) for name in run.ehr if is_feature(name)]
        named = ", ".join(f"{name} (known {each.known} the film)" for name, each in known)
        lines.append((evidence.name_run(run.run_id), f"input of pretraining: {named or 'none of the record'}"))
    return [*merge(lines, "runs/*/run.json"), "features and times: cxrssl help record"] if lines else []


def describe_missing(evidence: Evidence) -> list[str]:
    """Return what an unknown value is for runs and for labels, and how many there are."""
    runs = [
        (
            evidence.name_run(run.run_id),
            f"unknown values of the record enter as {plain(run.description.recipe['ehr'].get('missing'), 40)}",
        )
        for run in evidence.runs
        if run.ehr and "missing" in run.description.recipe.get("ehr", {})
    ]
    unknown = [
        (name, f"unknown: {counts}")
        for name, cohort in evidence.cohorts.items()
        if (counts := _list_counts(dict(_items(cohort.summary, "unknown"))))
    ]
    labels = [
        (each.settings.cohort, f"a finding that is not mentioned counts as {each.settings.probe.blank}")
        for each in evidence.evaluations
    ]
    return [
        *merge(runs, "runs/*/run.json"),
        *merge(unknown, "cohorts/*/summary.json"),
        *merge(labels, "evals/*/manifest.json"),
    ]


def describe_truth(evidence: Evidence) -> list[str]:
    """Return which labels were scored, and what an uncertain one counts as. Who labelled is not recorded."""
    lines = []
    for each in evidence.evaluations:
        names = ", ".join(plain(name, 60) for name in each.scores.findings)
        policy = (
            f"uncertain = {plain(each.settings.probe.uncertain_text, 200)}, not mentioned = {each.settings.probe.blank}"
        )
        lines.append((each.settings.cohort, f"labels of the dataset, {policy}: {names}"))
    return merge(lines, "evals/*/scores.json")


def describe_size(evidence: Evidence) -> list[str]:
    """Return what the test films can show; why there are so many is for the authors."""
    lines = [(each.settings.cohort, describe_in_words(find_visible_of(each.scores))) for each in evidence.encoders]
    return merge(lines, "evals/*/scores.json")


def describe_partition(evidence: Evidence) -> list[str]:
    """Return the films and subjects of each split that was scored, and how films were assigned to it."""
    lines = []
    for cohort, split in evidence.published.probed:
        if cohort not in evidence.cohorts:
            continue
        if is_of_folds(split):
            text = f"{split.partition('-')[0]} folds; no subject is in two, and each is scored by a probe of the others"
            lines.append(_of(cohort, text, "summary.json"))
            continue
        parts = evidence.cohorts[cohort].summary["splits"].get(split, {})
        counts = [_count_part(evidence, name, parts[name]) for name in SPLITS if name in parts]
        lines.append(_of(cohort, f"split {plain(split, 40)}: {'; '.join(counts)}", "summary.json"))
    return lines


def describe_level(evidence: Evidence) -> list[str]:
    """Return that splits divide subjects: a cohort with a subject in two splits cannot be opened."""
    lines = [(name, "by subject: no subject is in two splits, checked when it is opened") for name in evidence.cohorts]
    return merge(lines, "cohorts/*/films.npz")


def describe_flow(evidence: Evidence) -> list[str]:
    """Return where the flow of films is drawn."""
    return [
        _of(cohort, f"films by step, as a table and a figure: flow-{plain(cohort, 60)}-{plain(split, 40)}", "")
        for cohort, split in evidence.published.probed
        if cohort in evidence.cohorts and not is_of_folds(split)
    ]


def count_people(evidence: Evidence) -> list[str]:
    """Return subjects, sex and age of each part of each split that was scored."""
    lines = []
    for name, split in evidence.published.probed:
        cohort = evidence.cohorts.get(name)
        for part in SPLITS if cohort and split in cohort.schemes else ():
            assert cohort is not None
            lines.append(
                _of(name, f"{plain(split, 40)}, {part}: {_describe_people(evidence, cohort, part, split)}", "films.npz")
            )
    return lines


def count_events(evidence: Evidence) -> list[str]:
    """Return the scored subjects and those with each finding; the train subjects of a probe that were fewer."""
    lines = []
    for each in _first_of_terms(evidence.evaluations):
        scores = each.scores
        counts = []
        for name, score in scores.findings.items():
            with_it, without_it = score.num_pos_subjects or 0, score.num_neg_subjects or 0
            shown, _ = hide_small([Count(with_it), Count(without_it)], small=evidence.small)
            counts.append(f"{plain(name, 60)} {shown:,}")
        text = f"test: {count_noun(scores.num_subjects, 'subject')}; with the finding: {', '.join(counts)}"
        lines.append((each.settings.cohort, text))
    return merge(lines, "evals/*/scores.json")


def merge(lines: Iterable[tuple[str, str]], file: str) -> list[str]:
    """Return a line for each text, once, with the names that it is said of and the file that holds it."""
    named: dict[str, dict[str, None]] = {}
    for name, text in lines:
        named.setdefault(text, {})[name] = None
    where = f" [{file}]" if file else ""
    return [f"{_name(list(names))}: {text}{where}" for text, names in named.items()]


def _name(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return "; ".join(plain(name, 80) for name in names[:MAX_NAMED]) + (f"; and {more:,} more" if more > 0 else "")


def _of(cohort: str, text: str, file: str) -> str:
    where = f" [cohorts/{plain(cohort, 60)}/{file}]" if file else ""
    return f"{plain(cohort, 60)}: {text}{where}"


def _file(line: str, evidence: Evidence) -> str:
    name = next(each for each in evidence.cohorts if line.startswith(f"{plain(each, 60)}:"))
    return f"cohorts/{plain(name, 60)}/summary.json"


def _items(values: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    """Return the pairs of a table of a summary; none where an older version did not write it."""
    found = values.get(key)
    return list(found.items()) if isinstance(found, dict) else []


def _list_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{plain(name, 60)} {count_noun(num, 'film')}" for name, num in counts.items() if num)


def _count_part(evidence: Evidence, name: str, part: dict[str, int]) -> str:
    films, subjects = hide_small(
        [Count(part["films"], part["subjects"]), Count(part["subjects"])], small=evidence.small
    )
    return f"{name} {count_noun(films, 'film')} of {count_noun(subjects, 'subject')}"


def _describe_people(evidence: Evidence, cohort: Cohort, part: str, split: str) -> str:
    rows = cohort.rows_of(part, split)
    _, first = np.unique(cohort.subject_id[rows], return_index=True)
    first = rows[first]
    names = cohort.feature_names.tolist()
    counts, words = [Count(len(first))], ["subjects"]
    if "sex" in names:
        column = names.index("sex")
        values = np.where(cohort.ehr_known[first, column], cohort.ehr_values[first, column], -1).astype(int)
        words += [*find_feature("sex").categories, "of unknown sex"]
        counts += [Count(int((values == value).sum())) for value in (*range(len(words) - 2), -1)]
    shown = hide_small(counts, small=evidence.small)
    text = ", ".join(f"{num:,} {word}" for num, word in zip(shown, words, strict=True) if num)
    if "age" in names:
        column = names.index("age")
        ages = cohort.ehr_values[first, column][cohort.ehr_known[first, column]]
        if len(ages) >= 10:
            low, middle, high = np.quantile(ages, [0.25, 0.5, 0.75])
            text += f"; age {middle:.0f} (quartiles {low:.0f}, {high:.0f}) at the first film listed"
    return text


def _first_of_terms(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Return one evaluation for each set of scored films and labels."""
    found: dict[str, Evaluation] = {}
    for each in evaluations:
        found.setdefault(each.settings.terms, each)
    return list(found.values())
