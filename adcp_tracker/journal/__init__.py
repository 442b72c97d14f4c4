"""The write side of the queue: an event is on disk when the call returns."""
