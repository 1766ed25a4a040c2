"""Reinforcement Networks: agents as the vertices of a directed acyclic graph."""
