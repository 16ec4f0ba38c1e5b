"""One deployment, from claimed to its end: `STAGES` in order, run by `runner`.

A stage is a module with two functions: `skip(context)` says why there is nothing to do (empty
when there is), `run(context)` does it and returns what to commit. Every stage may be run again
after a crash without doing anything twice.
"""
