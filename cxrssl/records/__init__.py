"""The one owner of every published format: names of files, typed settings, readers. Stdlib, numpy, core and stats.

A run: `run` (its files, run.json), `events` (its state), `tail` and `steps` (its journals), `curve` (one metric in
bounded memory), `reader` (all of it, cheaply and again and again). What is published: `encoder`, `features`,
`evaluation` and its `arrays`. `fields` and `file` read what anything may have written; what cannot be used is a
`damage`, in words that every view repeats.
"""
