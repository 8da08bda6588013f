//! What may not be reached from where: `core/` does no I/O, and some crates belong to one of ours.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, PackageId};

/// What reads a clock, a socket or a cluster.
const IMPURE: &[&str] = &[
    "async-std",
    "axum",
    "h2",
    "hickory-resolver",
    "hyper",
    "hyper-util",
    "kube",
    "kube-client",
    "mio",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tonic",
    "ureq",
];

/// A third-party crate that only these of ours may name.
const OWNED: &[(&str, &[&str])] = &[
    ("sqlparser", &["frostgate-sql"]),
    (
        "kube",
        &[
            "frostgate-crds",
            "frostgate-operator",
            "frostgate-local",
            "frostgate-cli",
            "frostgate-e2e",
        ],
    ),
];

pub(super) fn complaints(metadata: &Metadata) -> Vec<String> {
    let core = metadata.workspace_root.join("core");
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        if package.manifest_path.starts_with(&core) {
            let reached = reached(metadata, &package.id);
            complaints.extend(IMPURE.iter().filter_map(|name| {
                let way = reached.get(name)?;
                Some(format!("{}: core/ does no I/O, but: {way}", package.manifest_path))
            }));
        }
        for (name, owners) in OWNED {
            let names_it = package.dependencies.iter().any(|dependency| {
                dependency.name == *name && dependency.kind == DependencyKind::Normal
            });
            if names_it && !owners.contains(&package.name.as_str()) {
                let owners = owners.join(", ");
                complaints.push(format!("{}: {name} belongs to {owners}", package.manifest_path));
            }
        }
    }
    complaints
}

/// Everything that a package links, each with one way to it.
fn reached<'a>(metadata: &'a Metadata, from: &'a PackageId) -> BTreeMap<&'a str, String> {
    let Some(graph) = &metadata.resolve else { return BTreeMap::new() };
    let nodes: BTreeMap<_, _> = graph.nodes.iter().map(|node| (&node.id, node)).collect();
    let names: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let name = |id| names.get(id).copied().unwrap_or("?");

    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![(from, name(from).to_owned())];
    while let Some((id, way)) = open.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in &node.deps {
            let linked = dependency.dep_kinds.iter().any(|kind| {
                kind.kind == DependencyKind::Normal
                    // A dependency of another platform is in the graph, but not in the program.
                    && kind.target.as_ref().is_none_or(|target| {
                        let target = target.to_string();
                        !["wasm", "windows"].iter().any(|other| target.contains(other))
                    })
            });
            if linked && seen.insert(&dependency.pkg) {
                let way = format!("{way} -> {}", name(&dependency.pkg));
                found.insert(name(&dependency.pkg), way.clone());
                open.push((&dependency.pkg, way));
            }
        }
    }
    found
}
