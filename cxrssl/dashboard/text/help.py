"""The text of the help: every key, and what each state of a run means."""

from __future__ import annotations

from rich.text import Text

from cxrssl.dashboard.text.styles import KEY, STATE_STYLES

# At most 56 characters each: a longer one wraps on 80 columns.
RUNS_KEYS = (
    ("up, down, j, k", "select another run, or another candidate"),
    ("g, G", "first, last row"),
    ("tab, shift+tab", "next, previous pane: runs, curve, probes"),
    ("/", "filter: state:running ehr:stay auroc>0.75 base"),
    ("space, a", "mark this run, all shown runs: curves show them"),
    ("<, >, o", "sort by the column to the left, right; turn round"),
    ("c", "choose columns; recipe keys that differ are among them"),
    ("u", "unite runs that differ in the seed alone: their mean"),
    ("U", "unite runs by the value of a recipe key"),
    ("p", "pin this run: others are compared with it"),
    ("m, M", "next, previous metric"),
    ("y, x", "log or linear y; x axis: step, epoch, time"),
    ("s, S", "smooth more, less, without lag; faint: low to high"),
    ("enter", "open the run; of a candidate: its findings"),
    ("!", "the run has raised an alarm, shown under the table"),
    ("[outcome]", "an outcome of the stay was an input of this candidate"),
    ("val probe", "AUROC on val films during training; not a result"),
    ("rank", "number of directions that the features use"),
    ("waits", "share of run time that steps spend waiting for films"),
)
CURVES_KEYS = (
    ("m", "choose the metrics, a panel each"),
    ("tab, shift+tab", "next, previous panel"),
    ("enter", "this panel alone, or all"),
    ("left, right", "move the crosshair; shift: ten columns at once"),
    ("escape", "no crosshair"),
    ("+, -, 0", "zoom in, zoom out, show all; the wheel zooms too"),
    ("[, ]", "pan to the left, to the right"),
    ("y, x", "log or linear y; x axis: step, epoch, time"),
    ("s, S", "smooth more, less: a centred bell, without lag"),
    ("b", "lowest to highest behind the first run, or not"),
    ("up, down, j, k", "another run of the legend"),
)
ABLATION_KEYS = (
    ("tab, shift+tab", "forest plot; numbers; differences; by recipe key"),
    ("x", "choose the recipe key that the metric is shown by"),
    ("enter", "the arm at the cursor by finding; escape: all arms"),
    ("p", "pin this arm: others are compared with it"),
    ("m", "AUROC or AUPRC"),
    ("f", "one cohort, or all"),
    ("n, N", "next, previous ablation"),
    ("p Holm", "p-value adjusted for all that were not declared"),
    ("primary", "the comparison that was declared beforehand"),
    ("\N{DEGREE SIGN}", "an interval for other seeds, not other subjects"),
    ("up, down, j, k", "another arm; g, G: first, last"),
)
RUN_KEYS = (
    ("tab", "recipe, or all the rest; a wide screen has both"),
    ("d", "only what is other than the default or the pinned run"),
    ("n, N", "next, previous run"),
    ("j, k, g, G", "scroll down, up, to the top, to the bottom"),
    ("C", "copies the command that makes this run again"),
)
COHORT_KEYS = (
    ("n, N", "next, previous cohort"),
    ("j, k, g, G", "scroll down, up, to the top, to the bottom"),
)
SQL_KEYS = (
    ("tab, /", "to the answer and back; to the query"),
    ("enter", "ask, stopped after a minute; in the list: show the table"),
    ("d", "next database: the store of runs, each cohort"),
    ("l, s", "list saved queries; save this one"),
    ("E", "write the answer into a file"),
)
FILMS_KEYS = (
    ("left, right", "previous, next film; page up, down: a hundred"),
    ("g, G", "first, last film"),
    ("a, e", "any film; the film that looks most like this one"),
    ("n", "next cohort"),
    ("w", "the views and masks that a run cuts of it; the film"),
    ("[, ]", "the views of the epoch before, after"),
    ("55% -15% flip", "share of the film, share that is dropped, mirrored"),
    ("v", "held: ids, and the corners, where text is burnt in"),
    ("tab", "scroll the text"),
)
KEYS_OF = {
    "runs": RUNS_KEYS,
    "curves": CURVES_KEYS,
    "ablation": ABLATION_KEYS,
    "run": RUN_KEYS,
    "cohort": COHORT_KEYS,
    "sql": SQL_KEYS,
    "films": FILMS_KEYS,
}
COMMON_KEYS = (
    ("C, E", "copy a cell, row, table, command; save a table"),
    ("F", "leave the mouse to the terminal, or take it back"),
    ("T", "next theme: dark, light, for the colour-blind"),
    ("ctrl+p", "all commands, by name"),
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


def help_text(name: str = "runs") -> Text:
    """Return the keys of a screen and the states of runs, one a line."""
    text = Text(f"Keys of the screen {name}\n", style="bold")
    for key, what in (*KEYS_OF[name], *COMMON_KEYS):
        text.append(f"  {key:<16}", KEY).append(f"{what}\n", "not bold")
    if name == "runs":
        text.append("\nStates of a run\n", "bold")
        for state, what in STATES:
            text.append(f"  {state:<16}", STATE_STYLES[state]).append(f"{what}\n", "not bold")
    return text.append("\nescape closes", "not bold dim")
