//! Snowflake, as the operator needs it: makes and drops the users of sessions, signs logins, reads the catalog.
//!
//! ```text
//! Broker ── account   one admin session per connection and purpose: login, statement, rows as text
//!        ── login     key-pair JWTs
//!        ── statement the SQL, every foreign text quoted
//!        ── catalog   columns and views, remembered for a while
//!        ── sweeper   users that no session accounts for
//! ```
//!
//! The broker acts; who calls it has put it on record before.

mod account;
mod catalog;
mod login;
mod statement;
pub mod sweeper;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{CatalogName, Credential, Problem};
use crds::SnowflakeConnection;
use crds::snowflake_connection::{CredentialMode, EphemeralUser, SecretKeyRef};
use jiff::Timestamp;
use kube::ResourceExt as _;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

pub use self::account::Error;
use self::account::{Account, Purpose};
use self::catalog::Memory;
pub use self::catalog::Read;
use crate::objects::{Objects, Source, SourceKind};

/// Acts at the accounts of all connections.
pub struct Broker {
    objects: Arc<dyn Objects>,
    cluster: String,
    accounts: Mutex<HashMap<(String, Purpose), Arc<Account>>>,
    memory: Mutex<HashMap<String, Arc<Memory>>>,
}

/// A user to be made for a session.
#[derive(Clone, Copy, Debug)]
pub struct Mint<'a> {
    /// The session.
    pub session: &'a str,
    /// Its name, from [`Broker::user_name`].
    pub user: &'a str,
    /// DER SubjectPublicKeyInfo, base64, from [`public_key`].
    pub public_key: &'a str,
    /// The one role.
    pub role: &'a str,
    /// The warehouse.
    pub warehouse: Option<&'a str>,
}

/// A user of ours that was found in the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundUser {
    /// Its name.
    pub name: String,
    /// The session that it says it is for.
    pub session: String,
}

impl Broker {
    /// A broker for the objects. `cluster` stands in the comment of every user it makes: another broker's users are
    /// not its own.
    pub fn new(objects: Arc<dyn Objects>, cluster: &str) -> Self {
        Self {
            objects,
            cluster: cluster.split_whitespace().collect::<Vec<_>>().join("-"),
            accounts: Mutex::default(),
            memory: Mutex::default(),
        }
    }

    /// Logs in with the connection's privileged key.
    ///
    /// # Errors
    /// Why that does not work.
    pub async fn check(&self, connection: &SnowflakeConnection) -> Result<(), Error> {
        self.account(connection, Purpose::Provision)?.login_anew(&*self.objects).await
    }

