"""Which column is which field, and what the text in it means."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.builder import derive_event_id
from adcp_tracker.events.hashing import hash_email
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.importing import Import, ImportOptions, ImportReport
from adcp_tracker.importing.mapping import (
    FIELDS,
    PRESETS,
    grouped,
    parse_local_amount,
    parse_local_time,
)

_UTC = timezone.utc


def _dry(
    tmp_path: Path, text: str, options: ImportOptions | None = None, name: str = "rows.csv"
) -> ImportReport:
    return Import.open(_write(tmp_path, text, name), options).dry_run()


def _write(tmp_path: Path, text: str, name: str = "rows.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def _events(report: ImportReport) -> list[dict[str, Any]]:
    return [orjson.loads(event.json) for event in report.first]


@pytest.mark.parametrize(
    ("text", "dates", "expected"),
    [
        ("2026-11-27T16:30:00+01:00", None, "2026-11-27T15:30:00+00:00"),
        ("2026-11-27", None, "2026-11-27T00:00:00"),
        ("27.11.2026", None, "2026-11-27T00:00:00"),
        ("27.11.2026 16:30", None, "2026-11-27T16:30:00"),
        ("11/27/2026 04:30:05 PM", "mdy", "2026-11-27T16:30:05"),
        ("11/27/2026 12:00 AM", "mdy", "2026-11-27T00:00:00"),
        ("3/4/2026", "dmy", "2026-04-03T00:00:00"),
        ("3/4/2026", "mdy", "2026-03-04T00:00:00"),
        ("3/4/2026", None, None),
        ("Nov 27, 2026 4:30:00 PM", None, "2026-11-27T16:30:00"),
        ("2026-11-27 16:30:00 America/New_York", None, "2026-11-27T21:30:00+00:00"),
        ("11/27/2026 16:30:00 -0500", "mdy", "2026-11-27T21:30:00+00:00"),
        ("2026/11/27 16:30", None, "2026-11-27T16:30:00"),
        ("1795797000", None, "2026-11-27T16:30:00+00:00"),
        ("31.02.2026", None, None),
        ("13/13/2026", "dmy", None),
        ("27.11.26", None, None),
        ("11/27/2026 13:00 PM", "mdy", None),
        ("yesterday", None, None),
        ("", None, None),
    ],
)
def test_times_are_read_as_systems_write_them(
    text: str, dates: str | None, expected: str | None
) -> None:
    """What could be two days is none."""
    found = parse_local_time(text, dates)

    wanted = None if expected is None else datetime.fromisoformat(expected)
    assert found == wanted
    assert wanted is None or (found and found.tzinfo is None) is (wanted.tzinfo is None)


@pytest.mark.parametrize(
    ("text", "decimal_comma", "expected"),
    [
        ("1234.50", False, "1234.50"),
        ("1,234.50", False, "1234.50"),
        ("1,234,567", False, "1234567"),
        ("1,234", False, "1,234"),
        ("12,50", False, "12,50"),
        ("1.234,50", True, "1234.50"),
        ("1'234,50", True, "1234.50"),
        ("1\u202f234,50", True, "1234.50"),
        ("-12,5", True, "-12.5"),
        ("1.234", True, "1234"),
        ("1.23", True, "1.23"),
        ("n/a", True, "n/a"),
    ],
)
def test_amounts_are_read_by_their_marks(text: str, decimal_comma: bool, expected: str) -> None:  # noqa: FBT001 - a case
    """What could be two amounts is left alone, and rejected later."""
    assert parse_local_amount(text, decimal_comma=decimal_comma) == expected


@given(st.text(max_size=40), st.sampled_from([None, "mdy", "dmy"]), st.booleans())
def test_no_text_makes_reading_fail(text: str, dates: str | None, decimal_comma: bool) -> None:  # noqa: FBT001
    """Whatever is in a cell is a time or not, an amount or not."""
    assert isinstance(parse_local_time(text, dates), (datetime, type(None)))
    assert isinstance(parse_local_amount(text, decimal_comma=decimal_comma), str)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 - local times
    st.sampled_from(["mdy", "dmy"]),
)
def test_dates_with_slashes_come_back(time: datetime, dates: str) -> None:
    """Written by one of both orders and read by it, a time is the same."""
    day = "%m/%d/%Y" if dates == "mdy" else "%d/%m/%Y"
    time = time.replace(microsecond=0)
    for clock in ("%H:%M:%S", "%I:%M:%S %p"):
        assert parse_local_time(time.strftime(f"{day} {clock}"), dates) == time


def test_columns_are_guessed_by_the_names_that_orders_have(tmp_path: Path) -> None:
    """What isn't known is listed as unused."""
    path = tmp_path / "rows.csv"
    path.write_text("Order Number,Grand Total,E-Mail,orderDate,Branch,gclid\n")

    plan = Import.open(path).plan

    assert dict(plan.fields) == {
        "order_id": ("Order Number",),
        "total": ("Grand Total",),
        "email": ("E-Mail",),
        "created_at": ("orderDate",),
        "gclid": ("gclid",),
    }
    assert plan.guessed == set(plan.fields)
    assert plan.unused == ("Branch",)


