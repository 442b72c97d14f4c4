"""Orders in, events out: what a shop calls an order, and its purchases and refunds."""
