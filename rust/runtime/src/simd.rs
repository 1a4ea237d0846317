//! [`Level`]: the vector instructions of this machine, and the choice of `LSLM_SIMD`.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// Returns the name of the vector instructions in use: the value of the environment variable
/// `LSLM_SIMD`, or the best that this machine has.
///
/// [`Error::Invalid`] if `LSLM_SIMD` names none that this machine has. Without a call of this
/// function such a value is ignored, so programs that support the variable should call it first.
///
/// ```
/// let level = lslm_runtime::simd::simd_level()?;
/// assert!(["scalar", "avx2", "avx512"].contains(&level));
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
pub fn simd_level() -> Result<&'static str> {
    Level::requested().map(Level::name)
}

/// A set of vector instructions. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No vector instructions.
    Scalar,
    /// AVX2, and the bit instructions of the same processors.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with byte instructions (BW).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// Returns the level of `LSLM_SIMD` if this machine has it, else the best; the same each time.
    pub fn current() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| Self::requested().unwrap_or_else(|_| Self::best()))
    }

    /// Returns the level of `LSLM_SIMD`, the best if it is not set. An unsupported one is an error,
    /// since the variable exists to measure or test that one path.
    pub fn requested() -> Result<Self> {
        match std::env::var_os("LSLM_SIMD") {
            None => Ok(Self::best()),
            Some(name) => Self::named(&name.to_string_lossy()),
        }
    }

    /// Returns the level of this machine with the name `name`.
    fn named(name: &str) -> Result<Self> {
        let levels = Self::available();
        levels.iter().find(|level| level.name() == name).copied().ok_or_else(|| {
            let names: Vec<_> = levels.into_iter().map(Self::name).collect();
            Error::invalid(format!(
                "LSLM_SIMD={name:?}: this machine has {}; unset it to use the best of them",
                names.join(", ")
            ))
        })
    }

    fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Scalar)
    }

    /// Returns the levels that this machine has, the best last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("bmi1")
                && std::arch::is_x86_feature_detected!("bmi2")
                && std::arch::is_x86_feature_detected!("lzcnt")
                && std::arch::is_x86_feature_detected!("popcnt")
            {
                levels.push(Self::Avx2);
                if std::arch::is_x86_feature_detected!("avx512bw") {
                    levels.push(Self::Avx512);
                }
            }
        }
        levels
    }

    /// Returns the value of `LSLM_SIMD` for this level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_by_its_name_and_no_other() {
        for level in Level::available() {
            assert_eq!(Level::named(level.name()).unwrap(), level);
        }
        for unknown in ["", "AVX2", "neon", "avx2 ", "best"] {
            let message = Level::named(unknown).unwrap_err().to_string();
            assert!(message.contains(&format!("{unknown:?}")), "{message}");
            assert!(message.contains("scalar"), "{message}");
        }
    }
}