def test_given_columns_are_not_guessed_besides(tmp_path: Path) -> None:
    """Nothing is read that nobody named; a column's case doesn't matter."""
    path = tmp_path / "rows.csv"
    path.write_text("Bon,Total,email,Zeit\n")

    plan = Import.open(path, ImportOptions(columns={"order_id": "bon", "created_at": "Zeit"})).plan

    assert dict(plan.fields) == {"order_id": ("Bon",), "created_at": ("Zeit",)}
    assert not plan.guessed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preset": "shopfy"}, "preset: expected one of shopify"),
        ({"columns": {"emial": "a"}}, "'emial' isn't a field. Did you mean 'email'"),
        ({"columns": {"email": "mail"}}, "email: expected a column 'mail'"),
        ({"where": {"state": "paid"}}, "where: expected a column 'state'"),
        ({"event_type": "sale"}, "event_type: expected one of page_view"),
        ({"action_source": "physical_store"}, "action_source: expected one of website"),
        ({"timezone": "Mars"}, "timezone: expected a time zone"),
        ({"dates": "ymd"}, "dates: expected one of mdy, dmy"),
        ({"delimiter": ";;"}, "delimiter: expected one character"),
        ({"columns": {"order_id": "id"}}, "the time of each conversion, got none among "),
        ({"preset": "hubspot"}, "conversion, as files of hubspot have, got none among "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    """Each with what was expected."""
    path = tmp_path / "rows.csv"
    path.write_text("id,time\n")

    with pytest.raises(ConfigurationError) as raised:
        Import.open(path, ImportOptions(**options))

    assert says in str(raised.value)


def test_a_toml_file_has_every_option(tmp_path: Path) -> None:
    """What is given otherwise counts for more, column by column."""
    file = tmp_path / "till.toml"
    file.write_text(
        'timezone = "+01:00"\ncurrency = "EUR"\ndecimal_comma = true\n'
        '[columns]\norder_id = "Bon"\ntotal = "Summe"\ncreated_at = "Datum"\nevent_type = "Art"\n'
        'email = ["Mail", "Mail 2"]\n"custom_data.store" = "Filiale"\n'
        '[where]\nArt = ["Verkauf", "Anfrage"]\n'
        '[event_types]\nVerkauf = "purchase"\nAnfrage = "lead"\n'
    )
    options = ImportOptions.from_toml(file, currency="CHF", columns={"order_id": "Nr"})

    report = _dry(
        tmp_path,
        "Nr;Summe;Datum;Art;Mail;Mail 2;Filiale\n"
        "A-1;12,50;27.11.2026 10:00;Verkauf;;a@example.com;Nord\n"
        "A-2;;27.11.2026 10:00;anfrage;b@example.com;;Nord\n"
        "A-3;1,00;27.11.2026 10:00;Storno;b@example.com;;Nord\n",
        options,
    )

    sale, lead = _events(report)
    assert sale["event_id"] == "A-1"
    assert sale["event_time"] == "2026-11-27T09:00:00Z"
    assert sale["custom_data"] == {
        "value": 12.5,
        "currency": "CHF",
        "order_id": "A-1",
        "store": "Nord",
    }
    assert sale["user_match"] == {"hashed_email": hash_email("a@example.com")}
    assert (lead["event_type"], lead["event_id"]) == ("lead", "A-2")
    assert sum(report.skipped.values()) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("currancy = 'EUR'\n", "isn't an option"),
        ("= no\n", "expected TOML"),
        ("columns = 3\n", "wrong type"),
    ],
)
def test_a_wrong_toml_file_is_refused(tmp_path: Path, content: str, says: str) -> None:
    """Whether it isn't TOML or has what nobody knows."""
    file = tmp_path / "till.toml"
    file.write_text(content)

    with pytest.raises(ConfigurationError, match=says):
        ImportOptions.from_toml(file)


