//! Who asks, and which Snowflake role that gives them.

use crate::document::Subject;

/// The authenticated asker of a session. The workload was matched before its documents were sent; what is left is
/// the human or service that it acts for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The human or service behind the pod; absent when its driver brought no identity.
    pub human: Option<Human>,
}

/// A human or service identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Human {
    /// Who vouched for it.
    pub issuer: String,
    /// `sub` of its token.
    pub subject: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// The user name the API server would give it.
    pub username: Option<String>,
    /// False where the identity was only claimed: then no condition on a human matches.
    pub verified: bool,
}

/// The Snowflake role and warehouse of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleGrant {
    /// The role.
    pub role: String,
    /// The warehouse, where the mapping or the connection names one.
    pub warehouse: Option<String>,
    /// The policy whose mapping gave the role; absent where it is the connection's default.
    pub policy: Option<String>,
}

impl Principal {
    /// Whether any of the alternatives selects this principal; none at all selects everyone.
    pub(crate) fn is_among(&self, subjects: &[Subject]) -> bool {
        subjects.is_empty() || subjects.iter().any(|subject| self.is(subject))
    }

    /// Whether every condition of the subject holds. A subject without conditions is everyone, with or without a human.
    pub(crate) fn is(&self, subject: &Subject) -> bool {
        let Subject { groups, users, issuer } = subject;
        if groups.is_empty() && users.is_empty() && issuer.is_none() {
            return true;
        }
        let Some(human) = self.human.as_ref().filter(|human| human.verified) else {
            return false;
        };
        (groups.is_empty() || groups.iter().any(|group| human.groups.contains(group)))
            && (users.is_empty()
                || users
                    .iter()
                    .any(|user| *user == human.subject || human.username.as_deref() == Some(user)))
            && issuer.as_ref().is_none_or(|issuer| *issuer == human.issuer)
    }
}
