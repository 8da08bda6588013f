"""Result chunks on their own host: unguessable, expiring URLs that also demand the headers sent with them."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from .history import History
from .queries import Query

_ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"
_KEY = "x-amz-server-side-encryption-customer-key"
_MD5 = "x-amz-server-side-encryption-customer-key-md5"
_KEPT = 20_000


@dataclass
class Link:
    query: Query
    index: int
    key: str
    signature: str
    expires: float


class Chunks:
    def __init__(self, base: str, lifetime: float, history: History):
        self.base, self.lifetime, self.history = base, lifetime, history
        self._links: OrderedDict[str, Link] = OrderedDict()

    def links(self, query: Query) -> dict:
        """The part of a result that leads to its chunks, with fresh URLs."""
        if not query.encoded.chunks:
            return {}
        secret = secrets.token_bytes(32)
        key = base64.b64encode(secret).decode()
        digest = base64.b64encode(hashlib.md5(secret).digest()).decode()
        folder, chunks = secrets.token_urlsafe(24), []
        for index, (body, rows, plain) in enumerate(query.encoded.chunks):
            path = f"/results/{folder}/{query.id}_{query.session.id}/main/data_0_0_{index}"
            signature = secrets.token_urlsafe(24)
            self._links[path] = Link(query, index, key, signature, time.time() + self.lifetime)
            url = f"{self.base}{path}?X-Amz-Expires={int(self.lifetime)}&X-Amz-Signature={signature}"
            chunks.append({"url": url, "rowCount": rows, "uncompressedSize": plain, "compressedSize": len(body)})
        while len(self._links) > _KEPT:
            self._links.popitem(last=False)
        headers = {_ALGORITHM: "AES256", _KEY: key, _MD5: digest}
        return {"chunks": chunks, "chunkHeaders": headers, "qrmk": key}

    def expire(self) -> None:
        for link in list(self._links.values()):
            link.expires = 0.0

    async def serve(self, request: Request) -> Response:
        link = self._links.get(request.url.path)
        refusal = self._refusal(link, request)
        self.history.fetched({
            "path": request.url.path, "status": 403 if refusal else 200, "reason": refusal,
            "query_id": link.query.id if link else None, "index": link.index if link else None,
            "session_id": link.query.session.id if link else None,
            "authorization": "authorization" in request.headers, "user_agent": request.headers.get("user-agent"),
            "client": request.client.host if request.client else None,
        })
        if refusal:
            return Response(f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code>'
                            f"<Message>{refusal}</Message></Error>", 403, media_type="application/xml")
        headers = {"Content-Encoding": "gzip"}
        body, _, _ = link.query.encoded.chunks[link.index]
        return Response(body, headers=headers, media_type="binary/octet-stream")

    def _refusal(self, link: Link | None, request: Request) -> str | None:
        if link is None or link.query.encoded is None or not secrets.compare_digest(
                link.signature, request.query_params.get("X-Amz-Signature", "")):
            return "Access Denied"
        if link.expires <= time.time():
            return "Request has expired"
        if request.headers.get(_ALGORITHM) != "AES256" or request.headers.get(_KEY) != link.key:
            return "The object was stored using a form of Server Side Encryption. The correct parameters are missing"
        return None
