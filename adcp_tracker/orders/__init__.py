"""Read orders: a shop's own, and the payloads of shop systems and payment providers."""

from adcp_tracker.events.parsing import from_minor
from adcp_tracker.orders.providers import (
    Refund,
    from_bigcommerce,
    from_magento,
    from_mollie,
    from_paypal,
    from_shopify,
    from_stripe,
    from_woocommerce,
    refunds_from_bigcommerce,
    refunds_from_magento,
    refunds_from_mollie,
    refunds_from_paypal,
    refunds_from_shopify,
    refunds_from_stripe,
    refunds_from_woocommerce,
)

__all__ = [
    "Refund",
    "from_bigcommerce",
    "from_magento",
    "from_minor",
    "from_mollie",
    "from_paypal",
    "from_shopify",
    "from_stripe",
    "from_woocommerce",
    "refunds_from_bigcommerce",
    "refunds_from_magento",
    "refunds_from_mollie",
    "refunds_from_paypal",
    "refunds_from_shopify",
    "refunds_from_stripe",
    "refunds_from_woocommerce",
]
