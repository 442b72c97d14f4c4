"""Send an event only if the database transaction it was tracked in is committed.

::

    tracker = Tracker(…, on_commit=on_session_commit(Session))
"""

from adcp_tracker_sqlalchemy.on_commit import SessionCommitHook, Sessions, on_session_commit

__all__ = ["SessionCommitHook", "Sessions", "on_session_commit"]
