"""The background side: who uploads, when, and what becomes of the answers."""
