"""The terminal dashboard, and the same as text and JSON. It only reads.

state, study, detail, people, seen   what is shown, as frozen values     reader    files -> these, again and again
view, memory                         how a user looks at it, remembered  courses   journals -> few numbers a run
text/      values -> tables and words, without Textual                   widgets/  one a file: tables, plots, a film
screens/   one a file: what is where, which key does what                once      a screen without a terminal
"""
