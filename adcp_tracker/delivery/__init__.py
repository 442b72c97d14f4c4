"""Delivery: which process uploads, when, and what an outcome does."""
