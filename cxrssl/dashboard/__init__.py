"""The terminal dashboard, and the same as text and JSON. It only reads.

state    what is shown, as frozen values        reader   files -> state, again and again
rows     records -> rows of tables              probes   evaluations, opened when they changed
text/    state -> words, without Textual        widgets/ one a file: tables, curve, lines
screens/ one a file: what is where, which key does what
"""
