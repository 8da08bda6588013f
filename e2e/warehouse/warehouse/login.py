"""Logging in: passwords, key-pair tokens, and what a new session starts with."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.serialization import load_der_public_key

from . import functions, settings
from .errors import Refused, SqlError
from .sessions import DEFAULTS, Session
from .users import User, fingerprint

if TYPE_CHECKING:
    from .account import Account

_LONGEST = 3600  # seconds that a key-pair token may live


def login(account: Account, data: dict, wishes: dict, client: str | None) -> dict:
    """Opens a session and gives the login answer's `data`; every attempt goes on record."""
    entry = {"user": data.get("LOGIN_NAME"), "account": data.get("ACCOUNT_NAME"),
             "authenticator": (data.get("AUTHENTICATOR") or "SNOWFLAKE").upper(),
             "application": data.get("CLIENT_APP_ID"), "version": data.get("CLIENT_APP_VERSION"), "client": client,
             "success": False, "code": None, "message": None, "session_id": None, "role": None, "claims": None}
    try:
        user = _authenticated(account, data, entry)
        session = _session(account, user, data, wishes)
    except Refused as refusal:
        entry.update(code=refusal.code, message=refusal.message)
        raise
    finally:
        account.history.login(entry)
    entry.update(success=True, user=user.name, session_id=session.id, role=session.role)
    first, user.last_login = user.last_login is None, datetime.now(UTC)
    return _answer(account, session, first)


def _authenticated(account: Account, data: dict, entry: dict) -> User:
    asked = str(data.get("ACCOUNT_NAME") or "").upper().split(".")[0].replace("_", "-")
    if asked != account.name.replace("_", "-"):
        raise Refused("390201", f"The requested account '{data.get('ACCOUNT_NAME')}' does not exist here.")
    match entry["authenticator"]:
        case "SNOWFLAKE":
            return _by_password(account, data)
        case "SNOWFLAKE_JWT":
            return _by_key(account, data, entry)
    raise Refused("390190", f"Authenticator {entry['authenticator']} is not enabled for this account.")


def _named(account: Account, name: str | None) -> User | None:
    wanted = (name or "").upper()
    return next((u for u in list(account.users.values()) if u.login_name == wanted), None)


def _usable(user: User) -> bool:
    return not user.disabled and (user.expires is None or user.expires > datetime.now(UTC))


def _by_password(account: Account, data: dict) -> User:
    user = _named(account, data.get("LOGIN_NAME"))
    wanted = str(user.properties.get("PASSWORD") or "") if user else ""
    right = secrets.compare_digest(wanted.encode(), str(data.get("PASSWORD") or "").encode())
    if not user or not wanted or not right or not _usable(user):
        raise Refused("390100", "Incorrect username or password was specified.")
    return user


def _by_key(account: Account, data: dict, entry: dict) -> User:
    def refuse(why: str) -> Refused:
        entry["reason"] = why  # for the record here; clients learn only that the token is invalid
        return Refused("390144", f"JWT token is invalid. [{secrets.token_hex(16)}]")

    token = str(data.get("TOKEN") or "")
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise refuse(f"not a token: {error}")
    entry["claims"] = {k: claims.get(k) for k in ("iss", "sub", "iat", "exp")}
    issuer, subject = str(claims.get("iss", "")), str(claims.get("sub", ""))
    place, _, name = subject.partition(".")
    user = _named(account, name)
    entry["user"] = entry["user"] or name
    if user is None:
        raise refuse("unknown user")
    if place != account.name:
        raise refuse("the subject names another account")
    if data.get("LOGIN_NAME") and str(data["LOGIN_NAME"]).upper() != user.login_name:
        raise refuse("LOGIN_NAME is not the token's subject")
    if not _usable(user):
        raise refuse("the user is disabled or expired")
    key = next((k for k in user.keys() if issuer == f"{subject}.{fingerprint(k)}"), None)
    if key is None:
        raise refuse("the issuer is not <account>.<user>.<fingerprint of a registered key>")
    try:
        jwt.decode(token, load_der_public_key(key), ["RS256", "ES256", "ES384", "ES512"], leeway=account.clock_skew,
                   options={"require": ["exp", "iat"], "verify_aud": False})
    except jwt.PyJWTError as error:
        raise refuse(str(error))
    if claims["exp"] - claims["iat"] > _LONGEST or claims["exp"] > time.time() + _LONGEST + account.clock_skew:
        raise refuse("the token lives longer than an hour")
    return user


def _session(account: Account, user: User, data: dict, wishes: dict) -> Session:
    default = user.properties.get("DEFAULT_ROLE")
    role = _folded(wishes.get("roleName")) or (default if default in user.roles else "PUBLIC")
    session = account.session(user, data.get("CLIENT_APP_ID") or "", "PUBLIC", {})
    try:
        settings.role(session, role)
    except SqlError:
        raise Refused("390189", f"Role '{role}' specified in the connect string is not granted to this user. Contact "
                      "your local system administrator, or attempt to login with another role, e.g. PUBLIC.")
    if secondary := (data.get("SECONDARY_ROLES") or "").upper():
        session.secondary = [] if secondary == "NONE" else [secondary]
    for name, content in (data.get("SESSION_PARAMETERS") or {}).items():
        if name.upper() in DEFAULTS:
            session.parameters[name.upper()] = content
    namespace = (user.properties.get("DEFAULT_NAMESPACE") or "").split(".") + [""]
    _try(settings.warehouse, session, _folded(wishes.get("warehouse")) or user.properties.get("DEFAULT_WAREHOUSE"))
    _try(settings.database, session, _folded(wishes.get("databaseName")) or namespace[0])
    schema = _folded(wishes.get("schemaName")) or namespace[1]
    if schema and session.database:
        _try(settings.schema, session, (session.database, schema))
    account.sessions.open(session)
    return session


def _try(use, session: Session, wish) -> None:
    """What a login wishes for and may not have is left unset; the login succeeds."""
    if wish:
        try:
            use(session, wish)
        except SqlError:
            pass


def _folded(name: str | None) -> str | None:
    if not name:
        return None
    return name[1:-1] if name.startswith('"') and name.endswith('"') and len(name) > 1 else name.upper()


def _answer(account: Account, session: Session, first: bool) -> dict:
    return {
        "token": session.token, "masterToken": session.master,
        "validityInSeconds": int(account.sessions.validity),
        "masterValidityInSeconds": int(account.sessions.master_validity),
        "displayUserName": session.user.name, "serverVersion": functions.VERSION, "firstLogin": first,
        "remMeToken": None, "remMeValidityInSeconds": 0, "healthCheckInterval": 45, "newClientForUpgrade": None,
        "sessionId": session.id, "parameters": session.listed_parameters(),
        "sessionInfo": {"databaseName": session.database, "schemaName": session.schema,
                        "warehouseName": session.warehouse, "roleName": session.role},
        "idToken": None, "idTokenValidityInSeconds": 0, "responseData": None, "mfaToken": None,
        "mfaTokenValidityInSeconds": 0,
    }
