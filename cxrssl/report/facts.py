"""The facts above all numbers of a report: data, recipes, code, machine, time, audit, and what chose what.

In: what was gathered. Out: Facts and the table of runs. Never: the moment of writing, a name of a machine or a person.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cxrssl.cohort.release.verified import describe_release
from cxrssl.core.errors import IntegrityError
from cxrssl.core.numbers import number_of
from cxrssl.core.text import count_noun, plain
from cxrssl.core.version import __version__
from cxrssl.recipe.load import load_recipe
from cxrssl.records.file import read_json
from cxrssl.records.reader import RunRecord
from cxrssl.records.run import MAX_COMMIT
from cxrssl.report.cells import Cell
from cxrssl.report.choose import describe_choice
from cxrssl.report.conditions import hash_recipe, show_condition
from cxrssl.report.document import Fact
from cxrssl.report.gather import MISSHAPEN, Gathered
from cxrssl.report.lines import Code, Line, join_lines
from cxrssl.report.pin import describe_pin
from cxrssl.report.small import Count, SmallCells, hide_small
from cxrssl.report.tables import ReportTable

DEFAULT = "strict"
MAX_SHOWN = 12
"""Of the keys in which recipes differ, and of the hashes of recipes."""
NOT_RECORDED = "not recorded"
WHERE = "data.where"
_MISSING = object()


def list_facts(gathered: Gathered, small: SmallCells, command: str = "") -> list[Fact]:
    """Return the facts in the order in which a reader must know them; `command` makes the report again."""
    runs = gathered.chosen.runs
    facts = [
        Fact("Selected on", _describe_selection(gathered)),
        Fact("Reported", describe_choice(gathered.published, gathered.choice)),
        Fact("Command", [Code(command)] if command else ""),
        Fact("Baseline", describe_pin(gathered.pin) if gathered.pin else ""),
        Fact("Cohorts", join_lines([_describe_cohort(gathered, name) for name in _cohorts(gathered)], "; ")),
        Fact("Pretrained together", _describe_pooled(runs, small)),
        Fact("Audit", describe_audit(gathered)),
        Fact("Recipes", _describe_recipes(runs)),
        Fact("Extended", _describe_extended(runs)),
        Fact("Code", describe_code(runs)),
        Fact("Machine", _describe_machines(runs)),
        Fact("Training time", _describe_time(runs)),
        Fact("Trained on", _describe_dates(runs)),
        Fact("Small counts", "hidden" if small == "hide" else "shown: this report must not be shared"),
    ]
    return [fact for fact in facts if fact.text]


def run_table(gathered: Gathered, small: SmallCells) -> ReportTable:
    """Return one row a run: state, films, recipe, in what it differs from the other runs, machine, time."""
    runs = gathered.chosen.runs
    own = _own_differences([each.description.recipe for each in runs])
    rows = [_run_row(run, differs, small) for run, differs in zip(runs, own, strict=True)]
    columns = ("Run", "State", "Steps", "Films", "Twins left out", "Recipe", "Time", "Ended")
    rows = [row[:-1] for row in rows] if not any(own) else rows
    names = [*columns, "Settings of its own"] if any(own) else columns
    return ReportTable("Runs", names, list(reversed(rows)))


def _run_row(run: RunRecord, differs: str, small: SmallCells) -> list[Cell]:
    description = run.description
    films, twins = hide_small([Count(description.num_films), Count(description.num_twins_left_out)], small=small)
    state = f"{run.imported.sentence}, {run.state}" if run.imported else run.state
    time, ended = _seconds(run), run.ended_at
    return [
        run.run_id,
        state,
        f"{run.step:,} of {run.num_steps:,}",
        str(f"{films:,}"),
        str(f"{twins:,}"),
        hash_recipe(description),
        "" if math.isnan(time) else format_time(time),
        "" if ended is None else _day(ended),
        differs,
    ]


def _cohorts(gathered: Gathered) -> list[str]:
    return list(dict.fromkeys(cohort for cohort, _ in gathered.chosen.probed))


def _describe_selection(gathered: Gathered) -> Line:
    """Return which films chose what: those that are scored first, where a protocol chose by them."""
    probes = [each.settings.probe for each in gathered.chosen.evaluations]
    by_test = sorted({each.protocol or "" for each in probes if each.selected_on == "test"})
    by_val = sorted({each.protocol or "" for each in probes if each.selected_on == "val"})
    words: list[Line] = [["test: heads of protocol ", Code(name), ", whose scores are too high"] for name in by_test]
    words += [["val: heads of protocol ", Code(name)] for name in by_val]
    own = [each for each in probes if each.protocol is None]
    words += ["val: strength of each probe"] if any(not each.folds for each in own) else []
    words += ["one fold of the others: strength of each probe"] if any(each.folds for each in own) else []
    return join_lines(words, "; ")


def _describe_cohort(gathered: Gathered, name: str) -> Line:
    """Return a cohort with its hash, and whether its files were checked against their publisher's checksums."""
    scored = [each.settings for each in gathered.chosen.evaluations if each.settings.cohort == name]
    hashes = [Code(each[:8]) for each in dict.fromkeys(each.cohort_sha256 for each in scored)]
    shown = join_lines([[each] for each in hashes], ", ")
    return [f"{plain(name, 80)} (", *shown, f"), {describe_files(gathered, name).partition(': ')[2]}"]


