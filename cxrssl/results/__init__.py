"""All that was found, for those who ask by SQL.

`rows` lays scores and differences out one number a row, `store` folds everything into experiments.duckdb, `sql` runs a
query that a person wrote, `outcomes` says in words whether an outcome was an input.
"""
