"""What every learner shares: rollouts, returns, losses, stacked modules."""
