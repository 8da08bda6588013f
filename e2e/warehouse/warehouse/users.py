"""Users and the statements about them: CREATE, ALTER, DROP, DESCRIBE and SHOW USERS."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from . import answers
from .answers import Answer, of_rows, status
from .columns import Column, text
from .errors import SqlError, exists, insufficient, missing, syntax
from .lexer import Reader

if TYPE_CHECKING:
    from .sessions import Session

_SERVICE_FORBIDS = {"PASSWORD", "FIRST_NAME", "MIDDLE_NAME", "LAST_NAME", "MUST_CHANGE_PASSWORD",
                    "MINS_TO_BYPASS_MFA", "DISABLE_MFA"}
_FLAGS = {"DISABLED", "MUST_CHANGE_PASSWORD", "DISABLE_MFA"}


@dataclass
class User:
    name: str
    owner: str | None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    properties: dict = field(default_factory=dict)
    roles: set[str] = field(default_factory=set)
    last_login: datetime | None = None

    @property
    def login_name(self) -> str:
        return str(self.properties.get("LOGIN_NAME") or self.name).upper()

    @property
    def disabled(self) -> bool:
        return bool(self.properties.get("DISABLED", False))

    @property
    def is_service(self) -> bool:
        return self.properties.get("TYPE") in ("SERVICE", "LEGACY_SERVICE")

    @property
    def expires(self) -> datetime | None:
        days = self.properties.get("DAYS_TO_EXPIRY")
        return self.properties["EXPIRY_SET"] + timedelta(days=float(days)) if days else None

    @property
    def secondary_roles(self) -> list[str]:
        """What a session of this user activates besides its role: nothing or ALL."""
        return self.properties.get("DEFAULT_SECONDARY_ROLES", ["ALL"])

    def keys(self) -> list[bytes]:
        """The registered public keys, DER."""
        return [base64.b64decode(self.properties[p]) for p in ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2")
                if self.properties.get(p)]


def fingerprint(der: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def public_key(given: str) -> str:
    """The base64 body of a public key, from a body or a PEM text."""
    body = "".join(line for line in given.split() if line and "-----" not in line)
    body = re.sub(r"-----.*?-----", "", "".join(given.splitlines())) if "-----" in given else body
    try:
        key = load_der_public_key(base64.b64decode("".join(body.split()), validate=True))
    except Exception:
        raise SqlError("390170", "42601", "New public key rejected by current policy. Reason: 'Invalid public key'")
    if getattr(key, "key_size", 2048) < 2048 and key.__class__.__name__.startswith("RSA"):
        raise SqlError("390170", "42601", "New public key rejected by current policy. Reason: 'Key size too small'")
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _properties(reader: Reader) -> dict:
    found = {}
    while not reader.done:
        reader.accept(",")
        key = reader.identifier()
        if not reader.accept("="):
            raise reader.unexpected()
        found[key] = _checked(key, _value(reader))
    if found.get("TYPE") == "SERVICE" and (wrong := _SERVICE_FORBIDS & found.keys()):
        raise SqlError("001420", "22023", "SQL compilation error:\nCannot set "
                       f"{', '.join(sorted(wrong))} on users with TYPE=SERVICE.")
    if found.get("DAYS_TO_EXPIRY"):
        found["EXPIRY_SET"] = datetime.now(UTC)
    return found


def _value(reader: Reader):
    if reader.accept("("):
        items, depth = [], 1
        while True:
            token = reader.take()
            if token.kind == "punct" and token.text == "(":
                depth += 1
            if token.kind == "punct" and token.text == ")":
                depth -= 1
                if not depth:
                    return items
            if token.kind != "punct":
                items.append(token.text)
    token = reader.take()
    content = token.text if token.kind in ("string", "quoted", "number") else token.text.upper()
    while reader.accept("."):  # DEFAULT_NAMESPACE = DB.SCHEMA
        content += "." + reader.identifier()
    return content


def _checked(key: str, content):
    if key in _FLAGS:
        if str(content).upper() not in ("TRUE", "FALSE"):
            raise syntax(f"invalid value '{content}' for property '{key}'")
        return str(content).upper() == "TRUE"
    if key in ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2"):
        return public_key(content) if content else None
    if key == "DAYS_TO_EXPIRY":
        try:
            if int(content) < 1:
                raise ValueError
        except ValueError:
            raise syntax(f"invalid value [{content}] for parameter 'DAYS_TO_EXPIRY'")
        return int(content)
    if key in ("DEFAULT_ROLE", "DEFAULT_WAREHOUSE", "DEFAULT_NAMESPACE", "LOGIN_NAME", "TYPE"):
        return str(content).upper()
    if key == "DEFAULT_SECONDARY_ROLES":
        roles = [str(r).upper() for r in content] if isinstance(content, list) else [str(content).upper()]
        if roles not in ([], ["ALL"]):
            raise syntax(f"invalid value {roles} for property 'DEFAULT_SECONDARY_ROLES'")
        return roles
    return content


def _owned(session: Session, name: str) -> User:
    user = session.account.users.get(name)
    if user is None:
        raise missing("User", name)
    if not session.holds(user.owner) and not session.may("MANAGE USERS"):
        raise insufficient("user", name)
    return user


def create(session: Session, reader: Reader, replace: bool) -> Answer:
    unless = reader.accept("IF", "NOT", "EXISTS")
    name = reader.identifier()
    properties = _properties(reader)
    if not session.may("CREATE USER"):
        raise insufficient("account", session.account.name)
    users = session.account.users
    if name in users and unless:
        return status(f"{name} already exists, statement succeeded.")
    if name in users and not replace:
        raise exists(name)
    login = str(properties.get("LOGIN_NAME") or name).upper()
    if any(u.login_name == login and u.name != name for u in list(users.values())):
        raise exists(login)
    users[name] = User(name, session.role, properties=properties)
    return status(f"User {name} successfully created.")


def alter(session: Session, reader: Reader) -> Answer:
    unless = reader.accept("IF", "EXISTS")
    name = reader.identifier()
    if unless and name not in session.account.users:
        return status("Statement executed successfully.")
    user = _owned(session, name)
    if reader.accept("ABORT", "ALL", "QUERIES"):
        reader.end()
        session.account.abort_queries(lambda s: s.user is user)
        return status(f"All queries of user {name} aborted.")
    if reader.accept("RENAME", "TO"):
        new = reader.identifier()
        reader.end()
        if new in session.account.users:
            raise exists(new)
        session.account.users[new] = session.account.users.pop(name)
        user.name = new
        return status()
    if reader.accept("UNSET"):
        while not reader.done:
            user.properties.pop(reader.identifier(), None)
            reader.accept(",")
        return status()
    reader.expect("SET")
    properties = _properties(reader)
    if user.is_service and (wrong := _SERVICE_FORBIDS & properties.keys()):
        raise syntax(f"Cannot set {', '.join(sorted(wrong))} on users with TYPE=SERVICE.")
    user.properties.update(properties)
    if properties.get("DISABLED"):
        session.account.end_sessions(user, f"user {name} was disabled")
    return status()


def drop(session: Session, reader: Reader) -> Answer:
    unless = reader.accept("IF", "EXISTS")
    name = reader.identifier()
    reader.end()
    if unless and name not in session.account.users:
        return status("Drop statement executed successfully "
                      f"({name} already dropped).")
    user = _owned(session, name)
    del session.account.users[name]
    session.account.end_sessions(user, f"user {name} was dropped")
    return status(f"{name} successfully dropped.")


def like(pattern: str | None):
    """A case-insensitive LIKE; no pattern matches everything."""
    if pattern is None:
        return lambda _: True
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    expression = "".join(".*" if p == "%" else "." if p == "_" else re.escape(p[-1]) for p in parts)
    compiled = re.compile(expression, re.IGNORECASE | re.DOTALL)
    return lambda name: bool(compiled.fullmatch(name))


_SHOWN = ["name", "created_on", "login_name", "display_name", "first_name", "last_name", "email", "mins_to_unlock",
          "days_to_expiry", "comment", "disabled", "must_change_password", "snowflake_lock", "default_warehouse",
          "default_namespace", "default_role", "default_secondary_roles", "ext_authn_duo", "ext_authn_uid",
          "mins_to_bypass_mfa", "owner", "last_success_login", "expires_at_time", "locked_until_time", "has_password",
          "has_rsa_public_key", "type", "has_mfa", "has_pat", "has_workload_identity"]
_TIMES = {"created_on", "last_success_login", "expires_at_time", "locked_until_time"}


def show(session: Session, reader: Reader) -> Answer:
    reader.accept("TERSE")
    pattern = reader.take().text if reader.accept("LIKE") else None
    prefix = reader.take().text if reader.accept("STARTS", "WITH") else ""
    limit = int(reader.take().text) if reader.accept("LIMIT") else 10_000
    after = reader.take().text if reader.accept("FROM") else ""
    reader.end()
    matches = like(pattern)
    columns = [Column(n, "timestamp_ltz", 0, 3) if n in _TIMES else text(n) for n in _SHOWN]
    shown = [u for n, u in sorted(session.account.users.items())
             if matches(n) and n.startswith(prefix) and (not after or n > after)]
    return of_rows(columns, [_shown(session, u) for u in shown[:limit]], answers.SHOW)


def _shown(session: Session, user: User) -> list:
    known = session.holds(user.owner) or session.may("MANAGE USERS")
    if not known:  # other roles learn the name alone
        return [user.name] + [None] * (len(_SHOWN) - 1)
    p = user.properties
    secondary = "[]" if not user.secondary_roles else '["ALL"]'
    left = None if not user.expires else str((user.expires - datetime.now(UTC)).total_seconds() / 86400)
    return [user.name, user.created, user.login_name, p.get("DISPLAY_NAME", user.name), p.get("FIRST_NAME"),
            p.get("LAST_NAME"), p.get("EMAIL"), None, left, p.get("COMMENT", ""), _word(user.disabled),
            _word(p.get("MUST_CHANGE_PASSWORD")), "false", p.get("DEFAULT_WAREHOUSE"), p.get("DEFAULT_NAMESPACE"),
            p.get("DEFAULT_ROLE"), secondary, "false", None, None, user.owner, user.last_login, user.expires, None,
            _word(p.get("PASSWORD")), _word(user.keys()), p.get("TYPE"), "false", "false",
            _word(p.get("WORKLOAD_IDENTITY"))]


def _word(content) -> str:
    return "true" if content else "false"


def describe(session: Session, reader: Reader) -> Answer:
    user = _owned(session, reader.identifier())
    reader.end()
    shown = {"NAME": user.name, "LOGIN_NAME": user.login_name, "DISABLED": _word(user.disabled)}
    hidden = {"PASSWORD", "EXPIRY_SET", "RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2"}
    shown |= {k: str(v) for k, v in user.properties.items() if k not in hidden and k not in shown}
    for key in ("RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2"):
        if body := user.properties.get(key):
            shown |= {key: body, f"{key}_FP": fingerprint(base64.b64decode(body))}
    rows = [[k, v, "null", ""] for k, v in shown.items()]
    return of_rows([text(n) for n in ("property", "value", "default", "description")], rows, answers.DESCRIBE)
