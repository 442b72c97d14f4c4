"""Send an event only if the database transaction it was tracked in is committed.

::

    tracker = Tracker(…, hold=hold_for_session(Session))
"""

from adcp_tracker_sqlalchemy.on_commit import SessionHold, Sessions, hold_for_session

__all__ = ["SessionHold", "Sessions", "hold_for_session"]
