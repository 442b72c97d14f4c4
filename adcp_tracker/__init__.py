"""Durable conversion tracking for sellers that speak AdCP, the Ad Context Protocol."""

from adcp_tracker._version import __version__
from adcp_tracker.context import Consent, RequestContext, bind_context, current_context
from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.base import Batch, Destination
from adcp_tracker.destinations.interchange import Interchange
from adcp_tracker.events.event import Event
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
from adcp_tracker.events.rejected import RejectedEvent
from adcp_tracker.exceptions import (
    AdcpTrackerError,
    ConfigurationError,
    FieldError,
    InvalidEventError,
    OutboxError,
    QueueFullError,
    UnsafeDirectoryError,
)
from adcp_tracker.orders.events import Order, OrderItem, register_order
from adcp_tracker.tracker import Tracker

__all__ = [
    "ActionSource",
    "AdcpTrackerError",
    "Agent",
    "Batch",
    "ConfigurationError",
    "Consent",
    "Content",
    "CustomData",
    "Destination",
    "Event",
    "EventType",
    "FieldError",
    "Interchange",
    "InvalidEventError",
    "Order",
    "OrderItem",
    "OutboxError",
    "QueueFullError",
    "RejectedEvent",
    "RequestContext",
    "Surface",
    "SurfaceCategory",
    "Tracker",
    "UidType",
    "UniversalId",
    "UnsafeDirectoryError",
    "UserMatch",
    "__version__",
    "bind_context",
    "current_context",
    "register_order",
]