def _describe_pooled(runs: Sequence[RunRecord], small: SmallCells) -> str:
    """Return which cohorts runs were trained on together, with films of each and shared patients; seeds alike once."""
    said: dict[str, int] = {}
    for description in (run.description for run in runs):
        if not description.members:
            continue
        counts = [each.num_films for each in description.members]
        shown = hide_small([Count(num) for num in [*counts, description.num_shared_patients or 0]], small=small)
        named = zip(description.members, shown, strict=False)
        films = ", ".join(f"{plain(each.cohort, 60)} {num:,} films" for each, num in named)
        mix = "" if description.mix == "proportional" else f", mixed: {plain(description.mix, 20)}"
        shared = f"{shown[-1]:,} patients in several of them, each in one split"
        sentence = f"{films}{mix}; {shared if description.num_shared_patients else 'no shared patient'}"
        said[sentence] = said.get(sentence, 0) + 1
    return "; ".join(f"{sentence} ({count_noun(num, 'run')})" for sentence, num in said.items())


def describe_files(gathered: Gathered, name: str) -> str:
    """Return whether the files of a cohort were checked against their publisher's checksums."""
    shown, path = plain(name, 80).replace(": ", " "), gathered.workspace.cohorts / name / "summary.json"
    here = {each.settings.cohort for each in gathered.chosen.evaluations if not each.imported}
    if name not in here:
        return f"{shown}: of imported results; it is not known whether its source files were checked"
    try:
        return describe_release(shown, read_json(path)["release"] if path.exists() else None)
    except (IntegrityError, *MISSHAPEN):
        return f"{shown}: unknown whether its source files were checked, as summary.json cannot be used"


def describe_audit(gathered: Gathered) -> str:
    """Return the verdict of the audit: what it refuses and what it warns of."""
    if gathered.audit is None:
        return "not made, the workspace holds no cohort"
    refused = sum(each.severity == "refuse" for each in gathered.audit)
    warned = sum(each.severity == "warn" for each in gathered.audit)
    checks = count_noun(len(gathered.audit), "check")
    verdict = [count_noun(refused, "refusal")] if refused else []
    verdict += [count_noun(warned, "warning")] if warned else []
    return f"{checks}: {' and '.join(verdict) or 'nothing found'}"


def _describe_recipes(runs: Sequence[RunRecord]) -> Line:
    """Return the hashes of the recipes, and in what all of them differ from the default one."""
    if not runs:
        return ""
    hashes = list(dict.fromkeys(hash_recipe(each.description) or NOT_RECORDED for each in runs))
    shown = join_lines([[Code(each)] for each in hashes[:MAX_SHOWN]], ", ")
    more = f" and {len(hashes) - MAX_SHOWN} more" if len(hashes) > MAX_SHOWN else ""
    differs = _shared_differences([each.description.recipe for each in runs])
    to_default = (
        f" as the default one, {DEFAULT}" if not differs else f"; other than in {DEFAULT}: {'; '.join(differs)}"
    )
    return [*shown, more, to_default]


def _describe_extended(runs: Sequence[RunRecord]) -> str:
    """Return which runs continue another one, from where, and how; their time is that of the added steps."""
    said = []
    for run in runs:
        train = run.description.recipe.get("train", {})
        if extends := train.get("extends"):
            of = f"{plain(run.run_id, 120)} continues {plain(str(extends).partition('@')[0], 120)}"
            said.append(f"{of}, schedule {plain(train.get('extend_schedule', ''), 20)}")
    end = "; the training time of each is that of its added epochs" if said else ""
    return f"{count_noun(len(said), 'run')} extended: {'; '.join(said)}{end}" if said else ""


