//! The door for model traffic: it passes on unchanged, and the tool calls in it are remembered for the statements that
//! come of them.
//!
//! ```text
//! agent's client -> passage (request) -> gateway -> the Messages API
//!       ^             | copy                          |
//!       |             v                               |
//!       +---------- hearing (answer) <----------------+
//!                     |
//!                     +-> Memory -> statement::origin
//! ```
//!
//! It is evidence, not enforcement: whatever cannot be read passes all the same. What fails is said in the form of the
//! Messages API, so that clients show it as they show its own errors. Keys and texts are never logged.

mod copy;
mod gateway;
mod hearing;
pub(crate) mod masking;
pub(crate) mod passage;
mod refusal;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::update::{PromptCapture, Prompts as Settings};
use prompt::{Hints, Link, Memory, Statement};

use crate::Parts;
use crate::upstream::transport::SetUpError;
use gateway::Gateway;

/// What is known of the pod's conversations with models.
#[derive(Default)]
pub(crate) struct Prompts {
    memory: Mutex<Memory>,
    gateway: Mutex<Option<(control::Connection, Arc<Gateway>)>>,
    /// Bytes of requests that are copied now.
    copied: Arc<AtomicUsize>,
}

impl Prompts {
    /// The call that a statement comes from, under what the connection wants of prompts.
    pub(crate) fn link(
        &self,
        sql: &str,
        hints: &Hints,
        session: &str,
        session_since_ms: i64,
    ) -> Link {
        let statement = Statement { sql, hints, session, session_since_ms };
        self.memory().link(&statement, crate::now_ms())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the model's provider; made anew when the connection changes.
    fn gateway(
        &self,
        settings: &Settings,
        connection: &control::Connection,
        parts: &Parts,
    ) -> Result<Arc<Gateway>, SetUpError> {
        let mut made = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, gateway)) = &*made
            && known == connection
        {
            return Ok(Arc::clone(gateway));
        }
        let (given, aliases) = (parts.resolve.clone(), connection.host_aliases.clone());
        let gateway = Arc::new(Gateway::new(settings, given, aliases, parts.timings.upstream)?);
        *made = Some((connection.clone(), Arc::clone(&gateway)));
        Ok(gateway)
    }
}

/// What is kept of prompts now.
pub(crate) fn capture(parts: &Parts) -> PromptCapture {
    let ruling = parts.ruling();
    let settings = ruling.as_ref().and_then(|ruling| ruling.connection.prompts.as_ref());
    settings.map_or(PromptCapture::Off, |settings| settings.capture)
}
