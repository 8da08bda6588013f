"""The protocol without a driver, for what drivers hide."""

from __future__ import annotations

import gzip
import json
import uuid

import requests


class Admin:
    """The listener for tests."""

    def __init__(self, base: str):
        self.base = base

    def get(self, path: str, /, **query) -> list[dict]:
        answer = requests.get(self.base + path, params=query, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body=None) -> requests.Response:
        return requests.post(self.base + path, json=body, timeout=30)

    def fault(self, **order) -> None:
        self.post("/fault", order).raise_for_status()

    def executed(self, sql: str) -> list[dict]:
        """The history entries of exactly this text."""
        return [e for e in self.get("/history") if e["sql_text"] == sql]


class Client:
    def __init__(self, base: str, verify=True):
        self.base, self.http = base, requests.Session()
        self.http.verify = verify
        self.token = self.master = None

    def login(self, query: str = "databaseName=DEMO&schemaName=PUBLIC&warehouse=COMPUTE_WH", **data) -> "Client":
        answer = self.try_login(query, **data)
        assert answer["success"], answer
        self.token, self.master = answer["data"]["token"], answer["data"]["masterToken"]
        self.opened = answer["data"]
        return self

    def try_login(self, query: str = "", **data) -> dict:
        body = {"data": {"ACCOUNT_NAME": "demo", "CLIENT_APP_ID": "PythonConnector"} | data}
        return self.post(f"/session/v1/login-request?{query}", body, None)

    def post(self, path: str, body: dict, token: str | None = "own", zipped: bool = False) -> dict:
        return self._answer("POST", path, token, json.dumps(body).encode(), zipped)

    def get(self, path: str) -> dict:
        return self._answer("GET", path, "own", None, False)

    def _answer(self, method: str, path: str, token: str | None, body: bytes | None, zipped: bool) -> dict:
        headers = {"Content-Type": "application/json", "Accept": "application/snowflake"}
        token = self.token if token == "own" else token
        if token:
            headers["Authorization"] = f'Snowflake Token="{token}"'
        if zipped:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body)
        answer = self.http.request(method, self.base + path, data=body, headers=headers, timeout=30)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.json()

    def query(self, sql: str, request_id: str | None = None, **more) -> dict:
        request_id = request_id or str(uuid.uuid4())
        zipped = more.pop("zipped", False)
        return self.post(f"/queries/v1/query-request?requestId={request_id}", {"sqlText": sql} | more, zipped=zipped)

    def run(self, sql: str, **more) -> dict:
        """A statement's last answer, however long it took."""
        return self.finish(self.query(sql, **more))

    def rows(self, sql: str, **more) -> list[list]:
        answer = self.run(sql, parameters={"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "JSON"}, **more)
        assert answer["success"], answer
        return answer["data"]["rowset"]

    def finish(self, answer: dict) -> dict:
        """Polls as drivers do until the statement is over."""
        while answer["code"] in ("333333", "333334"):
            answer = self.get(answer["data"]["getResultUrl"])
        return answer
