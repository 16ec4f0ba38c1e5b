"""What is remembered, in one SQLite file in WAL mode. The only user of sqlite_utils.

`migrations` makes and upgrades the tables, `records` says what a row is in Python, `store` opens
the file and reads, `recorded` turns rows into the planner's recorded state.
"""
