//! Writes the three definitions into the folder given.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("give the folder to write into")?;
    for (name, text) in crds::yaml()? {
        std::fs::write(std::path::Path::new(&folder).join(name), text)?;
    }
    Ok(())
}
