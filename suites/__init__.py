"""Suites: one YAML each."""
