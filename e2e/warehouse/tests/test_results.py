"""Rows: the same in JSON and Arrow, inline and chunked."""

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
import requests

SAME = [
    "select * from events order by id",
    "select * from customers order by id",
    "select * from orders order by id limit 450",
    "select * from customers where 1 = 0",
    "select 127, 128, -129, 40000, 3000000000, 0.0000001::number(38,10), null, null::number, 1e-7::float, true",
    "select '1969-12-31 23:59:58.5'::timestamp_ntz, '0001-01-01'::date, '9999-12-31'::date, '23:59:59.999999'::time",
    "select parse_json('[1, {\"a\": null}]'), object_construct('k', 1), to_binary('00FF', 'HEX'), '', 'é\"''\\\\'",
    "select 123456789012345678901234567890.12345678::number(38,8) x union all select 0.00000001",
]


@pytest.mark.parametrize("sql", SAME)
def test_json_and_arrow_read_the_same(warehouse, sql):
    with warehouse.connect() as connection:
        cursor, read = connection.cursor(), []
        for form in ("JSON", "ARROW"):
            cursor.execute(f"alter session set python_connector_query_result_format = '{form}'")
            read.append(cursor.execute(sql).fetchall())
            assert cursor._query_result_format == form.lower()
        assert read[0] == read[1]


def test_a_hundred_thousand_rows_arrive_whole_and_soon(warehouse):
    with warehouse.connect() as connection:
        started = time.time()
        rows = connection.cursor().execute("select id, amount from orders order by id").fetchall()
        spent = time.time() - started
    assert [r[0] for r in rows] == list(range(1, 100_001)) and sum(r[1] for r in rows) == 499_920_500
    assert spent < 10, f"{spent} s"  # far below a second when the machine has nothing else to do
    fetched = warehouse.admin.get("/chunk-fetches")
    assert len(fetched) == 5 and not any(f["authorization"] for f in fetched)


def test_drivers_that_know_no_arrow_get_json(warehouse):
    for application, form in (("JavaScript", "json"), ("PythonConnector", "arrow"), ("JDBC", "arrow"), ("Go", "arrow"),
                              ("unknown", "json")):
        client = warehouse.client(CLIENT_APP_ID=application)
        assert client.run("select id from customers")["data"]["queryResultFormat"] == form
        assert client.run("show parameters")["data"]["queryResultFormat"] == "json"


def chunked(warehouse, **more):
    return warehouse.client(**more).run("select id, name from orders o join customers c using (id) "
                                          "union all select id, product from orders order by 1")["data"]


def test_json_chunks_are_rows_without_brackets(warehouse):
    data = chunked(warehouse, CLIENT_APP_ID="JavaScript")
    assert len(data["rowset"]) == 100 and data["total"] == 100_008
    assert data["total"] == 100 + sum(c["rowCount"] for c in data["chunks"])
    chunk = data["chunks"][0]
    body = requests.get(chunk["url"], headers=data["chunkHeaders"], timeout=10).text
    rows = json.loads(f"[{body}]")
    assert len(rows) == chunk["rowCount"] and len(body.encode()) == chunk["uncompressedSize"]
    assert int(rows[0][0]) >= int(data["rowset"][-1][0])


def test_arrow_chunks_are_streams_of_the_inline_schema(warehouse):
    data = warehouse.client().run("select * from orders order by id")["data"]
    import base64
    inline = pa.ipc.open_stream(base64.b64decode(data["rowsetBase64"])).read_all()
    chunks = [pa.ipc.open_stream(requests.get(c["url"], headers=data["chunkHeaders"], timeout=10).content).read_all()
              for c in data["chunks"]]
    assert all(c.schema.equals(inline.schema, check_metadata=True) for c in chunks)
    field = inline.schema.field("AMOUNT")
    assert field.type == pa.int32()
    assert field.metadata[b"logicalType"] == b"FIXED" and field.metadata[b"scale"] == b"2"
    assert inline.schema.field("ORDERED_AT").type == pa.struct([("epoch", pa.int64()), ("fraction", pa.int32())])


def test_a_chunk_needs_its_url_its_headers_and_its_host(warehouse):
    data = chunked(warehouse)
    url, headers = data["chunks"][0]["url"], data["chunkHeaders"]
    assert url.startswith(warehouse.chunks) and url.startswith("http://localhost")
    wrong = {k: "x" for k in headers}
    assert requests.get(url, headers=headers, timeout=5).status_code == 200
    assert requests.get(url, timeout=5).status_code == 403
    assert requests.get(url, headers=wrong, timeout=5).status_code == 403
    assert requests.get(url.split("?")[0], headers=headers, timeout=5).status_code == 403
    assert requests.get(url.replace("data_0_0_0", "data_0_0_1"), headers=headers, timeout=5).status_code == 403
    assert requests.get(url.replace("localhost", "127.0.0.1"), headers=headers, timeout=5).status_code == 404
    assert requests.post(f"{warehouse.chunks}/session/v1/login-request", json={}, timeout=5).status_code == 404


def test_expired_chunk_urls_are_refused_and_fresh_ones_can_be_had(warehouse):
    client = warehouse.client()
    data = client.run("select * from orders")["data"]
    warehouse.admin.fault(kind="expire-chunks")
    assert "expired" in requests.get(data["chunks"][0]["url"], headers=data["chunkHeaders"], timeout=5).text
    fresh = client.get(f"/queries/{data['queryId']}/result")["data"]
    assert fresh["chunks"][0]["url"] != data["chunks"][0]["url"]
    assert requests.get(fresh["chunks"][0]["url"], headers=fresh["chunkHeaders"], timeout=5).status_code == 200


def test_chunk_bytes_are_gzip(warehouse):
    data = chunked(warehouse)
    answer = requests.get(data["chunks"][0]["url"], headers=data["chunkHeaders"], timeout=5, stream=True)
    assert answer.headers["content-encoding"] == "gzip"
    raw = answer.raw.read(decode_content=False)
    assert len(raw) == data["chunks"][0]["compressedSize"] and gzip.decompress(raw)


def test_large_cells_are_chunked_by_their_bytes(warehouse):
    data = warehouse.client().run("select id, repeat('x', 100000) body from customers")["data"]
    assert 0 < len(data["chunks"]) and data["total"] == 8


def test_sessions_do_not_disturb_each_other(warehouse):
    def work(i: int) -> list:
        client = warehouse.client()
        assert client.run(f"create or replace temporary table own_{i} as select {i} id")["success"]
        for sql in (f"create or replace user PASSING_{i} type=service", f"grant role ANALYST to user PASSING_{i}",
                    f"drop user PASSING_{i}"):
            assert client.query(sql)["success"]
        read = [client.rows(f"select id from own_{i}")[0][0] for _ in range(5)]
        assert client.post("/session?delete=true", {})["success"]
        return read

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[str(i)] * 5 for i in range(8)]
