//! The committed YAML is what the types say.

use std::path::Path;

#[test]
fn the_committed_yaml_is_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for (name, text) in crds::yaml().unwrap() {
        let committed = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(committed == text, "crds/yaml/{name} is stale: run `cargo xtask generate`");
    }
}

#[test]
fn a_new_request_is_pending_before_anybody_wrote_its_status() {
    let (_, text) = crds::yaml().unwrap().remove(2);
    let definition: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let version = &definition["spec"]["versions"][0];
    let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert_eq!(status["default"]["phase"], "Pending");
    assert_eq!(version["selectableFields"][0]["jsonPath"], ".status.phase");
}
