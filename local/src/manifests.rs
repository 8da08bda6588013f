//! A folder of YAML, read as `kubectl apply` would read it: the three kinds, Secrets and ConfigMaps.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crds::{AccessPolicy, SnowflakeConnection, check};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::ResourceExt;
use operator::objects::{Source, SourceKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// The namespace of an object that names none, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";

/// Everything the folder says.
#[derive(Default)]
pub(crate) struct Manifests {
    pub(crate) connections: Vec<Arc<SnowflakeConnection>>,
    pub(crate) policies: Vec<AccessPolicy>,
    /// Labels, for connections that choose namespaces by them.
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    values: HashMap<Source, Zeroizing<Vec<u8>>>,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The folder or a file in it cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Somebody else may read or write secrets in it.
    #[error(
        "{path} is open to others (mode {mode:03o}): it holds private keys, so run chmod -R go= {path}"
    )]
    Open {
        /// Which one.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A document is not what it says it is.
    #[error("{path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl Manifests {
    /// Reads every `*.yaml` and `*.yml` of the folder.
    ///
    /// # Errors
    /// [`ManifestError`] names the file and what to change; all problems of one object come at once.
    pub(crate) fn read(folder: &Path) -> Result<Self, ManifestError> {
        let unreadable =
            |path: &Path, error| ManifestError::Unreadable { path: path.to_owned(), error };
        private(folder)?;
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|error| unreadable(folder, error))?;
        files.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"));
        files.sort();
        let mut manifests = Self::default();
        for path in files {
            private(&path)?;
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            for document in serde_yaml::Deserializer::from_str(&text) {
                manifests
                    .take(document)
                    .map_err(|message| ManifestError::Invalid { path: path.clone(), message })?;
            }
        }
        manifests.check().map_err(|(name, message)| ManifestError::Invalid {
            path: folder.join(name),
            message,
        })?;
        Ok(manifests)
    }

    /// A value of a Secret or ConfigMap.
    pub(crate) fn value(&self, source: &Source) -> Option<Zeroizing<Vec<u8>>> {
        self.values.get(source).cloned()
    }

    fn take(&mut self, document: serde_yaml::Deserializer<'_>) -> Result<(), String> {
        let value = serde_yaml::Value::deserialize(document).map_err(|error| error.to_string())?;
        if value.is_null() {
            return Ok(());
        }
        let kind =
            value.get("kind").and_then(serde_yaml::Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "SnowflakeConnection" => {
                let mut connection: SnowflakeConnection = object(value)?;
                home(&mut connection.metadata.namespace);
                self.connections.push(Arc::new(connection));
            }
            "AccessPolicy" => {
                let mut policy: AccessPolicy = object(value)?;
                home(&mut policy.metadata.namespace);
                policy.metadata.generation.get_or_insert(1);
                self.policies.push(policy);
            }
            "Secret" => {
                let mut secret: Secret = object(value)?;
                home(&mut secret.metadata.namespace);
                let source = source_of(SourceKind::Secret, &secret);
                let data =
                    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
                let text = secret.string_data.unwrap_or_default().into_iter();
                self.keep(&source, data.chain(text.map(|(key, value)| (key, value.into_bytes()))));
            }
            "ConfigMap" => {
                let mut map: ConfigMap = object(value)?;
                home(&mut map.metadata.namespace);
                let source = source_of(SourceKind::ConfigMap, &map);
                let data = map.data.unwrap_or_default().into_iter();
                self.keep(&source, data.map(|(key, value)| (key, value.into_bytes())));
            }
            "Namespace" => {
                let namespace: Namespace = object(value)?;
                let labels = namespace.metadata.labels.unwrap_or_default();
                self.namespaces.insert(namespace.metadata.name.unwrap_or_default(), labels);
            }
            // A folder may be shared with a cluster: what only a cluster needs is no mistake here.
            "ServiceAccount" | "Deployment" | "Role" | "RoleBinding" => {}
            other => return Err(format!("kind {other:?} is not known here")),
        }
        Ok(())
    }

    fn keep(&mut self, source: &Source, values: impl Iterator<Item = (String, Vec<u8>)>) {
        for (key, value) in values {
            self.values.insert(Source { key, ..source.clone() }, Zeroizing::new(value));
        }
    }

    /// What the API server's schema and the webhook would refuse.
    fn check(&self) -> Result<(), (String, String)> {
        for connection in &self.connections {
            let problems = check::connection(connection);
            refuse("SnowflakeConnection", connection.as_ref(), &problems)?;
        }
        for policy in &self.policies {
            let mut problems = check::policy(policy);
            if let Some(connection) = self.connection_of(policy) {
                problems.extend(check::policy_with_connection(policy, connection));
            }
            refuse("AccessPolicy", policy, &problems)?;
        }
        Ok(())
    }

    /// The connection that a policy speaks of.
    pub(crate) fn connection_of(&self, policy: &AccessPolicy) -> Option<&Arc<SnowflakeConnection>> {
        let wanted = &policy.spec.connection_ref;
        let namespace = wanted.namespace.clone().or_else(|| policy.namespace());
        self.connections.iter().find(|connection| {
            connection.name_any() == wanted.name && connection.namespace() == namespace
        })
    }
}

fn refuse(
    kind: &str,
    object: &impl ResourceExt,
    problems: &[crds::Problem],
) -> Result<(), (String, String)> {
    if problems.is_empty() {
        return Ok(());
    }
    Err((format!("{kind} {}", object.name_any()), check::listed(problems)))
}

fn object<T: DeserializeOwned>(value: serde_yaml::Value) -> Result<T, String> {
    serde_yaml::from_value(value).map_err(|error| error.to_string())
}

fn home(namespace: &mut Option<String>) {
    namespace.get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
}

fn source_of(kind: SourceKind, object: &impl ResourceExt) -> Source {
    Source {
        kind,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        key: String::new(),
    }
}

/// Refuses what others than the owner may read or write.
fn private(path: &Path) -> Result<(), ManifestError> {
    let metadata = fs::metadata(path)
        .map_err(|error| ManifestError::Unreadable { path: path.to_owned(), error })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ManifestError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}