def _shared_differences(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings that all recipes share and the default has not, of those that every recipe has."""
    default, found = _flatten(load_recipe(DEFAULT).to_dict()), [_flatten(each) for each in recipes]
    shared = {key: value for key, value in found[0].items() if all(each.get(key, _MISSING) == value for each in found)}
    return [_show_setting(key, value) for key, value in shared.items() if default.get(key, _MISSING) != value]


def _own_differences(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each recipe the settings that not all recipes share."""
    found = [_flatten(each) for each in recipes]
    keys = dict.fromkeys(key for each in found for key in each)
    differing = [key for key in keys if any(each.get(key, _MISSING) != found[0].get(key, _MISSING) for each in found)]
    return ["; ".join(_show_setting(key, each[key]) for key in differing if key in each) for each in found]


def _flatten(recipe: Mapping[str, Any]) -> dict[str, Any]:
    tables = {name: keys for name, keys in recipe.items() if isinstance(keys, Mapping)}
    return {f"{name}.{key}": _as_json(value) for name, keys in tables.items() for key, value in keys.items()}


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _show_setting(key: str, value: Any) -> str:
    return f"{key} = {_show(show_condition(str(value)) if key == WHERE and value else value)}"


def _show(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_show, value))}]"
    return plain(str(value).lower() if isinstance(value, bool) else value, 80)


def describe_code(runs: Sequence[RunRecord]) -> str:
    """Return the versions that trained, with commit and hash of the code where runs recorded them."""
    codes = dict.fromkeys(map(_describe_code_of, runs))
    more = [f"{len(codes) - MAX_SHOWN} others"] if len(codes) > MAX_SHOWN else []
    return "; ".join([*list(codes)[:MAX_SHOWN], *more, f"report by cxrssl {__version__}"])


def _describe_code_of(run: RunRecord) -> str:
    about = run.description
    known = about.code_facts
    known.setdefault("commit", NOT_RECORDED)
    begun = [str(event.get("code_sha256") or "") for event in run.events if event["event"] == "start"]
    others = dict.fromkeys(each for each in begun if each and about.code_sha256 and each != about.code_sha256)
    resumed = [f"continued by other code {plain(each[:MAX_COMMIT])}" for each in others]
    return ", ".join([*(f"{name} {each}" for name, each in known.items()), *resumed])


def _describe_machines(runs: Sequence[RunRecord]) -> str:
    machines = dict.fromkeys(filter(None, map(_describe_machine, runs)))
    return "; ".join(machines)


def _describe_machine(run: RunRecord) -> str:
    """Return on what a run was trained; never the name of a machine."""
    start = next((event for event in reversed(run.events) if event["event"] == "start"), {})
    device = plain(run.description.device or start.get("device") or "", 60)
    counts = [
        count_noun(start[key], noun)
        for key, noun in (("num_threads", "thread"), ("num_processes", "process"))
        if isinstance(start.get(key), int) and start[key] > (1 if key == "num_processes" else 0)
    ]
    return ", ".join([*([device] if device else []), *counts])


def _describe_time(runs: Sequence[RunRecord]) -> str:
    times = [time for time in map(_seconds, runs) if not math.isnan(time)]
    if not times:
        return ""
    each = format_time(min(times)), format_time(max(times))
    spread = each[0] if each[0] == each[1] else f"{each[0]} to {each[1]}"
    return (
        spread if len(times) == 1 else f"{format_time(sum(times))} for {count_noun(len(times), 'run')}, {spread} each"
    )


def _seconds(run: RunRecord) -> float:
    """Return how long a run was trained, pauses between its starts left out; nan where that is not known."""
    total, begun = 0.0, math.nan
    for event in run.events:
        if event["event"] == "start":
            if not math.isnan(begun):
                return math.nan  # it ended without a word before this start, and nothing here says when
            begun = event["ts"]
        elif event["event"] in ("stop", "fail", "finish") and not math.isnan(begun):
            total, begun = total + max(event["ts"] - begun, 0.0), math.nan
    last = number_of(run.tip[-1].get("ts")) if run.tip else math.nan
    if not math.isnan(begun) and last > begun:  # it ended without a word
        total += last - begun
    return total or math.nan


def format_time(seconds: float) -> str:
    """Return a time such as "3 min 16 s" or "1 h 05 min"."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes_left:02d} min"
    return f"{minutes} min {left:02d} s" if minutes else f"{left} s"


def _describe_dates(runs: Sequence[RunRecord]) -> str:
    """Return the days of training (UTC): those of the results, whenever the report was written."""
    moments = [each for run in runs for each in (run.started_at, run.ended_at) if each]
    days = sorted({_day(min(moments)), _day(max(moments))}) if moments else []
    return " to ".join(days)


def _day(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "an unknown day"
