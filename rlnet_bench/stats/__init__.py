"""Pure functions from records to estimates (numpy and scipy only)."""
