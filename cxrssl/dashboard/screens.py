"""The screens that open over the main one: keys, and the findings of one candidate."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrssl.core.text import count_noun, plain
from cxrssl.dashboard.state import ProbeRow
from cxrssl.dashboard.tables import STATE_STYLES, FindingTable

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


class HelpScreen(ModalScreen[None]):
    """Lists the keys and what the states mean."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close"),
    ]

    def compose(self) -> ComposeResult:
        text = Text("Keys\n", style="bold")
        for key, what in KEYS:
            text.append(f"  {key:<16}", "bold #5fd7ff").append(f"{what}\n", "not bold")
        text.append("\nStates of a run\n", "bold")
        for state, what in STATES:
            text.append(f"  {state:<16}", STATE_STYLES[state]).append(f"{what}\n", "not bold")
        text.append("\nescape closes", "not bold dim")
        with VerticalScroll(classes="dialog"):
            yield Static(text)


class FindingsScreen(ModalScreen[None]):
    """The findings of one candidate."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close", priority=True)]

    def __init__(self, probe: ProbeRow) -> None:
        super().__init__()
        self.probe = probe

    def compose(self) -> ComposeResult:
        probe = self.probe
        text = Text(plain(probe.label), "bold")
        text.append(f"\ncohort {plain(probe.cohort)}, split {plain(probe.split)}, ", "not bold")
        films, subjects = count_noun(probe.num_films, "test film"), count_noun(probe.num_subjects, "subject")
        text.append(f"{films} of {subjects}\n{plain(probe.method)}; escape closes", "not bold")
        with Vertical(classes="dialog"):
            yield Static(text, classes="about")
            yield FindingTable(id="findings")

    def on_mount(self) -> None:
        table = self.query_one(FindingTable)
        table.show_findings(self.probe)
        table.focus()
