"""What a statement or a login can fail with, in the account's own codes."""


class SqlError(Exception):
    """A statement failed; the client sees this code, SQLSTATE and message."""

    def __init__(self, code: str, sqlstate: str, message: str, kind: str = "COMPILATION"):
        super().__init__(message)
        self.code, self.sqlstate, self.message, self.kind = code, sqlstate, message, kind


class Refused(Exception):
    """The request itself was refused: no session, a bad credential, an expired token."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code, self.message = code, message


def syntax(message: str) -> SqlError:
    return SqlError("001003", "42000", f"SQL compilation error:\n{message}")


def missing(kind: str, name: str) -> SqlError:
    """An object that is not there, or that this role may not know of: the same answer."""
    sqlstate = "42S02" if kind == "Object" else "02000"
    return SqlError(
        "002003", sqlstate, f"SQL compilation error:\n{kind} '{name}' does not exist or not authorized."
    )


def exists(name: str) -> SqlError:
    return SqlError("002002", "42710", f"SQL compilation error:\nObject '{name}' already exists.")


def insufficient(kind: str, name: str) -> SqlError:
    return SqlError(
        "003001",
        "42501",
        f"SQL access control error:\nInsufficient privileges to operate on {kind} '{name}'",
    )


def unsupported(what: str) -> SqlError:
    return SqlError("000002", "0A000", f"Unsupported feature '{what}'.")


def canceled() -> SqlError:
    return SqlError("000604", "57014", "SQL execution canceled", "EXECUTION")
