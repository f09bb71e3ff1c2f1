"""The text of the help: every key, and what each state of a run means."""

from __future__ import annotations

from rich.text import Text

from cxrssl.dashboard.text.styles import STATE_STYLES

# At most 56 characters each: a longer one wraps on 80 columns.
KEYS = (
    ("up, down", "select another run, or another candidate"),
    ("tab, shift+tab", "next, previous pane: runs, curve, probes"),
    ("/", "show runs whose id contains a text; escape shows all"),
    ("m, M", "next, previous metric"),
    ("y", "log or linear y axis"),
    ("x", "x axis: step, epoch, time since the start"),
    ("s", "smooth over 1/40 of the curve; faint: lowest to highest"),
    ("enter", "show the findings of a candidate"),
    ("!", "the run has raised an alarm, shown under the table"),
    ("[outcome]", "an outcome of the stay was an input of this candidate"),
    ("val probe", "AUROC on val films during training; not a result"),
    ("rank", "number of directions that the features use"),
    ("waits", "share of run time that steps spend waiting for films"),
    ("r", "read the files now; they are read every second anyway"),
    ("?", "this help"),
    ("q", "quit; runs continue, nothing is written"),
)
STATES = (
    ("running", "its process is alive (other host: its journal grows)"),
    ("stopped", "it stopped on request, after writing a checkpoint"),
    ("died", "its process ended without a message; can be resumed"),
    ("failed", "it ended with an error, or a guard stopped it"),
    ("finished", "its last step is done"),
    ("unseen", "on another host, silent for over two minutes"),
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
