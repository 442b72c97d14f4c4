"""The conversion event: its fields, the rules for them, and its JSON."""
