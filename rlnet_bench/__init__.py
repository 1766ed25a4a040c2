"""A referee for collaborative multi-agent reinforcement learning."""
