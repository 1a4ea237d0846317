//! The published pre-tokenizers: their names, their expressions, and the family of each.

use super::scheme::Scheme;

/// One step of a pre-tokenizer, applied to every piece that the steps before it left.
///
/// Look-ahead and the end of the text are those of the piece, not of the whole text.
///
/// ```
/// use lslm_bpe::pretokenize::{Pattern, Step};
///
/// let digits = Step::Digits { individual: true };
/// let pattern = Pattern::from_steps(vec![digits, Step::isolated(r"\s+")])?;
/// let mut pieces = Vec::new();
/// pattern.for_each(b"room 42", |piece| pieces.push(piece.to_vec()));
/// assert_eq!(pieces, [&b"room"[..], b" ", b"4", b"2"]);
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Splits by a regular expression.
    Split {
        /// The regular expression.
        regex: String,
        /// What becomes of a match.
        behavior: Behavior,
        /// True: matches and gaps change roles.
        invert: bool,
    },
    /// Splits off each numeric character (general category N), or each run of them.
    Digits {
        /// True: each character by itself.
        individual: bool,
    },
}

impl Step {
    /// Returns the step that splits before and after each match of `regex`.
    pub fn isolated(regex: impl Into<String>) -> Self {
        Self::Split { regex: regex.into(), behavior: Behavior::Isolated, invert: false }
    }
}

/// Which piece a match of a [`Step::Split`] belongs to; the names are Hugging Face's.
///
/// `Removed` is left out: it loses text, and decoding must return the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Behavior {
    /// A piece of its own.
    Isolated,
    /// Adjacent matches form one piece.
    Contiguous,
    /// The end of the piece before the match.
    MergedWithPrevious,
    /// The beginning of the piece after the match.
    MergedWithNext,
}

/// `\p{N}` with [`NEW_NUMBERS`](super::scheme::NEW_NUMBERS).
pub(super) const DIGITS: &str = r"[\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}]";

/// GPT-2's expression as first published.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// cl100k_base as most files spell it; Llama 3 and OLMo 2 use the same text.
pub(super) const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// cl100k_base as tiktoken spells it since 0.8. It differs in one case: white space at the very end
/// of the text is one piece even if it has a line end.
pub(super) const CL100K_TIKTOKEN: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

/// o200k_base and o200k_harmony.
pub(super) const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2, 2.5 and 3.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 3.5.
pub(super) const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Kimi K2.
pub(super) const KIMI: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Mistral's tekken.
pub(super) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The first step of DeepSeek-V3.
pub(super) const DEEPSEEK_DIGITS: &str = r"\p{N}{1,3}";
/// The second step of DeepSeek-V3: Han as of Unicode 1.1, hiragana, katakana.
pub(super) const DEEPSEEK_CJK: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";
/// The third step of DeepSeek-V3.
pub(super) const DEEPSEEK_REST: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

/// Other expressions with the same pieces as a published one: (other, published).
pub(super) const SYNONYMS: &[(&str, &str)] = &[
    // GPT-2 as tiktoken spells it, and the first GPT-2 release
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s", GPT2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", GPT2),
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", GPT2),
    // cl100k_base in tiktoken up to 0.7
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        CL100K,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        CL100K,
    ),
];

/// The names of [`Pattern::named`](super::Pattern::named); the first of those with equal steps is
/// the canonical one.
pub(super) const NAMES: &[&str] = &[
    "gpt2",
    "r50k_base",
    "p50k_base",
    "p50k_edit",
    "cl100k_base",
    "cl100k_base_tiktoken",
    "o200k_base",
    "o200k_harmony",
    "llama3",
    "qwen2",
    "qwen2.5",
    "qwen3",
    "qwen3.5",
    "kimi_k2",
    "deepseek_v3",
    "tekken",
    "mistral",
    "gpt_neox",
    "olmo",
    "olmo2",
    "starcoder",
    "byte_level",
    "none",
];

/// Returns the family of `steps`, if they are published ones in their usual spelling.
pub(super) fn scheme(steps: &[Step]) -> Option<Scheme> {
    Some(match steps {
        [] => Scheme::Whole,
        [Step::Digits { individual: true }, step] if *step == Step::isolated(GPT2) => {
            Scheme::Gpt2 { digits: true }
        }
        [Step::Split { regex, behavior: Behavior::Isolated, invert: false }] => {
            match regex.as_str() {
                GPT2 => Scheme::Gpt2 { digits: false },
                CL100K => Scheme::Cl100k { group: 3, tail: false, marks: false },
                CL100K_TIKTOKEN => Scheme::Cl100k { group: 3, tail: true, marks: false },
                QWEN2 => Scheme::Cl100k { group: 1, tail: false, marks: false },
                QWEN35 => Scheme::Cl100k { group: 1, tail: false, marks: true },
                KIMI => Scheme::Kimi,
                O200K => Scheme::O200k { group: 3, contractions: true },
                TEKKEN => Scheme::O200k { group: 1, contractions: false },
                _ => return None,
            }
        }
        [a, b, c]
            if [a, b, c]
                .into_iter()
                .eq([DEEPSEEK_DIGITS, DEEPSEEK_CJK, DEEPSEEK_REST].map(Step::isolated).iter()) =>
        {
            Scheme::DeepseekV3
        }
        _ => return None,
    })
}

/// Returns the steps of the published pre-tokenizer `name`.
pub(super) fn steps(name: &str) -> Option<Vec<Step>> {
    Some(match name {
        "gpt2" | "r50k_base" | "p50k_base" | "p50k_edit" | "gpt_neox" | "olmo" | "byte_level" => {
            vec![Step::isolated(GPT2)]
        }
        "cl100k_base" | "llama3" | "olmo2" => vec![Step::isolated(CL100K)],
        "cl100k_base_tiktoken" => vec![Step::isolated(CL100K_TIKTOKEN)],
        "o200k_base" | "o200k_harmony" => vec![Step::isolated(O200K)],
        "qwen2" | "qwen2.5" | "qwen3" => vec![Step::isolated(QWEN2)],
        "qwen3.5" => vec![Step::isolated(QWEN35)],
        "kimi_k2" => vec![Step::isolated(KIMI)],
        "deepseek_v3" => vec![
            Step::isolated(DEEPSEEK_DIGITS),
            Step::isolated(DEEPSEEK_CJK),
            Step::isolated(DEEPSEEK_REST),
        ],
        "tekken" | "mistral" => vec![Step::isolated(TEKKEN)],
        "starcoder" => vec![Step::Digits { individual: true }, Step::isolated(GPT2)],
        "none" => Vec::new(),
        _ => return None,
    })
}
