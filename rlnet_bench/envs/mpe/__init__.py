"""Multi-agent particle environments of mpe2, in batched torch: spread, speaker-listener, reference."""
