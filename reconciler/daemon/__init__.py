"""Process shell of `reconcile daemon`: starts and stops the parts, decides nothing."""
