//! The stand-in account, what lies in it, and what is logged meanwhile.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_yaml::Value;
use uuid::Uuid;

use super::account::Account;
use super::gate::Gate;
use super::table::Table;
use super::world::World;

/// Everything that a test runs in.
pub(crate) struct Scene {
    pub(crate) account: Account,
    pub(crate) log: Log,
    files: tempfile::TempDir,
}

impl Scene {
    #[allow(clippy::disallowed_methods, reason = "where Python is is the machine's own matter")]
    pub(crate) fn set() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let python = std::env::var_os("FROSTGATE_WAREHOUSE").map(PathBuf::from);
        let python = python.expect("FROSTGATE_WAREHOUSE names the Python of the stand-in account");
        let files = tempfile::tempdir().unwrap();
        let account = Account::start(&python, files.path());
        Self { account, files, log: Log::follow() }
    }

    /// Makes what a table speaks of, with the values of a world.
    pub(crate) fn lay(&self, table: &Table, world: &World) {
        self.account.seed(&table.foundations()).unwrap();
        self.account.seed(&world.script(table)).unwrap();
        for view in table.views() {
            // Some cases are about views that say what is not so; there is no such view here.
            let _ = self.account.seed(&view);
        }
    }

    /// Frostgate with the policies of a table, `edit`ed.
    pub(crate) async fn gate(&self, table: &Table, edit: impl Fn(&mut Value)) -> Gate {
        let connection = self.account.connection(&table.database, &table.schema);
        let folder = self.files.path().join(Uuid::new_v4().to_string());
        Gate::start(folder, &[&connection, &table.policies(edit)]).await
    }

    /// Who vouches for the account.
    pub(crate) fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.account.certificate.der().clone()).unwrap();
        roots
    }
}

/// Everything that our crates log in this process, down to the finest.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// There is one log in a process, whichever test begins it.
    fn follow() -> Self {
        static LOG: LazyLock<Log> = LazyLock::new(Log::begin);
        LOG.clone()
    }

    fn begin() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let ours =
            "info,local=trace,operator=trace,proxy=trace,snowflake=trace,sql=trace,policy=trace";
        tracing_subscriber::fmt().with_env_filter(ours).with_writer(move || writer.clone()).init();
        log
    }

    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
