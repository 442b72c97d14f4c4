"""Event sources: register them with sellers, learn what they take, and compare counts.

An event source is what a seller files events under, such as a website or a shop's till.
What is public stands in the modules: :class:`~adcp_tracker.event_sources.model.EventSource`,
:class:`~adcp_tracker.event_sources.model.Account` and the reports. They are not loaded with the
library, as most processes only track.
"""
