"""The sellers that events go to: how each is called, and what its answers mean."""
