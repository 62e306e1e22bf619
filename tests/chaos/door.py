"""The door to the sandbox: bytes go through it, until SIGUSR1 shuts it and SIGUSR2 opens it again.
While it is shut, connections are refused, as by a HighLevel whose servers are gone; nothing else is its affair."""

import argparse
import asyncio
import signal
from contextlib import suppress

CHUNK = 64 * 1024


class Door:
    def __init__(self, port: int, behind: int) -> None:
        self._port, self._behind = port, behind
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._let_in, "127.0.0.1", self._port, backlog=512)

    def shut(self) -> None:
        """Refuse whoever comes, and cut off whoever is inside."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._passing:
            writer.transport.abort()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        both = {writer, inner_writer}
        self._passing |= both
        try:
            # When either end closes, both do: an answer cut short must stay short.
            ways = [
                asyncio.ensure_future(_carry(reader, inner_writer)),
                asyncio.ensure_future(_carry(inner_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            self._passing -= both
            for each in both:
                each.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()


async def serve(port: int, behind: int) -> None:
    door, loop = Door(port, behind), asyncio.get_running_loop()
    opening: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGUSR1, door.shut)
    loop.add_signal_handler(signal.SIGUSR2, lambda: opening.add(loop.create_task(door.open())))
    await door.open()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--behind", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.behind))


if __name__ == "__main__":
    main()
