"""All that was found, asked by those who show it: `query` from what is published, `store` and `sql` by SQL.

`query` answers the questions of reports in frozen values, `rows` lays scores and differences out one number a row,
`store` folds everything into experiments.duckdb, `sql` runs a query that a person wrote.
"""