def test_a_row_without_an_id_is_known_by_its_values(tmp_path: Path) -> None:
    """The same row has the same id in any file; other columns and their order don't matter."""
    first = _dry(tmp_path, "total,currency,email,time\n1,EUR,a@b.example,2026-11-27T10:00Z\n")
    second = _dry(
        tmp_path, "note,time,email,currency,total\nx,2026-11-27T10:00Z,a@b.example,EUR,1\n"
    )
    third = _dry(tmp_path, "total,currency,email,time\n2,EUR,a@b.example,2026-11-27T10:00Z\n")

    ids = [_events(each)[0]["event_id"] for each in (first, second, third)]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("purchase:")


def test_a_blank_id_among_others_is_rejected(tmp_path: Path) -> None:
    """Its digest would change when its other values are corrected."""
    report = _dry(tmp_path, "id,total,currency,time\n,1,EUR,2026-11-27T10:00Z\n")

    assert report.events == 0
    assert report.reasons[2] == "id: expected an id, as other rows have, got a blank cell"


def test_ids_are_those_of_the_librarys_own_calls(tmp_path: Path) -> None:
    """So that a lead, a deal and an order count once, whoever tracks them."""
    rows = "id,type,time\n7,purchase,2026-11-27\n7,lead,2026-11-27\n7,subscribe,2026-11-27\n"

    events = _events(
        _dry(
            tmp_path,
            rows,
            ImportOptions(
                event_types={},
                timezone="UTC",
                columns={"order_id": "id", "event_type": "type", "created_at": "time"},
            ),
        )
    )

    assert [each["event_id"] for each in events] == ["7", "7", derive_event_id("subscribe", "7")]


def test_refunds_are_told_apart(tmp_path: Path) -> None:
    """By their own ids where there are any; nothing refunded is no refund."""
    rows = (
        "order_id,refund_id,refund_amount,total,currency,time\n"
        "A-1,R-1,-5.00,20.00,EUR,2026-11-27T10:00Z\n"
        "A-1,R-2,5.00,20.00,EUR,2026-11-27T10:00Z\n"
        "A-2,,0.00,20.00,EUR,2026-11-27T10:00Z\n"
        "A-3,,20.00,20.00,EUR,2026-11-27T10:00Z\n"
    )

    report = _dry(tmp_path, rows, ImportOptions(event_type="refund"))

    events = _events(report)
    assert [each["event_id"] for each in events] == [
        "A-1:refund:R-1",
        "A-1:refund:R-2",
        "A-3:refund",
    ]
    assert [each["custom_data"]["value"] for each in events] == [5, 5, 20]
    assert dict(report.skipped) == {"nothing was refunded": 1}


def test_a_denied_consent_drops_the_event(tmp_path: Path) -> None:
    """A word that is neither is rejected, as nobody knows what it means."""
    rows = "id,time,consent\nA-1,2026-11-27T10:00Z,DENIED\nA-2,2026-11-27T10:00Z,Granted\n"
    report = _dry(tmp_path, rows + "A-3,2026-11-27T10:00Z,perhaps\n")

    assert dict(report.dropped) == {"consent": 1}
    assert (report.events, report.rejected) == (1, 1)


