"""Colours of states and warnings, in words that rich and Textual share."""

from __future__ import annotations

# Light enough to stay legible as greys: with NO_COLOR only their brightness is left.
STATE_STYLES = {
    "running": "bold #5fd75f",
    "stopped": "#ffd75f",
    "died": "bold #ff8787",
    "failed": "bold #ff8787",
    "finished": "#5fd7ff",
    "unseen": "#afafff",
}
TROUBLE, WARNING = STATE_STYLES["failed"], "bold #ffd75f"
