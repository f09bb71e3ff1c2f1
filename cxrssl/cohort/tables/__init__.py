"""Source tables: columns as data, lines as RFC 4180 has them, typed rows, and a reject for each row that breaks a rule.

Knows nothing of films. `peek` looks at the beginning of a file, `table` reads all of it.
"""
