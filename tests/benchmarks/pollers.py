"""Clients that poll the API, in a process of their own: each on a connection of its own, at a
fixed rate, as those who wait for a deployment do.

    python -m tests.benchmarks.pollers HOST:PORT CLIENTS SECONDS_BETWEEN APP…

The token comes in the first line of the input. Prints `ready` once every client has had an answer,
and measures from then on. Polls until the input ends, then prints a JSON document: requests,
errors, and times in milliseconds. A time counts from when a poll was due, so that nothing is hidden
by waiting for a late answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys


class Poller:
    """All clients, and what they measured."""

    def __init__(self, place: str, token: str, between: float, apps: list[str]) -> None:
        self.host, _, self.port = place.partition(":")
        self.token, self.between, self.apps = token, between, apps
        self.times: list[float] = []
        self.errors: list[str] = []
        self.ended = asyncio.Event()

    async def run(self, clients: int) -> None:
        await asyncio.gather(*(self._client(number) for number in range(clients)))

    async def tell_ready(self, clients: int) -> None:
        while len(self.times) < clients and not self.errors:
            await asyncio.sleep(0.05)
        self.times.clear()
        print("ready", flush=True)

    async def _client(self, number: int) -> None:
        clock = asyncio.get_running_loop().time
        app = self.apps[number % len(self.apps)]
        request = (
            f"GET /api/application.one?applicationId={app} HTTP/1.1\r\nHost: {self.host}\r\n"
            f"x-api-key: {self.token}\r\n\r\n"
        ).encode()
        try:
            reader, writer = await asyncio.open_connection(self.host, int(self.port))
            due = clock() + random.uniform(0, self.between)
            while not await self._ended_by(due):
                writer.write(request)
                await self._answer(reader)
                self.times.append(clock() - due)
                due += self.between
            writer.close()
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.errors.append(repr(error))

    async def _ended_by(self, due: float) -> bool:
        try:
            async with asyncio.timeout_at(due):
                return await self.ended.wait()
        except TimeoutError:
            return False

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        if " 200 " not in head.partition("\r\n")[0] or not body.get("applicationStatus"):
            self.errors.append(head.partition("\r\n")[0])

    def report(self) -> dict[str, object]:
        times = sorted(self.times) or [0.0]
        share = {
            f"p{part}": times[min(len(times) - 1, len(times) * part // 100)] * 1000
            for part in (50, 99)
        }
        return {
            "requests": len(self.times), "errors": self.errors, **share, "max": times[-1] * 1000,
        }  # fmt: skip


async def main(place: str, clients: int, between: float, apps: list[str]) -> None:
    token = sys.stdin.readline().strip()
    poller = Poller(place, token, between, apps)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), poller.ended.set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(poller.run(clients))
        tasks.create_task(poller.tell_ready(clients))
    print(json.dumps(poller.report()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
