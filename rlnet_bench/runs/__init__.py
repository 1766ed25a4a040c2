"""From a suite to records: plan, store, run loop, checkpoints, workers."""
