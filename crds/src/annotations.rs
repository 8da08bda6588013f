//! Every annotation and label, documented at its constant.

/// On a pod template: `name` or `namespace/name` of a SnowflakeConnection. Its presence is the opt-in: the pod gets
/// the sidecar or is refused.
pub const CONNECTION: &str = "frostgate.dev/connection";

/// On a pod template: how the traffic is captured; `Hosts` (the default) is the one way there is.
pub const CAPTURE: &str = "frostgate.dev/capture";

/// On a pod template: `override` lets the injector replace a trust variable that the pod sets itself.
pub const ENV_CONFLICT: &str = "frostgate.dev/env-conflict";

/// Set by the injector: the version that injected the pod.
pub const INJECTED: &str = "frostgate.dev/injected";

/// Label set by the injector, because annotations cannot be selected: `true` on every injected pod.
pub const PROXIED: &str = "frostgate.dev/proxied";

/// Label of a namespace whose pods may only be port-forwarded to with verb `debug` on `accesspolicies`.
pub const ENROLLED: &str = "frostgate.dev/enrolled";

/// On a SnowflakeConnection: `true` lets the object go although Snowflake could not be cleaned; the orphans are
/// logged.
pub const ORPHAN: &str = "frostgate.dev/orphan";

/// Label of an ApprovalRequest: the connection's name.
pub const REQUEST_CONNECTION: &str = "frostgate.dev/connection";
