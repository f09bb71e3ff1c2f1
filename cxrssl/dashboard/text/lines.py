"""The few lines of text around the tables, from the state. No widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from cxrssl.core.text import count_noun, format_bytes, plain, shell_word
from cxrssl.dashboard.state import AblationRow, DashboardState, ProbeRow, RunRow, count_states, other_cohorts
from cxrssl.dashboard.text.cells import clock_text, short_seconds
from cxrssl.dashboard.text.runs import MARK
from cxrssl.dashboard.text.snapshot import EMPTY_HINT, ablation_line
from cxrssl.dashboard.text.styles import STATE_STYLES, TROUBLE, WARNING
from cxrssl.dashboard.view import View
from cxrssl.results.outcomes import describe_outcomes
from cxrssl.stats.resample import explain_marks


def top_line(state: DashboardState, text: str = "", num_shown: int = 0, view: View | None = None) -> Text:
    """Return the line that counts the runs by state and names the workspace."""
    line = Text(" ").append(count_noun(len(state.runs), "run"), "bold")
    for name, num in count_states(state.runs):
        line.append("  ").append(f"{num} {name}", STATE_STYLES.get(name, ""))
    if text:
        line.append("  ").append(f'{num_shown} shown with "{plain(text, 40)}"', "reverse")
    if view and view.marked:
        line.append(f"  {MARK} {len(view.marked)} marked", "bold")
    if view and view.is_grouped:
        line.append(f"  united by {plain(view.group_key, 60)}" if view.group_key else "  seeds united", "bold")
    if state.read_frac < 1:
        line.append(f"  reading journals {state.read_frac:.0%}", "dim")
    if state.problems:
        line.append(f"  {count_noun(len(state.problems), 'problem')}: {plain(state.problems[0], 80)}", TROUBLE)
    return line.append(f"  {plain(state.root, 200)}", "dim")


def failure_line(what: str, start: str = "the workspace cannot be read") -> Text:
    """Return the top line of a workspace that could not be read, or of something else that failed."""
    return Text(f" {start}: {plain(what, 200)}", TROUBLE)


def info_line(text: str) -> Text:
    """Return a top line that says what is shown."""
    return Text(f" {plain(text, 400)}")


def notes_text(notes: Sequence[str]) -> Text:
    """Return notes as one paragraph."""
    return Text(plain(" · ".join(notes), 2000))


def title_lines(lines: Sequence[str]) -> Text:
    """Return a bold line and others below it."""
    text = Text(f" {plain(lines[0], 400)}", "bold")
    for line in lines[1:]:
        text.append(f"\n {plain(line, 600)}", "not bold")
    return text


def empty_text(root: str) -> Text:
    """Return what to do in a workspace without runs."""
    first, _, second = EMPTY_HINT.partition(", or ")
    return Text.assemble(
        ("No runs yet", "bold"),
        f" in {plain(root, 200)}.\n\n{first[0].upper()}{first[1:]},\nor {second}.\n\n",
        ("A new run appears here within a second of its start.", "dim"),
    )


def health_text(latest: Mapping[str, tuple[int, float]]) -> str:
    """Return what was last measured beside the loss; what has not been measured is left out."""
    texts = []
    if "probe_auroc" in latest:
        step, value = latest["probe_auroc"]
        texts.append(f"val probe {value:.3f} at step {step:,}")
    if "feature_rank" in latest:
        texts.append(f"rank {latest['feature_rank'][1]:.1f}")
    if "memory_mb" in latest:
        texts.append(format_bytes(latest["memory_mb"][1] * 2**20))
    if "data_frac" in latest:
        texts.append(f"waits {latest['data_frac'][1]:.0%}")
    return " · ".join(texts)


def run_lines(
    run: RunRow, now: float, latest: Mapping[str, tuple[int, float]], ablations: Sequence[AblationRow] = ()
) -> Text:
    """Return three lines about the focused run and its ablations; the first says whether an outcome was an input."""
    about = [
        f"{plain(run.backbone) or 'unknown encoder'} on {plain(run.device, 40) or 'unknown device'}",
        f"cohort {plain(run.cohort, 40)}, split {plain(run.split, 40)}",
        count_noun(run.num_films, "film"),
        f"started {clock_text(run.started_at)}",
        *map(ablation_line, ablations),
    ]
    if run.logged_at is not None and run.state in {"running", "unseen"}:
        about.insert(0, f"logged {short_seconds(now - run.logged_at)} ago")
    trouble = plain(run.trouble, 160)
    if run.state == "died":
        trouble = trouble or "its process is gone; the same pretrain command resumes from its last checkpoint"
    return Text.assemble(
        (f" {outcome_sentence(run)}\n", "dim" if run.is_outcome_used is False else WARNING),
        (f" {plain(run.run_id)}", "bold"),
        f"  {health_text(latest)}\n ",
        (f"{trouble} · " if trouble else "", TROUBLE),
        (f"{plain(run.alarm, 160)} · " if run.alarm else "", WARNING),
        " · ".join(about),
    )


def outcome_sentence(run: RunRow) -> str:
    """Return whether an outcome was a pretraining input of a run."""
    if run.is_outcome_used is None:
        return "This version does not know some EHR features of this run: one of them may be an outcome."
    return describe_outcomes(run.is_outcome_used, run.ehr, "this run", is_loud=True)


def no_curve_text(run: RunRow, metric: str, is_reading: bool) -> str:
    """Return why there is no curve."""
    if run.loss is None:
        return "no step has been logged yet"
    return "reading the journal ..." if is_reading else f"no {metric} was logged"


def probe_title(state: DashboardState, run: RunRow, probes: Sequence[ProbeRow]) -> Text:
    """Return the line over the probe results, or what to run when there are none."""
    others = other_cohorts(state, run)
    also = f" · this run was also probed on {plain(', '.join(others), 80)}" if others else ""
    where = f"cohort {plain(run.cohort, 40)}, split {plain(run.split, 40)}"
    if not probes:
        do = (
            f"cxrssl probe {shell_word(run.run_id)}" if run.state == "finished" else "cxrssl probe, once it is finished"
        )
        return Text(f" no probe on {where} yet: {do}{also}", "dim")
    is_mixed = any(probe.terms != probes[0].terms for probe in probes)
    warning = " · ≠: other films or probe settings, not comparable" if is_mixed else ""
    marks = "".join(f" · {each}" for each in explain_marks(n for p in probes for n in (p.auroc, p.auprc)))
    return Text.assemble(f" macro means on {where}; enter: by finding", (warning + marks, WARNING), also)


def findings_title(probe: ProbeRow) -> Text:
    """Return the lines over the findings of a candidate."""
    text = Text(plain(probe.label), "bold")
    text.append(f"\ncohort {plain(probe.cohort)}, split {plain(probe.split)}, ", "not bold")
    films = count_noun(probe.num_films, "film" if probe.folds else "test film")
    subjects = count_noun(probe.num_subjects, "subject")
    text.append(f"{films} of {subjects}\n{plain(probe.method)}; escape closes", "not bold")
    marks = explain_marks(each for finding in probe.findings for each in (finding.auroc, finding.auprc))
    return text.append("".join(f"\n{each}" for each in marks), WARNING)