def test_a_row_needs_a_time_that_is_sure(tmp_path: Path) -> None:
    """The time of the import would be wrong, so it isn't put in its place."""
    rows = "id,time\nA-1,\nA-2,2026-11-27 10:00\nA-3,11/12/2026\nA-4,soon\n"

    reasons = _dry(tmp_path, rows).reasons

    assert "got a blank cell" in reasons[2]
    assert "--timezone" in reasons[3]
    assert "--dates mdy or dmy" in reasons[4]
    assert "got a string of 4 characters" in reasons[5]


def test_the_time_of_day_can_have_its_own_column(tmp_path: Path) -> None:
    """As in the exports of many tills; it changes nothing about a time that has one."""
    rows = "id,Date,Time\nA-1,27.11.2026,16:30\nA-2,2026-11-27,16:30:10\n"
    more = "A-3,2026-11-27 10:00,16:30\nA-4,27.11.2026,\n"

    report = Import.open(_write(tmp_path, rows + more), ImportOptions(timezone="UTC")).dry_run()

    assert [each["event_time"] for each in _events(report)] == [
        "2026-11-27T16:30:00Z",
        "2026-11-27T16:30:10Z",
        "2026-11-27T10:00:00Z",
    ]
    assert report.events == 4


def test_json_rows_have_objects_and_lists(tmp_path: Path) -> None:
    """A field can be inside of another one, and an order has its items."""
    row = {
        "id": "A-1",
        "total": 59.9,
        "currency": "EUR",
        "created_at": "2026-11-27T10:00:00Z",
        "customer": {"email": "a@example.com"},
        "items": [{"sku": "MUG-7", "quantity": 2, "price": "29.95"}],
    }
    path = tmp_path / "rows.ndjson"
    path.write_bytes(orjson.dumps(row))
    columns = {name: name for name in ("total", "currency", "created_at", "items")}
    options = ImportOptions(columns={**columns, "order_id": "id", "email": "customer.email"})

    (event,) = _events(Import.open(path, options).dry_run())

    assert event["custom_data"]["contents"] == [{"id": "MUG-7", "quantity": 2, "price": 29.95}]
    assert event["user_match"]["hashed_email"] == hash_email("a@example.com")


