//! Keys and tokens by the shape that their makers gave them.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// One alternative per maker; each begins with a literal, which is what is searched for first.
const SHAPES: &[&str] = &[
    // AWS: key ids.
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
    // GitHub and GitLab.
    r"gh[pousr]_[A-Za-z0-9]{36}",
    r"github_pat_[A-Za-z0-9_]{22}",
    r"glpat-[A-Za-z0-9_-]{20}",
    // Slack: tokens and webhooks.
    r"xox[abeoprs]-[A-Za-z0-9-]{10}",
    r"xapp-[0-9]-[A-Za-z0-9-]{10}",
    r"hooks\.slack\.com/services/T[A-Za-z0-9]",
    // JSON web tokens, Snowflake's programmatic access tokens among them.
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.",
    // Snowflake: session and master tokens.
    r"ver:[0-9]+-hint:[0-9]+-[A-Za-z0-9+/=]{16}",
    r"ETMsDgAA[A-Za-z0-9+/]{16}",
    // Private keys.
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY",
    r"PuTTY-User-Key-File-",
    r"AGE-SECRET-KEY-1[A-Z0-9]{20}",
    // Others that give their keys a name.
    r"AIza[A-Za-z0-9_-]{35}",
    r"sk_live_[A-Za-z0-9]{16}",
    r"rk_live_[A-Za-z0-9]{16}",
    r"sk-ant-[A-Za-z0-9_-]{20}",
    r"sk-proj-[A-Za-z0-9_-]{20}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{20}",
    r"dop_v1_[a-f0-9]{64}",
    r"hvs\.[A-Za-z0-9_-]{24}",
    // A password in a connection's address.
    r"://[^\s/:@]+:[^\s/@]+@",
];

static SECRETS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!("(?-u){}", SHAPES.join("|"))).ok());

/// Without its shapes it would take everything for a secret: a detector that cannot look does not say no.
pub(super) fn is_in(text: &str) -> bool {
    SECRETS.as_ref().is_none_or(|secrets| secrets.is_match(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_maker_s_shape_is_known_inside_other_text() {
        let filler = "A2b3C4d5E6f7G8h9I0j1K2l3M4n5O6p7Q8r9S0t1";
        for secret in [
            "AKIAIOSFODNN7EXAMPLE".to_owned(),
            format!("ghp_{}", &filler[..36]),
            format!("github_pat_{}", &filler[..22]),
            format!("glpat-{}", &filler[..20]),
            format!("xoxb-{}", &filler[..12]),
            "https://hooks.slack.com/services/T0000/B0000/x".to_owned(),
            format!("eyJ{0}.eyJ{0}.{0}", &filler[..12]),
            format!("ver:3-hint:92019-ETMsDgAAAZ{}", &filler[..20]),
            "-----BEGIN PRIVATE KEY-----".to_owned(),
            "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
            "-----BEGIN EC PRIVATE KEY-----".to_owned(),
            format!("AIza{}", &filler[..35]),
            format!("sk-ant-api03-{}", &filler[..20]),
            format!("npm_{}", &filler[..36]),
            "postgres://app:hunter2@db.internal:5432/x".to_owned(),
        ] {
            assert!(is_in(&format!("key={secret} end")), "{secret}");
        }
    }

    #[test]
    fn ordinary_text_is_no_secret() {
        for text in [
            "",
            "https://example.com:8080/path?x=1",
            "the eyJ prefix of tokens",
            "-----BEGIN CERTIFICATE-----",
            "AKIA is a prefix",
            "ghp_short",
            "01b3c4d5-0001-2345-0000-000123456789",
        ] {
            assert!(!is_in(text), "{text}");
        }
    }
}
