"""The text of the help: every key, and what each state of a run means."""

from __future__ import annotations

from rich.text import Text

from cxrssl.dashboard.text.styles import STATE_STYLES

KEYS = (
    ("up, down", "another run, or another candidate"),
    ("tab, shift+tab", "the next pane: runs, curve, probes"),
    ("/", "runs whose id contains a text; escape shows all"),
    ("m, M", "the next metric, the one before"),
    ("y", "log or linear y axis"),
    ("x", "x axis: step, epoch, time since the start"),
    ("s", "smoothing over 1/40 of the curve; faint: lowest to highest"),
    ("enter", "on a candidate: its findings one by one"),
    ("!", "beside a state: the run has raised an alarm, shown under the runs"),
    ("[outcome]", "this candidate was given an outcome of the stay"),
    ("val probe", "while it trains: AUROC on val films, no result; rank: directions in use"),
    ("waits", "share of the time that steps have waited for films"),
    ("r", "read the files now; they are read every second anyway"),
    ("?", "this help"),
    ("q", "quit; runs go on, nothing is written"),
)
STATES = (
    ("running", "its process lives (other host: its journal grows)"),
    ("stopped", "it was asked to stop; its checkpoint is written"),
    ("died", "its process is gone without a word; can be resumed"),
    ("failed", "it ended with an error or at a guard"),
    ("finished", "its last step is done"),
    ("unseen", "on another host, and silent for over two minutes"),
)


def help_text() -> Text:
    """Return keys and states, one a line."""
    text = Text("Keys\n", style="bold")
    for key, what in KEYS:
        text.append(f"  {key:<16}", "bold #5fd7ff").append(f"{what}\n", "not bold")
    text.append("\nStates of a run\n", "bold")
    for state, what in STATES:
        text.append(f"  {state:<16}", STATE_STYLES[state]).append(f"{what}\n", "not bold")
    return text.append("\nescape closes", "not bold dim")