    /// A name for the user of a session: the prefix and 100 random bits, nothing of what a client said.
    ///
    /// # Errors
    /// When the connection makes no users, or the machine has no randomness.
    pub fn user_name(connection: &SnowflakeConnection) -> Result<String, Error> {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut random = [0_u8; 20];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Error::Configuration("no randomness".to_owned()))?;
        let prefix = &ephemeral(connection)?.name_prefix;
        let letters = random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
        Ok(prefix.chars().chain(letters).collect())
    }

    /// Makes the user and gives it its role. What fails half-way is dropped again.
    ///
    /// # Errors
    /// When the user does not exist afterwards, or may not: [`Error`] of the first step that failed.
    pub async fn mint(
        &self,
        connection: &SnowflakeConnection,
        mint: &Mint<'_>,
    ) -> Result<(), Error> {
        let spec = ephemeral(connection)?;
        let account = self.account(connection, Purpose::Provision)?;
        let comment = self.comment(mint.session);
        let create = statement::create(&statement::User {
            name: mint.user,
            public_key: mint.public_key,
            role: mint.role,
            warehouse: mint.warehouse,
            network_policy: spec.network_policy.as_deref(),
            comment: &comment,
        });
        // An error of the first statement does not say that the user was not made: the answer may have got lost.
        for text in [create, statement::grant(mint.user, mint.role)] {
            if let Err(error) = account.execute(&*self.objects, &text).await {
                if let Err(left) = self.retire(connection, mint.user).await {
                    tracing::warn!(user = mint.user, error = %left, "user is left for the sweeper");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Disables the user, aborts what it runs and drops it. Gone already counts as dropped.
    ///
    /// # Errors
    /// When the user may still exist: try again.
    pub async fn retire(&self, connection: &SnowflakeConnection, user: &str) -> Result<(), Error> {
        let account = self.account(connection, Purpose::Provision)?;
        let [disable, abort, drop] = statement::retire(user);
        // The drop alone decides; the two before it only make what still runs end sooner.
        for text in [disable, abort] {
            if let Err(error) = account.execute(&*self.objects, &text).await {
                tracing::debug!(user, %error, "not disabled before the drop");
            }
        }
        match account.execute(&*self.objects, &drop).await {
            Ok(_) => Ok(()),
            Err(error) if error.says_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The users in the account that this broker made.
    ///
    /// # Errors
    /// When the account does not say it.
    pub async fn users(&self, connection: &SnowflakeConnection) -> Result<Vec<FoundUser>, Error> {
        let spec = ephemeral(connection)?;
        let account = self.account(connection, Purpose::Provision)?;
        let table = account.execute(&*self.objects, &statement::list(&spec.name_prefix)).await?;
        let role = statement::stored(&spec.provisioner.role);
        Ok(table
            .named()
            .filter_map(|row| {
                let name = row.get("name").copied().unwrap_or_default();
                // Whoever made it: a role that is not the provisioner's made somebody else's user.
                let foreign = row.get("owner").is_some_and(|owner| *owner != role);
                let session = self.session_of(row.get("comment").copied().unwrap_or_default())?;
                (name.starts_with(&spec.name_prefix) && !foreign)
                    .then(|| FoundUser { name: name.to_owned(), session: session.to_owned() })
            })
            .collect())
    }

    /// A login of the connection's fixed service user.
    ///
    /// # Errors
    /// When the key cannot be read or does not sign.
    pub async fn login(&self, connection: &SnowflakeConnection) -> Result<Credential, Error> {
        let spec = connection.spec.credentials.key_pair.as_ref();
        let spec = spec.ok_or_else(|| Error::Configuration("mode KeyPair needs keyPair".into()))?;
        let source = source(connection, &spec.private_key_ref);
        let pem = self.objects.value(&source).await.map_err(|error| Error::key(&error))?;
        let key = login::Key::from_pem(&pem).map_err(|error| Error::key(&error))?;
        let jwt = key
            .sign(&connection.spec.account, &spec.user, Timestamp::now())
            .map_err(|error| Error::key(&error))?;
        Ok(Credential::KeyPair {
            user: spec.user.clone(),
            jwt: jwt.text,
            expires_at_ms: jwt.expires_at_ms,
        })
    }

    /// The objects that exist among `names`, as the catalog's role sees them.
    ///
    /// # Errors
    /// When the connection has no catalog, or the account does not answer.
    pub async fn catalog(
        &self,
        connection: &SnowflakeConnection,
        names: &[CatalogName],
        refresh: bool,
    ) -> Result<Read, Error> {
        let spec = connection.spec.catalog.as_ref().ok_or_else(|| {
            Error::Configuration(
                "the connection has no spec.catalog, so nothing is known of its objects".to_owned(),
            )
        })?;
        let account = self.account(connection, Purpose::Catalog)?;
        let memory = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.entry(full_name(connection)).or_default().clone()
        };
        memory.read(&account, &*self.objects, names, spec.refresh.into(), refresh).await
    }

    /// What the comment of a user says: whose broker, which session.
    fn comment(&self, session: &str) -> String {
        format!("frostgate {} {session}", self.cluster)
    }

    fn session_of<'a>(&self, comment: &'a str) -> Option<&'a str> {
        let session = comment.strip_prefix("frostgate ")?.strip_prefix(self.cluster.as_str())?;
        session.strip_prefix(' ').filter(|session| uuid::Uuid::try_parse(session).is_ok())
    }

    /// The admin session for the purpose; a new one where the connection changed.
    fn account(
        &self,
        connection: &SnowflakeConnection,
        purpose: Purpose,
    ) -> Result<Arc<Account>, Error> {
        let login = account::Login::of(connection, purpose)?;
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (full_name(connection), purpose);
        if let Some(account) = accounts.get(&key).filter(|account| account.login == login) {
            return Ok(account.clone());
        }
        let account = Arc::new(Account::new(login, &self.objects.names())?);
        accounts.insert(key, account.clone());
        Ok(account)
    }
}

/// How often users that no session accounts for are looked for.
#[must_use]
pub fn sweep_interval(connection: &SnowflakeConnection) -> Option<Duration> {
    let spec = connection.spec.credentials.ephemeral_user.as_ref();
    let makes_users = connection.spec.credentials.mode == CredentialMode::EphemeralUser;
    spec.filter(|_| makes_users).map(|spec| spec.sweep_interval.into())
}

/// Reads the public key that a session brings: RSA of at least 2048 bits, nothing after it.
///
/// # Errors
/// When it is anything else.
pub fn public_key(text: &str) -> Result<String, Problem> {
    let refused = || {
        Problem {
        code: "FG-6001".to_owned(),
        message: "sessionPublicKey must be an RSA key of at least 2048 bits: DER SubjectPublicKeyInfo, base64"
            .to_owned(),
        retryable: false,
    }
    };
    let der = STANDARD.decode(text).map_err(|_| refused())?;
    let (rest, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| refused())?;
    match info.parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() >= 2048 && rest.is_empty() => {
            Ok(STANDARD.encode(&der))
        }
        _ => Err(refused()),
    }
}

fn ephemeral(connection: &SnowflakeConnection) -> Result<&EphemeralUser, Error> {
    connection.spec.credentials.ephemeral_user.as_ref().ok_or_else(|| {
        Error::Configuration("mode EphemeralUser needs credentials.ephemeralUser".to_owned())
    })
}

fn source(connection: &SnowflakeConnection, reference: &SecretKeyRef) -> Source {
    Source {
        kind: SourceKind::Secret,
        namespace: connection.namespace().unwrap_or_default(),
        name: reference.name.clone(),
        key: reference.key.clone(),
    }
}

/// `namespace/name`.
#[must_use]
pub fn full_name(connection: &SnowflakeConnection) -> String {
    format!("{}/{}", connection.namespace().unwrap_or_default(), connection.name_any())
}

/// How Snowflake stores a name that people wrote.
#[must_use]
pub fn stored_name(written: &str) -> String {
    statement::stored(written)
}

#[cfg(test)]
mod tests;
