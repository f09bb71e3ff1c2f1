"""Options of `cxrssl probe` on what a fitted probe is used for, and the lines that say what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.lines import Part, Table
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    from cxrssl.evaluate.transfer import Transfer
    from cxrssl.records.evaluation import Evaluation

ThresholdRules = Annotated[
    str,
    typer.Option(
        "--threshold",
        help="Rules of thresholds fitted on val: youden, sens=0.9, spec=0.9; these three when left out.",
        metavar="RULES",
        rich_help_panel="What is fitted and scored",
    ),
]

TestOn = Annotated[
    str,
    typer.Option(
        "--test-on",
        help="Cohorts to which the fitted probe is applied unchanged: chexpert,nih.",
        metavar="NAMES",
        rich_help_panel="On which films",
    ),
]


def parse_rules(text: str, folds: int) -> tuple[str, ...] | None:
    """Return the rules by their names, None for the usual ones. Raises: UsageError."""
    if not text.strip():
        return None
    from cxrssl.stats.thresholds import DEFAULT_RULES, parse_rule

    if folds:
        raise UsageError("--threshold has no effect on folds, which leave no val films", hint="omit --folds")
    names = tuple(dict.fromkeys(parse_rule(part).name for part in text.split(",")))
    return None if names == DEFAULT_RULES else names


def parse_cohorts(text: str, folds: int) -> tuple[str, ...]:
    """Return the names of the cohorts that a probe is carried to. Raises: UsageError."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if text.strip() and not names:
        raise UsageError("--test-on names no cohort", hint="--test-on chexpert,nih")
    if names and folds:
        what = "--folds fits a probe for each fold, and none that could be carried to another cohort"
        raise UsageError(what, hint="leave out --folds or --test-on")
    return names


def describe_fit(evaluation: Evaluation) -> list[str]:
    """Return what val films gave beside the strength: thresholds, and how true the probabilities are on test films."""
    from cxrssl.records.fitted import find_calibrations, find_thresholds
    from cxrssl.stats.calibration import is_off

    thresholds, calibrations = find_thresholds(evaluation), find_calibrations(evaluation)
    if thresholds is None or calibrations is None:
        return []
    num = len(thresholds.findings)
    has_points = sum(bool(each.points) for each in thresholds.findings.values())
    whys = dict.fromkeys(each.why_none for each in thresholds.findings.values() if each.why_none)
    rest = f"; none for the others: {', or '.join(whys)}" if whys else ""
    rules = ", ".join(thresholds.rules)
    lines = [f"Thresholds ({rules}) fitted on val for {has_points} of {count_noun(num, 'finding')}{rest}."]
    scored = [each for each in calibrations.findings.values() if each.raw is not None]
    num_shifted = sum(is_off(each.raw.intercept) for each in scored if each.raw)
    num_steep = sum(is_off(each.raw.slope, 1.0) for each in scored if each.raw)
    lines.append(
        f"Calibration of {count_noun(len(scored), 'finding')} on test films: the interval of the intercept excludes 0 "
        f"for {num_shifted}, that of the slope 1 for {num_steep}."
    )
    return lines


def describe_transfers(transfers: Sequence[Transfer]) -> list[Part]:
    """Return for each cohort what the carried probe reaches there, beside one that is fitted there."""
    return [part for transfer in transfers for part in _describe(transfer)]


def _describe(transfer: Transfer) -> Iterator[Part]:
    from cxrssl.cli.boxed import describe_boxes
    from cxrssl.records.fitted import find_calibrations

    carried, there = transfer.carried, transfer.there
    origin = carried.settings.carried
    assert origin is not None, "a carried probe"
    scores, own, change = carried.scores, there.scores, transfer.change.get("macro")
    films = f"{count_noun(scores.num_films, 'test film')} of {count_noun(scores.num_subjects, 'subject')}"
    yield ""
    if transfer.packed:
        yield f"Not alike: {transfer.packed}."
    yield f"Carried to cohort {carried.settings.cohort}, split {carried.settings.split}: {films}; macro AUROC of " + (
        f"{count_noun(len(scores.findings), 'shared finding')}:"
    )
    yield Table(
        ("", "macro AUROC", "matched"),
        [
            (f"probe of {origin.cohort}, unchanged", scores.macro_auroc.to_text(), scores.matched_text),
            (
                f"probe fitted on {carried.settings.cohort}",
                there.scores.macro_auroc.to_text(),
                there.scores.matched_text,
            ),
            ("fitted there - carried", transfer.difference.macro_auroc.to_text(signed=True), ""),
            *([(f"carried - on {origin.cohort}", change.to_text(signed=True), "")] if change else []),
        ],
    )
    calibrations = find_calibrations(carried)
    maps = calibrations.findings if calibrations else {}
    rows = []
    for name, score in scores.findings.items():
        kept = maps.get(name)
        as_is = kept.raw.intercept.to_text(signed=True) if kept and kept.raw else ""
        repaired = kept.after_there.intercept.to_text(signed=True) if kept and kept.after_there else "none"
        fitted = own.findings[name].auroc.to_text()
        rows.append((plain(name, 60), score.auroc.to_text(), fitted, as_is, repaired))
    yield "AUROC by finding; intercept of the carried probabilities, perfect is 0, and after Platt on val there:"
    yield Table(("", "carried", "fitted there", "intercept", "after Platt there"), rows)
    yield from describe_boxes([carried])
    if carried.settings.leak:
        yield f"Not a fair test: {carried.settings.leak}."
    if transfer.left_out:
        names = ", ".join(plain(name, 60) for name in transfer.left_out)
        yield f"Left out, because train there lacks positives or negatives: {names}."
    if transfer.unlike:
        yield f"Not carried: {'; '.join(transfer.unlike)}."


def summarise_transfers(transfers: Sequence[Transfer]) -> dict[str, Any]:
    """Return the evaluations and differences as JSON, by evaluation."""
    from cxrssl.cli.boxed import summarise_boxes

    summary = {}
    for each in transfers:
        about = {
            "settings": each.carried.settings.to_dict(),
            **each.carried.scores.to_dict(),
            **summarise_boxes(each.carried),
        }
        difference = {
            "fitted_there": each.there.eval_id,
            "fitted_there_minus_carried": each.difference.to_dict(),
            **({"packed_otherwise": each.packed} if each.packed else {}),
            "carried_minus_home": {name: change.to_dict() for name, change in each.change.items()},
        }
        summary[each.carried.eval_id] = about | difference
        summary[each.there.eval_id] = {"settings": each.there.settings.to_dict(), **each.there.scores.to_dict()}
    return summary
