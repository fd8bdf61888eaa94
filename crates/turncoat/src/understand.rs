//! What the configuration says of understanding: the rules for techniques that an operator added.

use std::path::Path;

use turncoat_intel::Rules;
use turncoat_intel::networks::Networks;

use crate::config::Settings;

/// Tries everything of the configuration that is more than a value: rules, ignore rules, ways of alerts, rules for techniques.
///
/// # Errors
/// One line for the operator.
pub fn check(settings: &Settings) -> Result<(), String> {
    crate::respond::settings::engine(settings, &[])?;
    crate::alert::ways(settings)?;
    networks(settings)?;
    rules(settings).map(drop)
}

/// The longest table of networks, in bytes.
const TABLE: u64 = 256 << 20;

/// The operator's tables of networks (`intel.networks`). Empty where none is named.
///
/// # Errors
/// One line for the operator: the file and what is wrong.
pub fn networks(settings: &Settings) -> Result<Networks, String> {
    let mut networks = Networks::default();
    for path in &settings.intel.networks {
        let tell = |e: &dyn std::fmt::Display| format!("intel.networks: {path}: {e}");
        if std::fs::metadata(path).map_err(|e| tell(&e))?.len() > TABLE {
            return Err(tell(&"larger than 256 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(|e| tell(&e))?;
        networks
            .read(path, &text)
            .map_err(|e| format!("intel.networks: {e}"))?;
    }
    Ok(networks)
}

/// The longest file of rules, in bytes.
const LONGEST: u64 = 1 << 20;

/// Rules of the operator's directory (`intel.rules`), each tried with its own examples. Empty where there is none.
///
/// # Errors
/// One line for the operator: file and rule.
pub fn rules(settings: &Settings) -> Result<Rules, String> {
    let mut rules = Rules::default();
    let dir = &settings.intel.rules;
    if dir.is_empty() {
        return Ok(rules);
    }
    let tell = |path: &Path, e: &dyn std::fmt::Display| format!("intel.rules: {}: {e}", path.display());
    let dir = Path::new(dir);
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .map_err(|e| tell(dir, &e))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    for path in files {
        let size = std::fs::metadata(&path).map_err(|e| tell(&path, &e))?.len();
        if size > LONGEST {
            return Err(tell(&path, &"larger than 1 MiB"));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| tell(&path, &e))?;
        rules
            .read(&path.display().to_string(), &text)
            .map_err(|e| format!("intel.rules: {e}"))?;
    }
    Ok(rules)
}
