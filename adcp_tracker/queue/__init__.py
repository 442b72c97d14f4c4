"""The durable queue: journal, segments, sealer, outbox and dead letters."""
