"""A seller's agent on the official SDK's own server framework, as a program.

Run as ``python -m tests.conformance.sdk_seller DIRECTORY PORT [SETTINGS]``. The framework does
everything it does for real sellers: it checks each request against the protocol's schemas, in
strict mode, keeps answers for their idempotency keys and speaks MCP. This program only adds
what a test needs to see and to break:

``calls.jsonl``
    each tool call as it arrived, before the framework has seen it;
``taken.jsonl``
    each ``log_event`` that was executed, so not the replays;
``mishaps.json``
    what the next calls of ``log_event`` are to suffer, written by the test.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcp.server import (
    ADCPHandler,
    IdempotencyStore,
    MemoryBackend,
    RequestSignatureVerification,
    adcp_error,
    serve,
)
from adcp.server.auth import (
    BearerTokenAuth,
    Principal,
    auth_context_factory,
    validator_from_token_map,
)
from adcp.server.idempotency import CachedResponse
from adcp.server.responses import capabilities_response
from adcp.signing import StaticSignerKeys
from adcp.validation import ValidationHookConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    App = Callable[[Message, Receive, Callable[[Message], Awaitable[None]]], Awaitable[None]]

TOKEN = "sdk-seller-token"
STRICT = ValidationHookConfig(requests="strict", responses="strict")
MEDIA_TYPE = {"status": "completed"}
_STATUS_OF_DEATH = 86
_FAR_FUTURE = 4_000_000_000.0

keys = IdempotencyStore(MemoryBackend(), ttl_seconds=86_400)


class Ledger:
    """What came, what was taken and what is still to go wrong."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, name: str, entry: object) -> None:
        """Write one line, which outlives this process however that ends."""
        with (self._directory / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def mishap(self) -> dict[str, Any]:
        """Take the next mishap, if there is one."""
        path = self._directory / "mishaps.json"
        waiting = json.loads(path.read_text()) if path.exists() else []
        if not waiting:
            return {}
        path.write_text(json.dumps(waiting[1:]))
        mishap: dict[str, Any] = waiting[0]
        return mishap


class Seller(ADCPHandler):
    """Takes every event that the framework lets through."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.sources: dict[str, dict[str, Any]] = {}

    async def get_adcp_capabilities(self, params: Any, context: Any = None) -> Any:  # noqa: ANN401, ARG002, D102 - the framework's own shape
        return MEDIA_TYPE | capabilities_response(["media_buy"], idempotency=keys.capability())

    async def log_event(self, params: Any, context: Any = None) -> Any:  # noqa: ANN401, D102 - as above
        arguments = _plain(params)
        mishap = self.ledger.mishap()
        kind = mishap.get("kind")
        if kind == "die before":
            os._exit(_STATUS_OF_DEATH)
        if kind == "refuse":
            return adcp_error(mishap["code"], retry_after=mishap.get("retry_after"))
        if kind == "conflict":
            await _spoil(context, arguments["idempotency_key"])
        answer = await self._log(params, context)
        if kind == "die after":
            os._exit(_STATUS_OF_DEATH)
        if kind == "slow":
            await asyncio.sleep(mishap["seconds"])
        return answer

    @keys.wrap
    async def _log(self, params: Any, context: Any = None) -> Any:  # noqa: ANN401, ARG002 - as above
        arguments = _plain(params)
        ids = [event["event_id"] for event in arguments["events"]]
        self.ledger.add("taken", {"key": arguments["idempotency_key"], "ids": ids})
        return MEDIA_TYPE | {"events_received": len(ids), "events_processed": len(ids)}

    async def sync_event_sources(self, params: Any, context: Any = None) -> Any:  # noqa: ANN401, ARG002, D102 - as above
        arguments = _plain(params)
        results = []
        for item in arguments.get("event_sources") or []:
            source_id = item["event_source_id"]
            action = "updated" if source_id in self.sources else "created"
            action = "unchanged" if self.sources.get(source_id) == item else action
            self.sources[source_id] = item
            results.append(_result(item, action))
        if arguments.get("event_sources") is None:
            results = [_result(item, "unchanged") for item in self.sources.values()]
        elif arguments.get("delete_missing"):
            named = {result["event_source_id"] for result in results}
            missing = [source_id for source_id in self.sources if source_id not in named]
            results += [_result(self.sources.pop(each), "deleted") for each in missing]
        return MEDIA_TYPE | {"event_sources": results}


def _result(item: dict[str, Any], action: str) -> dict[str, Any]:
    shown = ("event_source_id", "name", "event_types", "allowed_domains")
    kept = {name: item[name] for name in shown if name in item}
    setup = {"snippet_type": "server_only", "instructions": "Send from your server."}
    return kept | {"seller_id": item["event_source_id"], "action": action, "setup": setup}


def _plain(params: Any) -> dict[str, Any]:  # noqa: ANN401 - a model or a mapping
    if isinstance(params, dict):
        return params
    plain: dict[str, Any] = params.model_dump(mode="json", exclude_none=True)
    return plain


async def _spoil(context: Any, key: str) -> None:  # noqa: ANN401 - the framework's own
    """Have the framework remember `key` for another request than the one that comes."""
    scope = keys._prepare({"idempotency_key": key}, context, "log_event")[0]  # noqa: SLF001 - no public way
    await keys.backend.put(scope, key, CachedResponse("another", {}, _FAR_FUTURE))


class Recorder:
    """Writes down each tool call before the framework sees it."""

    def __init__(self, app: App, ledger: Ledger) -> None:
        self._app = app
        self._ledger = ledger

    async def __call__(self, scope: Message, receive: Receive, send: Any) -> None:  # noqa: ANN401, D102 - ASGI's own shape
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message["type"] == "http.request" and message.get("more_body", False)
        self._note(body)
        whole = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(whole, None) or await receive()

        await self._app(scope, replay, send)

    def _note(self, body: bytes) -> None:
        params = json.loads(body).get("params") or {}
        arguments = params.get("arguments") or {}
        if "name" in params:
            events = arguments.get("events") or []
            entry = {
                "tool": params["name"],
                "key": arguments.get("idempotency_key"),
                "version": arguments.get("adcp_version"),
                "digest": hashlib.sha256(json.dumps(arguments).encode()).hexdigest(),
                "ids": [event.get("event_id") for event in events],
                "bytes": len(body),
            }
            self._ledger.add("calls", entry)


def _door(jwks: dict[str, Any] | None) -> dict[str, Any]:
    """Return whom to let in: who has the token, or who signs with a key of `jwks`."""
    if jwks is None:
        owner = Principal(caller_identity="shop", tenant_id="shop")
        validate = validator_from_token_map({TOKEN: owner})
        return {"auth": BearerTokenAuth(validate_token=validate)}
    verification = RequestSignatureVerification(
        signer_keys=StaticSignerKeys({"https://shop.example": jwks}),
        required_for=frozenset({"log_event"}),
        covers_content_digest="required",
        signing_profile_version="3.2",
    )
    return {"request_signature_verification": verification}


def main() -> None:
    """Serve until killed."""
    directory, port = Path(sys.argv[1]), int(sys.argv[2])
    settings = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    ledger = Ledger(directory)
    serve(
        Seller(ledger),
        name="sdk-seller",
        host="127.0.0.1",
        port=port,
        validation=STRICT,
        context_factory=auth_context_factory,
        asgi_middleware=[(Recorder, {"ledger": ledger})],
        **_door(settings.pop("signed_by", None)),
        **settings,
    )


if __name__ == "__main__":
    main()
