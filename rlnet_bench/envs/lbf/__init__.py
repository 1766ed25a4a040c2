"""Level-based foraging (lbforaging 2.0), in batched torch."""
