//! The operator, taken away for a while.

use std::time::Duration;

use crate::eventually;
use crate::kubectl::{Answer, kubectl};

const NAMESPACE: &str = "frostgate-system";
const DEPLOYMENT: &str = "deployment/frostgate-operator";

/// The operator is away as long as this is held: a test that fails leaves it running for the next.
#[derive(Debug)]
pub struct Away(());

impl Away {
    /// Stops it, and returns when it has gone.
    ///
    /// # Panics
    /// When it does not go.
    #[must_use]
    pub fn take() -> Self {
        let away = Self(());
        assert!(scale("--replicas=0").ok);
        eventually("the operator's end", Duration::from_secs(60), || {
            let label = "app.kubernetes.io/name=frostgate-operator";
            let pods = kubectl(&["get", "pods", "-n", NAMESPACE, "-l", label, "-o", "name"]).out;
            if pods.trim().is_empty() { Ok(()) } else { Err(pods) }
        });
        away
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        scale("--replicas=1");
        rolled_out();
    }
}

/// Gives the operator another environment while it is held.
#[derive(Debug)]
pub struct Setting {
    name: &'static str,
    before: String,
}

impl Setting {
    /// Sets a variable, and returns when the operator runs with it.
    ///
    /// # Panics
    /// When the Deployment cannot be changed.
    #[must_use]
    pub fn new(name: &'static str, value: &str) -> Self {
        let path = format!(
            "jsonpath={{.spec.template.spec.containers[0].env[?(@.name==\"{name}\")].value}}"
        );
        let before = kubectl(&["get", "-n", NAMESPACE, DEPLOYMENT, "-o", &path]).out;
        let setting = Self { name, before };
        setting.set(value);
        setting
    }

    fn set(&self, value: &str) {
        let variable = format!("{}={value}", self.name);
        kubectl(&["set", "env", "-n", NAMESPACE, DEPLOYMENT, &variable]);
        rolled_out();
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.set(&self.before);
    }
}

fn scale(to: &str) -> Answer {
    kubectl(&["scale", "-n", NAMESPACE, DEPLOYMENT, to])
}

fn rolled_out() {
    kubectl(&["rollout", "status", "-n", NAMESPACE, DEPLOYMENT, "--timeout=120s"]);
}
