//! Checks where a job writes, before it begins: an output is never an input.

use std::path::{Path, PathBuf};

use lslm_corpus::Corpus;
use lslm_runtime::partition::Partition;
use lslm_runtime::{Error, Result};

/// Partitions that a job may have: as many as the six digits in the names of its files can number.
const MAX_PARTITIONS: u64 = 1_000_000;

/// Returns an [`Error::Invalid`] if `output` is standard output, belongs to an argument of the
/// corpus, so that the next job would read what this one writes, or holds an input, which this job
/// could overwrite. `files` are files that the job writes, one of each folder. Links are followed.
pub(crate) fn check_output(corpus: &Corpus, output: &Path, files: &[PathBuf]) -> Result<()> {
    if output.as_os_str() == "-" {
        return Err(Error::invalid(
            "the output -: several files are written, which standard output cannot hold; name a \
             folder (./- for one of this name)",
        ));
    }
    if output.is_file() {
        return Ok(()); // locking it fails, with the reason
    }
    let mut written = files.iter().map(PathBuf::as_path).chain([output]);
    if let Some((path, argument)) = written.find_map(|path| Some((path, corpus.argument_of(path)?)))
    {
        let folder = if path.starts_with(output) { Some(output) } else { path.parent() };
        return Err(Error::invalid(format!(
            "the output {} is part of the input {argument}: the next job would read it as \
             documents; choose a folder outside",
            folder.unwrap_or(path).display()
        )));
    }
    let canonical = |path: &Path| path.canonicalize().ok();
    let folders: Vec<_> = files.iter().filter_map(|file| canonical(file.parent()?)).collect();
    for input in corpus.inputs() {
        let found = canonical(input.path());
        if found.is_some_and(|path| folders.iter().any(|folder| path.parent() == Some(folder))) {
            return Err(Error::invalid(format!(
                "the output {} holds the input {}: choose another folder",
                output.display(),
                input.path().display()
            )));
        }
    }
    Ok(())
}

/// Returns the partitions of `target` bytes of a job. More than [`MAX_PARTITIONS`] are an error.
pub(crate) fn partitions(corpus: &Corpus, target: u64) -> Result<Vec<Partition>> {
    let refuse = |n_partitions: u64| {
        Err(Error::invalid(format!(
            "partition_bytes = {target} makes {n_partitions} or more files, at most \
             {MAX_PARTITIONS} are possible: choose at least {}",
            corpus.total_bytes() / MAX_PARTITIONS + 1
        )))
    };
    if target > 0 && corpus.min_partitions(target) > MAX_PARTITIONS {
        return refuse(corpus.min_partitions(target));
    }
    let partitions = corpus.partitions(target)?;
    match partitions.len() as u64 {
        n_partitions if n_partitions > MAX_PARTITIONS => refuse(n_partitions),
        _ => Ok(partitions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use lslm_corpus::ReadOptions;

    /// Returns the error of a job on `arguments` below `folder` that writes to `output` below it.
    fn check(folder: &Path, arguments: &[&str], output: &str) -> Result<(), String> {
        let named: Vec<String> =
            arguments.iter().map(|name| folder.join(name).display().to_string()).collect();
        let corpus = Corpus::open(&named, ReadOptions::default()).unwrap();
        let output = folder.join(output);
        let files = [output.join("part-000000.jsonl")];
        check_output(&corpus, &output, &files).map_err(|error| error.to_string())
    }

    #[test]
    fn an_output_that_an_input_would_include_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("raw/deep")).unwrap();
        fs::write(folder.join("raw/a.jsonl"), "{\"text\":\"a\"}\n").unwrap();
        fs::write(folder.join("raw/deep/b.jsonl"), "{\"text\":\"b\"}\n").unwrap();
        for (argument, output) in [
            ("raw", "raw"),
            ("raw", "raw/clean"),
            ("raw", "raw/new/clean"),
            ("raw/../raw", "raw/clean"),
            ("raw/*", "raw/clean"),
            ("r*", "raw/clean"),
            ("raw/**/*.jsonl", "raw/clean"),
        ] {
            let error = check(folder, &[argument], output).unwrap_err();
            assert!(error.contains("part of the input"), "{argument} {output}: {error}");
        }
        for output in ["raw", "./raw/"] {
            let error = check(folder, &["raw/a.jsonl"], output).unwrap_err();
            assert!(error.contains("holds the input"), "{error}");
        }
        for (argument, output) in [
            ("raw", "clean"),
            ("raw", "raw-clean"),
            ("raw", "raw/../clean"),
            ("raw/a.jsonl", "raw/clean"),
            ("raw/*.jsonl", "raw/clean"),
        ] {
            check(folder, &[argument], output).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_to_an_input_are_followed() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("raw")).unwrap();
        fs::write(folder.join("raw/a.jsonl"), "{\"text\":\"a\"}\n").unwrap();
        symlink(folder.join("raw"), folder.join("linked")).unwrap();
        symlink(folder.join("raw/a.jsonl"), folder.join("b.jsonl")).unwrap();
        for (argument, output) in
            [("raw", "linked/clean"), ("linked", "raw/clean"), ("linked/*", "raw/clean")]
        {
            let error = check(folder, &[argument], output).unwrap_err();
            assert!(error.contains("part of the input"), "{argument} {output}: {error}");
        }
        let error = check(folder, &["b.jsonl"], "raw").unwrap_err();
        assert!(error.contains("holds the input"), "{error}");
    }

    #[test]
    fn partitions_beyond_the_names_of_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "{\"text\":\"a\"}\n".repeat(100_000)).unwrap();
        let named = [path.display().to_string()];
        let corpus = Corpus::open(&named, ReadOptions::default()).unwrap();
        let error = partitions(&corpus, 1).unwrap_err().to_string();
        assert!(error.contains("partition_bytes = 1 makes 1300000 or more"), "{error}");
        assert!(error.contains("choose at least 2"), "{error}");
        assert_eq!(partitions(&corpus, 2).unwrap().len(), 650_000);
    }
}
