"""A django-oscar shop in memory, of which one order is read; run by test_shops.py."""

from __future__ import annotations

import sys
from decimal import Decimal

import django
from django.conf import settings
from django.core.management import call_command
from oscar import defaults

_APPS = """
    address.apps.AddressConfig analytics.apps.AnalyticsConfig basket.apps.BasketConfig
    catalogue.apps.CatalogueConfig catalogue.reviews.apps.CatalogueReviewsConfig
    checkout.apps.CheckoutConfig communication.apps.CommunicationConfig
    customer.apps.CustomerConfig offer.apps.OfferConfig order.apps.OrderConfig
    partner.apps.PartnerConfig payment.apps.PaymentConfig search.apps.SearchConfig
    shipping.apps.ShippingConfig voucher.apps.VoucherConfig wishlists.apps.WishlistsConfig
    dashboard.apps.DashboardConfig
"""
_DASHBOARDS = (
    "catalogue communications offers orders pages partners ranges reports reviews shipping users "
    "vouchers"
)
_DJANGO = "auth contenttypes sites messages flatpages"
_PLAIN = "haystack treebeard django_tables2"


class _NoMigrations:
    def __contains__(self, app: str) -> bool:
        return True

    def __getitem__(self, app: str) -> None:
        return None


def main() -> None:
    """Make an order, read it twice, and print what was found."""
    oscar = {name: value for name, value in vars(defaults).items() if name.startswith("OSCAR_")}
    settings.configure(
        SECRET_KEY="for this shop alone",
        USE_TZ=True,
        SITE_ID=1,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        MIGRATION_MODULES=_NoMigrations(),
        HAYSTACK_CONNECTIONS={
            "default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}
        },
        INSTALLED_APPS=[
            *(f"django.contrib.{name}" for name in _DJANGO.split()),
            "oscar.config.Shop",
            *(f"oscar.apps.{name}" for name in _APPS.split()),
            *(
                f"oscar.apps.dashboard.{name}.apps.{name.capitalize()}DashboardConfig"
                for name in _DASHBOARDS.split()
            ),
            *_PLAIN.split(),
        ],
        **oscar | {"OSCAR_INITIAL_ORDER_STATUS": "Pending"},
    )
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    _fill()
    _show()


def _fill() -> None:
    from oscar.core.loading import get_model  # noqa: PLC0415 - needs the settings

    country = get_model("address", "Country").objects.create(
        iso_3166_1_a2="GB", iso_3166_1_a3="GBR", printable_name="United Kingdom"
    )
    address = get_model("order", "ShippingAddress").objects.create(
        line1="1 Main Road", postcode="N1 9RT", country=country, phone_number="+442079460958"
    )
    order = get_model("order", "Order").objects.create(
        number="100001",
        currency="GBP",
        total_incl_tax=Decimal("59.90"),
        total_excl_tax=Decimal("50.00"),
        guest_email="alice@example.com",
        shipping_address=address,
    )
    sums = {f"line_price{name}_incl_tax": Decimal("59.90") for name in ("", "_before_discounts")}
    sums |= {f"line_price{name}_excl_tax": Decimal("50.00") for name in ("", "_before_discounts")}
    get_model("order", "Line").objects.create(
        order=order,
        num_allocated=0,
        partner_sku="MUG-01",
        title="Mug",
        quantity=2,
        unit_price_incl_tax=Decimal("29.95"),
        unit_price_excl_tax=Decimal("25.00"),
        **sums,
    )


def _show() -> None:
    from oscar.core.loading import get_model  # noqa: PLC0415 - needs the settings

    from adcp_tracker.orders.reader import to_order  # noqa: PLC0415 - as in a shop

    orders = get_model("order", "Order").objects
    plain = to_order(orders.get())
    loaded = to_order(orders.select_related("shipping_address__country").get())
    (line,) = plain.items or ()
    known = [plain.order_id, f"{plain.total}", f"{plain.currency}", line.id]
    for order in (plain, loaded):
        given = {"email": order.email, "phone": order.phone}
        known.append("+".join(name for name, value in given.items() if value))
    sys.stdout.write(" ".join(known))


if __name__ == "__main__":
    main()
