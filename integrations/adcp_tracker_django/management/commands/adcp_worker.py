"""``manage.py adcp_worker``."""

from __future__ import annotations

import signal

from django.core.management.base import BaseCommand, CommandError

from adcp_tracker_django.management._commands import open_tracker

_STOP = {signal.SIGINT, signal.SIGTERM}


class Command(BaseCommand):
    """Delivers in the foreground, for sites whose web processes do not."""

    help = 'Deliver until stopped by SIGTERM or Ctrl-C; for UPLOADER = "external".'

    def handle(self, *_: object, **__: object) -> None:
        """Run.

        Raises:
            CommandError: If there is nowhere to deliver to.
        """
        # Blocked before any thread starts, so that they wait for us and interrupt nobody.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        try:
            tracker = open_tracker(uploader="thread", handle_sigterm=False)
            if not tracker.destinations:
                raise CommandError("there is no destination to deliver to", returncode=2)
            tracker.start()
            self.stdout.write(f"Delivering from {tracker.settings.directory}")
            self.stdout.flush()
            signal.sigwait(_STOP)
            left = tracker.close()
            self.stdout.write(f"Stopped; {left.pending} deliveries are left on disk")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
