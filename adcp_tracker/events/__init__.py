"""The conversion event: read, identified, judged by the protocol's rules, and written as JSON."""
