"""`cxrssl compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli import completion
from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, open_workspace, print_summary
from cxrssl.core.columns import wrap_rows
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    from cxrssl.core.workspace import Workspace
    from cxrssl.evaluate.contrast import Contrast, Line
    from cxrssl.evaluate.groups import SeedGroup
    from cxrssl.records.run import RunDescription
    from cxrssl.records.unlike import Unlike

WIDTH = 80
MANY_KEYS = 1
Side = Annotated[
    str,
    typer.Argument(
        help="Run, evaluation or their beginning, or the label of a setup in tables.",
        autocompletion=completion.complete_run,
    ),
]


def compare(
    first: Side,
    second: Side,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Print in what two runs, evaluations or setups differ, and by how much the first ranks the test films better.

    Example: cxrssl compare mimic-msn+demo mimic-msn-vit
    """
    from cxrssl.evaluate.contrast import find_contrasts
    from cxrssl.report.conditions import conditions_as

    place = open_workspace(workspace)
    contrasts = find_contrasts(place, first, second)
    sides = contrasts[0].first, contrasts[0].second
    unlike = _find_unlike(place, *sides)
    warnings = _list_warnings(contrasts, unlike)
    summary = {
        "first": _summarise_side(sides[0]),
        "second": _summarise_side(sides[1]),
        "unlike": {part: [each._asdict() for each in rows] for part, rows in unlike.items()},
        "results": [_summarise(each) for each in contrasts],
        "warnings": warnings,
    }
    lines = [*name_side("first", sides[0]), *name_side("second", sides[1])]
    with conditions_as("hide"):
        lines += _describe_unlike(unlike, sides)
        for each in contrasts:
            lines += describe_contrast(each)
    lines += [line for warning in warnings for line in wrap_rows([("warning:", warning)], WIDTH)]
    print_summary(summary, as_json, lines)


def name_side(which: str, side: SeedGroup) -> list[str]:
    """Return how a side is called, and below it the ids of what was scored, which are never broken."""
    seeds = f", seeds {', '.join(map(str, side.seeds))}" if len(side.seeds) > 1 else ""
    label = side.label if len(side.evaluations) > 1 else side.settings.label
    ids = [plain(each.settings.candidate_id, 200) for each in side.evaluations]
    return [*wrap_rows([(f"{which:<6}", f"{plain(label, 200)}{seeds}")], WIDTH), *(f"        {each}" for each in ids)]


def describe_contrast(contrast: Contrast) -> list[str]:
    """Return the lines about one test set: films, macro means, then each finding."""
    from cxrssl.cli.curves import mark_few
    from cxrssl.report.conditions import show_asked
    from cxrssl.stats.holm import explain_mark
    from cxrssl.stats.resample import explain_marks

    scores, settings = contrast.evaluation.scores, contrast.evaluation.settings
    asked = f", {plain(show_asked(settings.probe), 200)}" if settings.probe.asked else ""
    where = f"cohort {plain(settings.cohort, 60)}, split {plain(settings.split, 60)}{asked}"
    films = f"{count_noun(scores.num_films, 'film')} of {count_noun(scores.num_subjects, 'subject')}"
    lines = ["", *wrap_rows([(f"On {where}: {films}; difference: first minus second.",)], WIDTH)]
    rows = [("", "subj.", "first", "second", "difference")]
    for metric, line in contrast.macro.items():
        rows.append((f"macro {metric.upper()}", f"{scores.num_subjects:,}", *_show(line)))
    found = contrast.findings["auroc"]
    for name, line in found.items():
        subjects = scores.findings[name].num_pos_subjects or 0
        rows.append((plain(name, 40), mark_few(subjects), *_show(line, has_mark_of_holm=True)))
    shown = [line.difference for line in (*contrast.macro.values(), *found.values())]
    notes = ["By finding: AUROC, and subjects with it."]
    notes += [explain_mark([line.p_holm for line in found.values()], "findings"), *explain_marks(shown)]
    notes.append(f"Intervals: {contrast.method}, {'paired' if contrast.is_paired else 'not paired'}.")
    return [*lines, *wrap_rows(rows, WIDTH, "  "), *wrap_rows([(" ".join(filter(None, notes)),)], WIDTH)]


def _show(line: Line, has_mark_of_holm: bool = False) -> tuple[str, str, str]:
    from cxrssl.stats.holm import MARK, has_mark

    mark = MARK if has_mark_of_holm and has_mark(line.p_holm) else ""
    first, second = ("-" if each != each else f"{each:.3f}" for each in (line.first, line.second))
    return first, second, line.difference.to_text(signed=True) + mark


def _find_unlike(workspace: Workspace, first: SeedGroup, second: SeedGroup) -> dict[str, list[Unlike]]:
    """Return in what the runs of two sides differ, by recipe, data and code; nothing where a side is no run."""
    from cxrssl.records.unlike import find_code_differences, find_data_differences, find_recipe_differences

    runs = [_read_run(workspace, each) for each in (first, second)]
    if runs[0] is None or runs[1] is None:
        return {}
    is_single = len(first.evaluations) == len(second.evaluations) == 1
    return {
        "recipe": find_recipe_differences(runs[0], runs[1], seeds=is_single),
        "data": find_data_differences(runs[0], runs[1]),
        "code": find_code_differences(runs[0], runs[1]),
    }


