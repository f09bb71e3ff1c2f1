"""Features that are measured: chosen for each film from tables of events, of hundreds of millions of rows."""
