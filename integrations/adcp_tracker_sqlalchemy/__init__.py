"""Send an event only if the database transaction it was tracked in is committed.

On PostgreSQL, insert it in that transaction::

    tracker = Tracker(…, transactional_outbox=SessionOutbox(Session))

Or write it to the journal after the commit::

    tracker = Tracker(…, on_commit=on_session_commit(Session))
"""

from adcp_tracker_sqlalchemy.on_commit import SessionCommitHook, Sessions, on_session_commit
from adcp_tracker_sqlalchemy.outbox import SessionOutbox, create_tables, intake, is_queue_table

__all__ = [
    "SessionCommitHook",
    "SessionOutbox",
    "Sessions",
    "create_tables",
    "intake",
    "is_queue_table",
    "on_session_commit",
]
