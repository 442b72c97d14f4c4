"""Durable conversion tracking for sellers that speak AdCP, the Ad Context Protocol."""

from adcp_tracker import _platform as _platform  # before all others: it may refuse
from adcp_tracker._version import __version__
from adcp_tracker.context import Consent, Context, RequestContext, bind_context, current_context
from adcp_tracker.delivery.api import DeadLetterApi, ReplayResult
from adcp_tracker.delivery.stats import DestinationStats, Stats
from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.base import (
    Batch,
    CheckResult,
    Delivered,
    Destination,
    EventFailure,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Timeouts,
    TooLarge,
)
from adcp_tracker.destinations.interchange import Interchange
from adcp_tracker.event_sources.api import EventSourceApi, HourRow, Reconciliation
from adcp_tracker.event_sources.model import Account, EventSource, SourceReport, SourcesReport
from adcp_tracker.events.builder import EventFields, TrackOptions
from adcp_tracker.events.event import Event, RejectedEvent
from adcp_tracker.events.model import (
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
)
from adcp_tracker.events.validation import Omission
from adcp_tracker.exceptions import (
    AdcpTrackerError,
    ConfigurationError,
    FieldError,
    InvalidEventError,
    OutboxError,
    OutsideTransactionError,
    QueueFullError,
    UnsafeDirectoryError,
    UnusableDirectoryError,
)
from adcp_tracker.hooks import DeliveredNotice, Hooks, PausedNotice, RejectedNotice
from adcp_tracker.orders.mapping import (
    Constant,
    ExplainedField,
    Explanation,
    explain,
    register_order,
)
from adcp_tracker.orders.providers import Refund
from adcp_tracker.orders.reader import Order, OrderItem
from adcp_tracker.outbox.dead_letters import DeadLetter
from adcp_tracker.outbox.state import Histogram, Measures
from adcp_tracker.privacy.api import ContextApi, PrivacyApi
from adcp_tracker.privacy.erasure import ErasureReport
from adcp_tracker.privacy.matching import PersonFields
from adcp_tracker.settings import Settings
from adcp_tracker.tracker import Tracker

__all__ = [
    "Account",
    "ActionSource",
    "AdcpTrackerError",
    "Agent",
    "Batch",
    "CheckResult",
    "ConfigurationError",
    "Consent",
    "Constant",
    "Content",
    "Context",
    "ContextApi",
    "CustomData",
    "DeadLetter",
    "DeadLetterApi",
    "Delivered",
    "DeliveredNotice",
    "Destination",
    "DestinationStats",
    "ErasureReport",
    "Event",
    "EventFailure",
    "EventFields",
    "EventSource",
    "EventSourceApi",
    "EventType",
    "ExplainedField",
    "Explanation",
    "FieldError",
    "Histogram",
    "Hooks",
    "HourRow",
    "Interchange",
    "InvalidEventError",
    "Measures",
    "Omission",
    "Order",
    "OrderItem",
    "OutboxError",
    "Outcome",
    "OutsideTransactionError",
    "Paused",
    "PausedNotice",
    "PersonFields",
    "PrivacyApi",
    "QueueFullError",
    "Reconciliation",
    "Refund",
    "Rejected",
    "RejectedEvent",
    "RejectedNotice",
    "ReplayResult",
    "RequestContext",
    "Retry",
    "Settings",
    "SourceReport",
    "SourcesReport",
    "Stats",
    "Surface",
    "SurfaceCategory",
    "Timeouts",
    "TooLarge",
    "TrackOptions",
    "Tracker",
    "UidType",
    "UniversalId",
    "UnsafeDirectoryError",
    "UnusableDirectoryError",
    "UserMatch",
    "__version__",
    "bind_context",
    "current_context",
    "explain",
    "register_order",
]
