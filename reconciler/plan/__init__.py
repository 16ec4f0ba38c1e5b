"""The decision, pure: three states in, a list of actions with their causes out."""