_SHOPIFY = """\
Name,Email,Financial Status,Paid at,Fulfillment Status,Currency,Subtotal,Shipping,Taxes,Total,\
Discount Code,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,\
Billing Country,Billing Phone,Refunded Amount,Vendor,Id,Phone
#1001,alice@example.com,paid,2026-11-27 10:00:05 +0100,fulfilled,EUR,59.90,0.00,9.56,59.90,,\
2026-11-27 10:00:00 +0100,2,Mug,24.95,MUG-7,DE,0171 2345678,0.00,Cup Co,4501,
#1001,alice@example.com,,,,,,,,,,2026-11-27 10:00:00 +0100,1,Plate,10.00,,,,,Cup Co,,
#1002,bob@example.com,pending,,,EUR,5.00,0.00,0.80,5.00,,2026-11-27 11:00:00 +0100,1,Spoon,\
5.00,SP-1,DE,,0.00,Cup Co,4502,+442079460958
#1003,carol@example.com,partially_refunded,2026-11-27 12:00:00 +0100,,EUR,5.00,0.00,0.80,5.00,,\
2026-11-27 12:00:00 +0100,1,Spoon,5.00,SP-1,GB,,2.00,Cup Co,4503,
"""
_WOOCOMMERCE = """\
order_id,order_number,order_date,status,order_total,order_currency,customer_ip_address,\
customer_user_agent,customer_email,billing_email,billing_phone,billing_country
71,71,9/6/2026 6:29:00,completed,19.90,USD,93.184.216.34,Mozilla/5.0,,dan@example.com,\
+12015550123,US
72,72,9/6/2026 6:30:00,cancelled,5.00,USD,,,,eve@example.com,,US
"""
_HUBSPOT = """\
Record ID,Deal Name,Deal Stage,Close Date,Amount,Currency,Email,Phone Number,Google ad click id
9001,Acme,Closed Won,2026-11-27 15:30,4800,EUR,fay@example.com,,Cj0-1
9002,Nemo,Closed Lost,2026-11-27 15:30,100,EUR,gus@example.com,,
"""
_SALESFORCE = """\
Opportunity ID,Opportunity Name,Stage,Close Date,Amount Currency,Amount,Email,Phone
0065e00000AbCdE,Acme,Closed Won,27.11.2026,EUR,"1,200.00",hal@example.com,+442079460958
0065e00000AbCdF,Nemo,Prospecting,28.11.2026,EUR,10.00,ivy@example.com,
"""
_GOOGLE = """\
Parameters:TimeZone=Europe/Berlin,,,,,,,
Google Click ID,Conversion Name,Conversion Time,Conversion Value,Conversion Currency,Email,\
Order ID,Ad User Data
Cj0-1,Sale,11/27/2026 16:30:00,25.00,EUR,,,Granted
,Sale,2026-11-27 16:30:00+0100,25.00,EUR,jan@example.com,O-2,
Cj0-3,Sale,11/27/2026 16:30:00,25.00,EUR,,,Denied
"""
_META = """\
email,email,phone,fn,ln,madid,event_name,event_time,value,currency,order_id
,kim@example.com,+442079460958,Kim,Lee,,Purchase,2026-11-27T16:30:00Z,10.00,EUR,M-1
lou@example.com,,,Lou,Poe,6D92078A-8246-4BA4-AE5B-76104861E7DC,Lead,1795797000,,,M-2
moe@example.com,,,Moe,Ray,,Other,1795797000,1.00,EUR,M-3
"""
_SAMPLES = {
    "shopify": (_SHOPIFY, ["4501", "4503"]),
    "woocommerce": (_WOOCOMMERCE, ["71"]),
    "hubspot": (_HUBSPOT, [derive_event_id("close_convert_lead", "9001")]),
    "salesforce": (_SALESFORCE, [derive_event_id("close_convert_lead", "0065e00000AbCdE")]),
    "google-offline": (_GOOGLE, None),
    "meta-offline": (_META, ["M-1", "M-2"]),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_reads_the_columns_of_its_files(tmp_path: Path, preset: str) -> None:
    """Only conversions are taken, each under the id it has elsewhere, and none is unidentified."""
    text, ids = _SAMPLES[preset]
    options = ImportOptions(preset=preset, timezone=None if preset == "google-offline" else "UTC")

    report = _dry(tmp_path, text, options)

    events = _events(report)
    assert ids is None or [each["event_id"] for each in events] == ids
    assert all("user_match" in each for each in events)
    assert not report.unidentified
    assert not report.omitted


def test_what_a_file_lacks_is_said_before_it_is_imported(tmp_path: Path) -> None:
    """Deals without a stage could all be lost ones."""
    deals = _write(tmp_path, "Record ID,Close Date\n1,2026-11-27\n")
    plain = _write(tmp_path, "time\n2026-11-27\n", "plain.csv")

    crm = Import.open(deals, ImportOptions(preset="hubspot")).plan.problems
    bare = Import.open(plain).plan.problems

    assert any("deal_stage says which rows are conversions" in each for each in crm)
    assert [each.partition(",")[0] for each in bare] == [
        "No column has the value",
        "No column identifies the person",
        "No column has an id",
    ]


def test_a_shopify_order_has_a_row_for_each_item(tmp_path: Path) -> None:
    """The rows are one order; an item without an SKU has its name."""
    report = _dry(tmp_path, _SHOPIFY, ImportOptions(preset="shopify"))

    first = _events(report)[0]
    assert first["custom_data"] == {
        "value": 59.9,
        "currency": "EUR",
        "order_id": "4501",
        "contents": [
            {"id": "MUG-7", "quantity": 2, "price": 24.95, "brand": "Cup Co", "name": "Mug"},
            {"id": "Plate", "quantity": 1, "price": 10, "brand": "Cup Co", "name": "Plate"},
        ],
        "content_ids": ["MUG-7", "Plate"],
        "num_items": 3,
    }
    assert "hashed_phone" in first["user_match"]
    assert (report.rows, report.events) == (4, 2)


_LINES = """\
order_id,created_at,total,currency,email,item_sku,item_name,item_price
1,2026-11-27T10:00:00Z,9,GBP,alice@example.com,A,Mug,4
1,,,,,B,"Tea,
green",5
,2026-11-27T10:00:00Z,9,GBP,bob@example.com,A,Mug,4
,2026-11-27T10:00:00Z,9,GBP,bob@example.com,A,Mug,4
"""


def test_rows_of_one_order_belong_together(tmp_path: Path) -> None:
    """Further rows only add items, and two orders that lack their number stay apart."""
    found = Import.open(_write(tmp_path, _LINES))

    groups = list(grouped(found.source.rows(), found.plan))

    assert [len(rows) for rows in groups] == [2, 1, 1]
    assert groups[0][1].values["item_name"] == "Tea,\ngreen"


def test_shopify_refunds_are_imported_as_such(tmp_path: Path) -> None:
    """The refunded part is the value."""
    report = _dry(tmp_path, _SHOPIFY, ImportOptions(preset="shopify", event_type="refund"))

    (event,) = _events(report)
    assert event["event_id"].startswith("4503:refund")
    assert event["custom_data"]["value"] == 2


def test_the_other_presets_read_what_their_files_say(tmp_path: Path) -> None:
    """Times in the file's zone, click ids by their kind, event names, consent."""
    google = _dry(tmp_path, _GOOGLE, ImportOptions(preset="google-offline"))
    first, second = _events(google)
    assert first["user_match"] == {"click_id": "Cj0-1", "click_id_type": "gclid"}
    assert first["event_time"] == second["event_time"] == "2026-11-27T15:30:00Z"
    assert second["event_id"] == "O-2"
    assert dict(google.dropped) == {"consent": 1}

    meta = _dry(tmp_path, _META, ImportOptions(preset="meta-offline"))
    purchase, lead = _events(meta)
    assert purchase["action_source"] == "in_store"
    assert purchase["user_match"]["hashed_email"] == hash_email("kim@example.com")
    assert lead["event_type"] == "lead"
    assert lead["user_match"]["uids"][0]["type"] == "maid"
    assert meta.reasons[4].startswith("event_name: expected a type of the protocol")

    woo = _events(_dry(tmp_path, _WOOCOMMERCE, ImportOptions(preset="woocommerce", timezone="UTC")))
    assert woo[0]["event_time"] == "2026-09-06T06:29:00Z"
    assert woo[0]["user_match"]["client_ip"] == "93.184.216.34"

    hubspot = _events(_dry(tmp_path, _HUBSPOT, ImportOptions(preset="hubspot", timezone="UTC")))
    assert hubspot[0]["event_type"] == "close_convert_lead"
    assert hubspot[0]["custom_data"] == {"value": 4800, "currency": "EUR"}

    force = _events(
        _dry(tmp_path, _SALESFORCE, ImportOptions(preset="salesforce", timezone="Europe/Berlin"))
    )
    assert force[0]["custom_data"]["value"] == 1200
    assert force[0]["event_time"] == "2026-11-26T23:00:00Z"


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    st.timedeltas(timedelta(0)).map(str),
)


@given(
    st.dictionaries(st.sampled_from(FIELDS), _values),
    st.sampled_from(["purchase", "refund", "lead", "custom"]),
)
def test_no_values_make_an_import_fail(row: dict[str, object], event_type: str) -> None:
    """A row becomes an event, or is rejected, skipped or dropped; never more than one of them."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "rows.ndjson")
        path.write_text(json.dumps(row))
        columns = {name: name for name in FIELDS}
        options = ImportOptions(columns=columns, event_type=event_type, timezone="UTC")

        report = Import.open(path, options).dry_run()

        outcomes = report.events + report.rejected + sum(report.skipped.values())
        assert outcomes + sum(report.dropped.values()) == report.rows == 1
