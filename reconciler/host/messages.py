"""Sends messages through apprise. Runs in a process of its own: `reconcile notify`."""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any

from reconciler.host.secrets import HIDDEN

MOST_AT_ONCE = 8
KINDS = {"failed": "FAILURE", "rolled_back": "WARNING", "recovered": "SUCCESS", "held": "INFO"}
LONGEST_REASON = 500
_SHORTEST_PART = 4

Message = Mapping[str, Any]
"""`{seq, url, event, title, body}`."""
Answer = dict[str, Any]
"""`{seq, status: sent | failed | dropped, reason}`; the reason shows nothing of any URL."""


def send_messages(messages: Iterable[Message]) -> list[Answer]:
    """Send all; different services side by side, what goes to the same one in order."""
    by_url: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        by_url[message["url"]].append(message)
    with ThreadPoolExecutor(min(MOST_AT_ONCE, len(by_url) or 1)) as pool:
        answers = list(chain.from_iterable(pool.map(_send_to_one, by_url.items())))
    return [{**one, "reason": hide_urls(by_url, one["reason"])} for one in answers]


def _send_to_one(batch: tuple[str, list[Message]]) -> list[Answer]:
    import apprise

    url, messages = batch
    asset = apprise.AppriseAsset(app_id="reconciler", app_desc="reconciler", app_url="")
    service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        reason = f"apprise can't use this {url.partition(':')[0]} URL"
        return [{"seq": one["seq"], "status": "dropped", "reason": reason} for one in messages]
    answers: list[Answer] = []
    for one in messages:
        if answers and answers[-1]["status"] == "failed":  # the service is away: keep the order
            answers.append({**answers[-1], "seq": one["seq"]})
            continue
        reason = _send(service, one)
        status = "failed" if reason else "sent"
        answers.append({"seq": one["seq"], "status": status, "reason": reason})
    return answers


def _send(service: Any, message: Message) -> str:
    """Why it wasn't sent; empty when it was."""
    import apprise

    kind = getattr(apprise.NotifyType, KINDS.get(message["event"], "INFO"))
    with _listening() as lines:
        try:
            if service.notify(title=message["title"], body=message["body"], notify_type=kind):
                return ""
        except Exception as error:  # one of apprise's hundred services
            return f"{type(error).__name__}: {error}"
    return " ".join(lines) or f"{service.service_name} didn't take it"


@contextmanager
def _listening() -> Iterator[list[str]]:
    """The warnings that apprise logs on this thread."""
    lines: list[str] = []
    mine = threading.get_ident()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == mine:
                lines.append(" ".join(record.getMessage().split()))

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def hide_urls(urls: Collection[str], reason: str) -> str:
    """`reason` without any part of the URLs but their schemes. Hosts as well: of many services
    the place of the host is that of a token."""
    rest = " ".join(url.partition("://")[2] for url in urls)
    parts = {part for part in re.split(r"[^\w.~%-]+", rest) if len(part) >= _SHORTEST_PART}
    for part in sorted(parts, key=len, reverse=True):
        reason = reason.replace(part, HIDDEN)
    return reason[:LONGEST_REASON]
