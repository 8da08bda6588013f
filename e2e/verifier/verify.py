#!/usr/bin/env python3
"""Verifies a recording, written from the format's page alone (core/recording/src/lib.rs).

    verify.py KEY RECORDING...      a recording is a folder <session>/ of <number>.fgseg files

It shares no code with the product: what both say of a recording is true by two readings of one page. Prints one line
per recording: session, verdict, intact entries, sealed entries, first break (segment, entry, byte). Exits 1 if one is
broken. Needs `cryptography` and `zstandard`.
"""

import base64
import hashlib
import json
import pathlib
import struct
import sys

import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAGIC = b"FGSEG\x00\x01\n"
HEAD = struct.Struct(">cBxxII32s")
BODY_MAX = 16 << 20


class Break(Exception):
    """The first byte that is not believed."""


def opened(signed, context, key):
    """The signed bytes as JSON, if the signature is by the key over exactly them."""
    payload = base64.b64decode(signed["payload"], validate=True)
    key.verify(base64.b64decode(signed["signature"], validate=True), context + payload)
    return json.loads(payload)


def frames(data):
    """Every frame whose link fits: where it starts, kind, link before it, body."""
    if not data.startswith(MAGIC):
        raise Break(0)
    at, link = len(MAGIC), bytes(32)
    while at < len(data):
        head = data[at : at + HEAD.size]
        if len(head) < HEAD.size or head[2:4] != b"\0\0":
            raise Break(at)
        kind, flags, raw, stored, expected = HEAD.unpack(head)
        body = data[at + HEAD.size : at + HEAD.size + stored]
        before, link = link, hashlib.sha256(link + head[:12] + body).digest()
        if len(body) < stored or link != expected or flags > 1 or raw > BODY_MAX:
            raise Break(at)
        if flags:
            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=raw)
        if len(body) != raw:
            raise Break(at)
        yield at, kind, before, body
        at += HEAD.size + stored


def verify(folder, key):
    session, entries, sealed, previous = folder.name, 0, 0, None
    files = {int(path.stem): path.read_bytes() for path in folder.glob("*.fgseg")}
    count = max(files, default=-1) + 1
    for number in range(count):
        at, first, is_sealed, rows, closed = 0, entries, False, None, False
        try:
            if number not in files:
                raise Break(0)
            for at, kind, before, body in frames(files[number]):
                content = body if kind == b"P" else json.loads(body)
                # A header comes first and only first, nothing follows a seal, a payload follows its entry.
                if (at == len(MAGIC)) != (kind == b"H") or is_sealed or (rows is not None) != (kind == b"P"):
                    raise Break(at)
                if kind == b"H":
                    place = (session, number, entries, previous)
                    if (content["session"], content["segment"], content["firstEntry"], content.get("previous")) != place:
                        raise Break(at)
                    certificate = opened(content["certificate"], b"frostgate certificate v1\n", key)
                    if certificate["session"] != session:
                        raise Break(at)
                    signer = Ed25519PublicKey.from_public_bytes(base64.b64decode(certificate["key"]))
                elif kind == b"E":
                    if content["number"] != entries or (entries == 0) != (content["entry"] == "SessionOpened"):
                        raise Break(at)
                    closed = content["entry"] == "SessionClosed"
                    rows = content["payload"] if content["entry"] == "Rows" else None
                    entries += rows is None
                elif kind == b"P":
                    if (len(body), hashlib.sha256(body).hexdigest()) != (rows["length"], rows["sha256"]):
                        raise Break(at)
                    rows, entries = None, entries + 1
                elif kind == b"S":
                    seal = opened(content, b"frostgate seal v1\n", signer)
                    said = [seal[name] for name in ("session", "segment", "firstEntry", "nextEntry", "head", "final")]
                    if said != [session, number, first, entries, before.hex(), closed] or seal.get("previous") != previous:
                        raise Break(at)
                    if not certificate["issuedAtMs"] <= seal["sealedAtMs"] <= certificate["notAfterMs"]:
                        raise Break(at)
                    is_sealed, sealed = True, entries
                else:
                    raise Break(at)
            if rows is not None or (not is_sealed and number + 1 < count):
                raise Break(len(files[number]))
        except Break as broken:
            return entries, sealed, f"{number} {entries} {broken.args[0]}"
        except (InvalidSignature, ValueError, KeyError, zstandard.ZstdError):
            return entries, sealed, f"{number} {entries} {at}"
        previous = hashlib.sha256(files[number]).hexdigest()
    return entries, sealed, "-"


def main():
    text = pathlib.Path(sys.argv[1]).read_text().strip()
    key = base64.b64decode(text.split("+", 2)[2])[1:] if text.count("+") >= 2 and len(text) != 44 else base64.b64decode(text)
    key, broken = Ed25519PublicKey.from_public_bytes(key), False
    for name in sys.argv[2:]:
        entries, sealed, found = verify(pathlib.Path(name), key)
        verdict = "intact" if found == "-" else "broken"
        broken |= found != "-"
        print(pathlib.Path(name).name, verdict, entries, sealed, found, sep="\t")
    return broken


if __name__ == "__main__":
    sys.exit(main())