def _read_run(workspace: Workspace, side: SeedGroup) -> RunDescription | None:
    from cxrssl.records.run import RunFiles, read_description

    run_id = side.evaluations[0].settings.run_id
    return read_description(RunFiles(workspace.runs / run_id))[0] if run_id else None


def _describe_unlike(unlike: dict[str, list[Unlike]], sides: Sequence[SeedGroup]) -> list[str]:
    if not unlike:
        names = [plain(each.label, 80) for each in sides if not each.settings.run_id]
        lacking = f"{' and '.join(names)}: no run" if names else "a run is not in this workspace"
        return wrap_rows([("recipe", f"not compared ({lacking})")], WIDTH)
    lines: list[str] = []
    for part, rows in unlike.items():
        same = "the same, as far as it is recorded" if part == "code" else "the same"
        if not rows:
            lines.append(f"{part:<6}  {same}")
            continue
        lines.append(f"{part:<6}  different in {len(rows):,}: first, second")
        shown = [(row.what, *(_show_value(row.what, value) for value in (row.first, row.second))) for row in rows]
        lines += wrap_rows([(plain(what, 60), plain(a, 200), plain(b, 200)) for what, a, b in shown], WIDTH, "  ")
    return lines


def _show_value(what: str, value: str) -> str:
    """Return a setting as people may read it."""
    from cxrssl.report.conditions import show_condition

    return show_condition(value) if what == "data.where" and value != "-" else value


def _list_warnings(contrasts: Sequence[Contrast], unlike: dict[str, list[Unlike]]) -> list[str]:
    """Return what a reader must know before the difference means anything."""
    from cxrssl.records.unlike import NO_EFFECT
    from cxrssl.stats.seeds import ONE_SEED

    told = [
        f"{which}: {sentence}"
        for each in contrasts
        for which, side in (("first", each.first), ("second", each.second))
        for sentence in _tell(side)
    ]
    warnings = list(dict.fromkeys(told))
    effective = [row for row in unlike.get("recipe", ()) if NO_EFFECT not in row.first + row.second]
    if len(effective) > MANY_KEYS:
        warnings.append(f"{len(effective):,} keys of the recipes differ: the difference is that of all together")
    if unlike.get("data"):
        warnings.append("pretrained on different data: the difference is not of the recipe alone")
    if unlike.get("code"):
        warnings.append("made with different code, libraries or devices")
    seeded = [side for each in contrasts for side in (each.first, each.second) if side.seeds]
    if any(len(each.evaluations) < 2 for each in seeded):
        warnings.append(ONE_SEED)
    if not all(each.is_paired for each in contrasts):
        warnings.append("the seeds are not the same, so they are not paired")
    return warnings


def _tell(side: SeedGroup) -> list[str]:
    """Return what is wrong with a side, or unknown of it."""
    from cxrssl.records.setup import RIGHT

    settings, of_seeds = side.settings, [each.settings for each in side.evaluations]
    told = [f"not a fair test: {each.leak}" for each in of_seeds if each.leak]
    told += [f"transductive: {each.transductive}" for each in of_seeds if each.transductive]
    told += ["an outcome was an input of pretraining"] if settings.is_outcome_used else []
    told += ["chosen on test films"] if settings.probe.selected_on == "test" else []
    told += [f"its record is wrong: {side.control}"] if side.control not in (None, RIGHT) else []
    told += [f"whether {name} saw the test films is unknown" for name in settings.candidate.unlisted or ()]
    return [plain(each, 400) for each in told]


def _summarise_side(side: SeedGroup) -> dict[str, Any]:
    return {
        "label": side.label,
        "kind": side.settings.kind,
        "evaluations": [each.eval_id for each in side.evaluations],
        "seeds": list(side.seeds),
        "control": side.control,
    }


def _summarise(contrast: Contrast) -> dict[str, Any]:
    scores, settings = contrast.evaluation.scores, contrast.evaluation.settings
    found = {
        name: {
            "num_scored": scores.findings[name].num_scored,
            "num_pos": scores.findings[name].num_pos,
            "num_pos_subjects": scores.findings[name].num_pos_subjects,
            "num_neg_subjects": scores.findings[name].num_neg_subjects,
            **{metric: _summarise_line(lines[name]) for metric, lines in contrast.findings.items()},
        }
        for name in contrast.findings["auroc"]
    }
    return {
        "cohort": settings.cohort,
        "split": settings.split,
        "asked": settings.probe.asked,
        "evaluations": [[each.eval_id for each in side.evaluations] for side in (contrast.first, contrast.second)],
        "num_films": scores.num_films,
        "num_subjects": scores.num_subjects,
        "method": contrast.method,
        "is_paired": contrast.is_paired,
        "macro": {metric: _summarise_line(line) for metric, line in contrast.macro.items()},
        "findings": found,
    }


def _summarise_line(line: Line) -> dict[str, Any]:
    from cxrssl.core.numbers import encode_numbers

    numbers = {name: encode_numbers(getattr(line, name), as_null=True) for name in ("first", "second", "p", "p_holm")}
    return {**numbers, "difference": line.difference.to_dict()}
