//! A namespace of a test's own.

use serde_json::{Value, json};

use crate::agent::{Agent, Driver, image};
use crate::kubectl::{Answer, apply, kubectl};

/// A namespace with the demonstration's policy; it goes with the test.
#[derive(Debug)]
pub struct World {
    /// Its name.
    pub namespace: String,
    /// An identifier that no earlier run has used, for statements that are looked for afterwards.
    pub marker: String,
}

impl World {
    /// Makes it, with the policy of the demonstration.
    ///
    /// # Panics
    /// When the cluster refuses.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let world = Self::bare(name);
        let policy = include_str!("../demo/policy.yaml")
            .replace("namespace: agents", &format!("namespace: {}", world.namespace))
            .replace(
                "connectionRef: {name: demo}",
                "connectionRef: {name: demo, namespace: agents}",
            );
        let answer = apply(&policy);
        assert!(answer.ok, "{}", answer.err);
        world
    }

    /// Makes it without a policy.
    ///
    /// # Panics
    /// When the cluster refuses.
    #[must_use]
    pub fn bare(name: &str) -> Self {
        let namespace = format!("e2e-{name}");
        kubectl(&[
            "delete",
            "namespace",
            &namespace,
            "--ignore-not-found",
            "--wait=true",
            "--timeout=120s",
        ]);
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted", "frostgate.dev/enrolled": "true"});
        let answer = apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}).to_string(),
        );
        assert!(answer.ok, "{}", answer.err);
        let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let marker = format!("{}_{:x}", namespace.replace('-', "_"), run.as_secs());
        Self { namespace, marker }
    }

    /// A pod template as any team writes it: restricted, and one annotation.
    #[must_use]
    pub fn template(&self, driver: Driver, connection: Option<&str>) -> Value {
        let mut template = json!({
            "metadata": {"labels": {"app": "agent"}},
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "agent",
                    "image": image(driver.image()),
                    "command": ["sleep", "infinity"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        });
        if let Some(connection) = connection {
            template["metadata"]["annotations"] = json!({"frostgate.dev/connection": connection});
        }
        template
    }

    /// Applies a Deployment of the template under the template's `app` label.
    #[must_use]
    pub fn apply_deployment(&self, template: &Value) -> Answer {
        let name = template["metadata"]["labels"]["app"].clone();
        apply(
            &json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": name}},
                    "template": template,
                },
            })
            .to_string(),
        )
    }

    /// An annotated agent, ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn agent(&self, driver: Driver) -> Agent {
        let answer = self.apply_deployment(&self.template(driver, Some("agents/demo")));
        assert!(answer.ok, "{}", answer.err);
        Agent::of_deployment(&self.namespace, "agent")
    }

    /// Runs kubectl in this namespace as the administrator.
    #[must_use]
    pub fn kubectl(&self, words: &[&str]) -> Answer {
        kubectl(&[&["-n", &self.namespace], words].concat())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        }
    }
}
