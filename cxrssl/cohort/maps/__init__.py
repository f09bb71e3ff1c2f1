"""The TOML of a user that explains films and tables of their own: what each key means, and what follows from them.

Topics `folder` and `datasets` of the manual have the keys. `declared` holds a map as plain data, `parse` makes it from
TOML; the other modules read the tables that it names.
"""
