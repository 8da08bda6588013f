//! The picture of the crates in `ARCHITECTURE.md` and the dependencies in the manifests are one.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata};

/// Who depends on whom, by folder names: `proxy -> policy`.
type Arrow = (String, String);

pub(super) fn complaints(map: &str, metadata: &Metadata) -> Vec<String> {
    compare(&drawn(map), &built(metadata))
}

fn compare(drawn: &BTreeSet<Arrow>, built: &BTreeSet<Arrow>) -> Vec<String> {
    let extra = built.difference(drawn).map(|(from, to)| {
        format!("ARCHITECTURE.md: {from} depends on {to}, which the picture does not show")
    });
    let missing = drawn.difference(built).map(|(from, to)| {
        format!("ARCHITECTURE.md: the picture shows {from} --> {to}, which no manifest has")
    });
    extra.chain(missing).collect()
}

/// The lines `a --> b & c` of the mermaid picture.
fn drawn(map: &str) -> BTreeSet<Arrow> {
    map.lines()
        .skip_while(|line| line.trim() != "```mermaid")
        .skip(1)
        .take_while(|line| line.trim() != "```")
        .filter_map(|line| line.split_once("-->"))
        .flat_map(|(from, to)| {
            let from = from.trim().to_owned();
            to.split('&').map(move |to| (from.clone(), to.trim().to_owned()))
        })
        .collect()
}

/// The dependencies between our own packages; what only tests need is not a part of the house.
fn built(metadata: &Metadata) -> BTreeSet<Arrow> {
    let packages = metadata.workspace_packages();
    let mut arrows = BTreeSet::new();
    for package in &packages {
        for dependency in &package.dependencies {
            let ours = packages.iter().any(|other| *other.name == dependency.name);
            if ours && dependency.kind != DependencyKind::Development {
                arrows.insert((short(&package.name), short(&dependency.name)));
            }
        }
    }
    arrows
}

fn short(package: &str) -> String {
    package.strip_prefix("frostgate-").unwrap_or(package).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str) -> Arrow {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn a_line_of_the_picture_names_one_source_and_many_targets() {
        let map = "a --> z\n```mermaid\ngraph TD\n  a --> b & c\n  b --> c\n```\nx --> y";
        let expected = BTreeSet::from([arrow("a", "b"), arrow("a", "c"), arrow("b", "c")]);
        assert_eq!(drawn(map), expected);
    }

    #[test]
    fn an_arrow_missing_on_either_side_is_named() {
        let drawn = BTreeSet::from([arrow("a", "b")]);
        let built = BTreeSet::from([arrow("a", "c")]);
        insta::assert_snapshot!(compare(&drawn, &built).join("\n"), @r"
        ARCHITECTURE.md: a depends on c, which the picture does not show
        ARCHITECTURE.md: the picture shows a --> b, which no manifest has
        ");
    }
}
