"""A shop with nothing on its own disk: its events wait in PostgreSQL."""

from flask import Flask

from adcp_tracker_flask import AdcpTracker, get_tracker

app = Flask(__name__)
AdcpTracker(app)


@app.post("/orders/<number>")
def buy(number: str) -> str:
    """Sell a mug."""
    order = {
        "id": number,
        "total": "59.90",
        "currency": "EUR",
        "email": f"{number}@example.com",
        "items": [{"sku": "MUG-01", "quantity": 2, "price": "29.95"}],
    }
    get_tracker().track_purchase(order)
    return f"Order {number} is paid.\n"
