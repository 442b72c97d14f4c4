"""A person's data in the queue: erase it, export it, and keep contexts for later purchases."""

from adcp_tracker.privacy.erasure import ErasureReport

__all__ = ["ErasureReport"]
