"""The leader's state: kept across batches and restarts."""
