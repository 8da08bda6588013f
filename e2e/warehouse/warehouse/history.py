"""What happened: logins, statements, chunk fetches and requests, for whoever checks on it from outside."""

from __future__ import annotations

import itertools
import time
from collections import deque

_KEPT = 50_000


class History:
    def __init__(self) -> None:
        self._count = itertools.count(1)
        self.statements: deque[dict] = deque(maxlen=_KEPT)
        self.logins: deque[dict] = deque(maxlen=_KEPT)
        self.fetches: deque[dict] = deque(maxlen=_KEPT)
        self.requests: deque[dict] = deque(maxlen=_KEPT)

    def _note(self, log: deque[dict], entry: dict) -> None:
        entry.update(index=next(self._count), at=time.time())
        log.append(entry)

    def record(self, entry: dict) -> None:
        self._note(self.statements, entry)

    def login(self, entry: dict) -> None:
        self._note(self.logins, entry)

    def fetched(self, entry: dict) -> None:
        self._note(self.fetches, entry)

    def request(self, entry: dict) -> None:
        self._note(self.requests, entry)

    def clear(self) -> None:
        for log in (self.statements, self.logins, self.fetches, self.requests):
            log.clear()
