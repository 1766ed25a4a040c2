"""VMAS scenarios behind the environment contract: card by card, with saved states and streams of our own."""
