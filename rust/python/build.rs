//! Extracts the docstrings of `python/lslm/_lslm.pyi`, one file each, for `stub!` in `src/lib.rs`.
//!
//! The stub is the one place where the compiled part is documented. `Tokenizer.encode` in it
//! becomes the file `Tokenizer.encode` in `OUT_DIR`; the module's own docstring is `__doc__`.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let stub = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../python/lslm/_lslm.pyi");
    let out = env::var("OUT_DIR")?;
    println!("cargo:rerun-if-changed={}", stub.display());
    for (name, docstring) in docstrings(&fs::read_to_string(&stub)?) {
        fs::write(Path::new(&out).join(name), docstring)?;
    }
    Ok(())
}

/// Returns each documented item of a stub that ruff has formatted: its dotted name and docstring.
fn docstrings(stub: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut class = None;
    let mut item = "__doc__".to_owned();
    let mut lines = stub.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if let Some(name) = code.strip_prefix("class ") {
            item = identifier(name);
            class = Some(item.clone());
        } else if let Some(name) = code.strip_prefix("def ") {
            let name = identifier(name);
            item = match &class {
                Some(class) if indent > 0 => format!("{class}.{name}"),
                _ => name,
            };
        } else if let Some(text) = code.strip_prefix("\"\"\"") {
            let mut docstring = text.to_owned();
            while !docstring.ends_with("\"\"\"") {
                let Some(line) = lines.next() else { break };
                docstring.push('\n');
                docstring.push_str(line.get(indent..).unwrap_or_default());
            }
            let docstring = docstring.trim_end_matches("\"\"\"").trim_end();
            found.push((item.clone(), docstring.to_owned()));
        }
    }
    found
}

/// Returns the identifier that `text` begins with.
fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
