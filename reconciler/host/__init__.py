"""What the machine offers: child processes, secrets, locks, the engine's socket, registries.

Everything above that touches the outside goes through here, so that cancelling, time limits
and the hiding of secrets are done once.
"""
