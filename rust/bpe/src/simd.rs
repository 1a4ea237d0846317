//! Which vector instructions the machine has, and which `LSLM_SIMD` chooses.

use std::sync::OnceLock;

use lslm_runtime::{Error, Result};

/// The name of the vector instructions that the published patterns are cut with: the best of the
/// machine's, or what the environment variable `LSLM_SIMD` asks for. [`lslm_runtime::Error::Invalid`]
/// when the machine has nothing of that name; cutting then uses the best, so programs that heed the
/// variable should ask here first.
pub fn simd_level() -> Result<&'static str> {
    Level::wanted().map(Level::name)
}

/// The instructions that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// No vector instructions.
    Scalar,
    /// AVX2, and the bit instructions that came with it
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with byte instructions
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best the machine has, or what `LSLM_SIMD` says if the machine has it.
    pub(crate) fn current() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| Self::wanted().unwrap_or_else(|_| Self::best()))
    }

    /// What `LSLM_SIMD` asks for, the best when it is not set; an error for anything that this
    /// machine cannot do, since who sets it means to measure or test that one path.
    pub(crate) fn wanted() -> Result<Self> {
        match std::env::var_os("LSLM_SIMD") {
            None => Ok(Self::best()),
            Some(name) => Self::named(&name.to_string_lossy()),
        }
    }

    fn named(name: &str) -> Result<Self> {
        let levels = Self::available();
        levels.iter().find(|level| level.name() == name).copied().ok_or_else(|| {
            let names: Vec<_> = levels.into_iter().map(Self::name).collect();
            Error::invalid(format!(
                "LSLM_SIMD={name:?}: this machine has {}; unset it for the best of them",
                names.join(", ")
            ))
        })
    }

    fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Scalar)
    }

    /// What the machine has, the best last.
    pub(crate) fn available() -> Vec<Self> {
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

    /// As `LSLM_SIMD` spells it.
    pub(crate) fn name(self) -> &'static str {
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
    fn levels_go_by_their_names() {
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
