"""What ties the parts together: `wiring` makes them, `reconcile` runs one pass, `worker` runs
deployments. Decides nothing that the planner decides.
"""
