"""The account over TLS, its chunks on a second name."""

import datetime
import ipaddress
import subprocess
import sys

import pytest
from conftest import PASSWORD
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SCRIPT = """
import snowflake.connector, sys
connection = snowflake.connector.connect(account="demo", host="localhost", port=int(sys.argv[1]), user="ADMIN",
    password=sys.argv[2], database="DEMO", schema="PUBLIC", disable_ocsp_checks=True, login_timeout=10)
print(len(connection.cursor().execute("select * from orders").fetchall()))
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("ip6-localhost"), x509.IPAddress(
        ipaddress.ip_address("127.0.0.2"))])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(names, False).add_extension(x509.BasicConstraints(True, None), True)
            .sign(key, hashes.SHA256()))
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return folder


def test_the_driver_reads_chunks_over_tls_from_a_second_name_and_port(start, certificate):
    secure = start("--tls-cert", str(certificate / "cert.pem"), "--tls-key", str(certificate / "key.pem"),
                   "--chunk-host", "127.0.0.2", "--listen", "0.0.0.0", "--chunk-port", "0")
    assert secure.chunks.startswith("https://127.0.0.2:") and not secure.chunks.endswith(f":{secure.port}")
    run = subprocess.run([sys.executable, "-c", SCRIPT, str(secure.port), PASSWORD], capture_output=True, text=True,
                         timeout=60, env={"REQUESTS_CA_BUNDLE": str(certificate / "cert.pem"), "PATH": "/usr/bin",
                                          "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true", "HOME": str(certificate)})
    assert run.stdout.strip() == "100000", run.stderr[-2000:]
    hosts = {r["host"] for r in secure.admin.get("/requests")}
    assert hosts == {"account", "chunks"}
