"""The line of inferences: who may join, whose turn it is, and who has gone away."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException, Request

from slmsam2.server.running.runs import Run, mine

HEAD_START = (
    30.0  # seconds: what a volume lets a single slice, and a client's second request others, go ahead
)
LOOK_EVERY = 0.5  # seconds between two looks whether somebody still waits


class Turns:
    """One inference at a time on a device, in an order that is fair.

    First come, first served, but single slices go before volumes that came up to 30 seconds earlier, and a client's
    further requests stand 30 seconds behind each of its own that wait. Nobody waits for ever: time counts for all.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._numbers = clock, itertools.count()
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[float, str | None]] = {}  # number -> when it counts as come, client
        self._busy = False

    @contextmanager
    def take(self, run: Run, client: str | None, *, short: bool) -> Iterator[None]:
        """Wait for a turn, and have it while the context is open.

        Args:
            run: given up as soon as it is cancelled.
            client: whose request it is; None: unknown, each counts as a client of its own.
            short: it is about a single slice.

        Raises:
            RunCancelledError: it was cancelled while it waited.
            TimeUpError: it waited for longer than it may take.
        """
        self._wait(run, client, short)
        run.has_its_turn()
        try:
            yield
        finally:
            self._free()

    @contextmanager
    def take_idle(self) -> Iterator[None]:
        """Wait until nobody wants the device, and have it while the context is open: for what can wait."""
        with self._changed:
            while self._busy or self._waiting:
                self._changed.wait()
            self._busy = True
        try:
            yield
        finally:
            self._free()

    def _free(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _wait(self, run: Run, client: str | None, short: bool) -> None:
        with self._changed:
            own = sum(client is not None and other == client for _, other in self._waiting.values())
            number = next(self._numbers)
            self._waiting[number] = (self._clock() + HEAD_START * (own + (not short)), client)
            try:
                while before := self._before(number):
                    run.before = before
                    self._changed.wait(min(LOOK_EVERY, max(0.0, run.seconds_left())))
                    run.check()
                self._busy = True
            finally:
                del self._waiting[number]
                self._changed.notify_all()

    def _before(self, number: int) -> int:
        """How many are before it, the one under way included; 0: it is its turn."""
        own = self._waiting[number][0], number
        return self._busy + sum((moment, other) < own for other, (moment, _) in self._waiting.items())


class Line:
    """How many inferences are asked for, and a bound on them.

    Attributes:
        most: that may wait; further ones are refused.
        most_seconds: that each may take, waiting included.
        inside: waiting or under way.
    """

    def __init__(self, most: int = 24) -> None:
        self.most, self.inside = most, 0
        self.most_seconds = math.inf
        self._seconds = 5.0  # what one takes, a running mean
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the line, while the context is open.

        Raises:
            HTTPException: 429, too many wait; its Retry-After says when to ask again (seconds).
        """
        with self._lock:
            if self.inside > self.most:
                raise self._full()
            self.inside += 1
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1

    def took(self, seconds: float) -> None:
        """Note how long an inference took, without its waiting."""
        with self._lock:
            self._seconds += 0.2 * (seconds - self._seconds)

    def _full(self) -> HTTPException:
        wait = max(1, math.ceil(self._seconds * self.inside / 2))
        return HTTPException(
            429,
            f"{self.inside} inferences are asked for already, more than this server takes. Ask again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )


line = Line()


def in_line(endpoint: Callable[..., Any], done: Callable[[str, int], None]) -> Callable[..., Any]:
    """An endpoint with a place in the line; when its client goes away its run is cancelled.

    Args:
        endpoint: with the argument ``model``.
        done: is told the model and the status of each answer.
    """

    async def queued(slmsam2_request: Request, **arguments: Any) -> Any:
        status = 200
        try:
            with line.place():
                run = Run(most_seconds=line.most_seconds)
                mine.set(run)
                watch = asyncio.create_task(_cancel_when_gone(slmsam2_request, run))
                try:
                    return await endpoint(**arguments)
                finally:
                    watch.cancel()
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            done(arguments["model"], status)

    signature = inspect.signature(endpoint)
    request = inspect.Parameter("slmsam2_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    parameters = [*signature.parameters.values(), request]
    queued.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return queued


async def _cancel_when_gone(request: Request, run: Run) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(LOOK_EVERY)
    run.cancelled = True
