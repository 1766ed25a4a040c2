"""Submissions and the leaderboard."""
