"""Baselines: one file each, on the public API only."""
