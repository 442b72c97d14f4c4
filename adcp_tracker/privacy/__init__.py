"""A person's data in the queue: erased and listed on request, and kept for a purchase to come."""

from adcp_tracker.privacy.erasure import ErasureReport

__all__ = ["ErasureReport"]
