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

#[test]
fn kubectl_reads_every_word_as_a_word() {
    let (_, text) = crds::yaml().unwrap().remove(0);
    let capture = text.split_once("capture:").unwrap().1;
    assert!(capture.contains("default: 'Off'") && capture.contains("- 'Off'"), "{capture}");
    let truth = |line: &&str| {
        let word = line.rsplit([' ', ':']).next().unwrap_or_default().to_ascii_lowercase();
        ["on", "off", "yes", "no", "y", "n"].contains(&word.as_str())
            && (line.contains(": ") || line.trim_start().starts_with("- "))
            && !line.contains("description:")
    };
    for (name, text) in crds::yaml().unwrap() {
        assert_eq!(text.lines().find(truth), None, "{name}");
    }
}
