//! Carries what happens to the streams of the pod it concerns.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use control::Update;
use tokio::sync::broadcast;

/// A pod that is so far behind is told to connect anew, and then gets everything again.
const BACKLOG: usize = 256;

/// One channel per pod that listens.
#[derive(Default)]
pub struct Hub {
    pods: Mutex<HashMap<String, broadcast::Sender<Update>>>,
}

impl Hub {
    /// Listens to what concerns the pod from now on.
    pub fn subscribe(&self, pod_uid: &str) -> broadcast::Receiver<Update> {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.retain(|_, sender| sender.receiver_count() > 0);
        pods.entry(pod_uid.to_owned()).or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe()
    }

    /// Tells the pod's streams. Nobody listening is no error: a stream begins with all there is to know.
    pub fn tell(&self, pod_uid: &str, update: Update) {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = pods.get(pod_uid) {
            // An error says only that the last listener left meanwhile.
            let _ = sender.send(update);
        }
    }

    /// Tells every stream there is.
    pub fn tell_all(&self, update: &Update) {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in pods.values() {
            let _ = sender.send(update.clone());
        }
    }
}
