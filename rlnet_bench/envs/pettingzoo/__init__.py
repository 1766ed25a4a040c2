"""The door for PettingZoo ``ParallelEnv``s: foreign environments in, our tasks out."""
