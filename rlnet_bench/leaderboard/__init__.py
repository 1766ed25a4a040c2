"""Submissions and the leaderboard.

``submission``  the manifest, and a folder opened and judged as data
``pack``        a folder from a run store
``rules``       what a submission and a board must be, one function each
``check``       all rules over a folder, offline
``verify``      the level V0 to V3, with evidence
``season``      hidden evaluation seeds: committed, drawn, logged, revealed
``entries``     what the board lists
"""
