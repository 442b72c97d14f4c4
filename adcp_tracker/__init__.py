"""Durable conversion tracking for sellers that speak AdCP, the Ad Context Protocol."""

__version__ = "0.1.0"
