"""The commands, each named after what it does."""
