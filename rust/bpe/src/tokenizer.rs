//! The tokenizer: what it is made of, and what it says about itself.
//!
//! What it does is in `encode/` and `decode/`, which implement methods of it too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use lslm_runtime::{Error, Result, TokenId, threads};
use serde_json::Value;

use crate::added_tokens::{AddedToken, AddedTokens, Special};
use crate::decode::token_bytes::TokenBytes;
use crate::encode::model::{Model, Rules};
use crate::encode::workspace::Workspace;
use crate::files::character_model::{self, CharacterNames};
use crate::normalize::Normalizer;
use crate::pretokenize::Pattern;
use crate::pretokenize::sequence::{self, Pretokenizer};
use crate::vocab::symbol::Merge;
use crate::vocab::vocabulary::Vocabulary;

/// A BPE tokenizer of bytes, or of characters and bytes. Immutable, shared between threads, cheap to clone.
///
/// ```
/// use lslm_bpe::pretokenize::Pattern;
/// use lslm_bpe::{Special, Tokenizer};
/// use lslm_runtime::Task;
///
/// # fn main() -> lslm_runtime::Result<()> {
/// // The 256 bytes, and two merges: l + o, lo + w.
/// let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
/// tokens.extend([b"lo".to_vec(), b"low".to_vec()]);
/// let merges = [(u32::from(b'l'), u32::from(b'o')), (256, u32::from(b'w'))];
/// let pattern = Pattern::named("gpt2").expect("a published pattern");
/// let tokenizer = Tokenizer::new(&tokens, &merges, pattern, &[])?;
///
/// let ids = tokenizer.encode(b"low lows", &Special::None, &Task::default())?;
/// assert_eq!(ids, [257, 32, 257, 115]);
/// let mut bytes = Vec::new();
/// tokenizer.decode_into(&ids, &mut bytes)?;
/// assert_eq!(bytes, b"low lows");
///
/// let again = Tokenizer::from_json(&tokenizer.to_json())?; // or load() and save()
/// assert_eq!(again, tokenizer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tokenizer(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) model: Model,
    pub(crate) normalizer: Normalizer,
    pub(crate) pretokenizer: Pretokenizer,
    pub(crate) added: AddedTokens,
    /// Tokens whose names spell no bytes: merging never produces them, they are only decoded.
    pub(crate) unspellable: BTreeMap<TokenId, String>,
    pub(crate) passthrough: Passthrough,
    /// How a vocabulary of characters is spelled; `None` for one of bytes.
    pub(crate) characters: Option<CharacterNames>,
    pub(crate) token_bytes: TokenBytes,
    /// Unique in the process, so that a workspace can recognise its tokenizer.
    pub(crate) number: u64,
    /// Workspaces that calls leave warm for the next call.
    workspaces: Vec<Mutex<Option<Box<Workspace>>>>,
    pub(crate) fingerprint: OnceLock<[u8; 32]>,
}

/// The entries of a `tokenizer.json` besides model and added tokens, which are written back as they
/// were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passthrough {
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) post_processor: Value,
    pub(crate) decoder: Value,
    pub(crate) truncation: Value,
    pub(crate) padding: Value,
}

/// What a tokenizer is made of.
pub(crate) struct Parts {
    pub(crate) model: Model,
    pub(crate) normalizer: Normalizer,
    pub(crate) pretokenizer: Pretokenizer,
    pub(crate) added: Vec<AddedToken>,
    pub(crate) unspellable: BTreeMap<TokenId, String>,
    pub(crate) passthrough: Passthrough,
    pub(crate) characters: Option<CharacterNames>,
}

/// The most workspaces that are kept for later calls, of up to 17 MB each.
const MAX_WORKSPACES: usize = 64;

/// The usual contents of the token that ends a document.
const EOS_CONTENTS: [&str; 9] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<EOS>",
    "[EOS]",
    "<|eos|>",
    "<\u{FF5C}end\u{2581}of\u{2581}sentence\u{FF5C}>",
    "<|END_OF_TURN_TOKEN|>",
];

impl Tokenizer {
    /// Returns the tokenizer of `tokens` (the bytes of each id, in order) and `merges` (pairs of
    /// ids, in the order of their priority).
    ///
    /// An id without bytes is not in the vocabulary, such as that of a special token before the
    /// others. Texts are pre-tokenised by `pattern`; `special_tokens` are strings with ids of their
    /// own, usually those after `tokens`. [`Error::Invalid`] when a merge has an id without a
    /// token, when its joined bytes are not a token, or when names or ids occur twice.
    pub fn new(
        tokens: &[Vec<u8>],
        merges: &[(TokenId, TokenId)],
        pattern: Pattern,
        special_tokens: &[(String, TokenId)],
    ) -> Result<Self> {
        let vocabulary = dense_vocabulary(tokens)?;
        let mut joined = Vec::new();
        let merge = |&(left, right): &(TokenId, TokenId)| {
            joined.clear();
            joined.extend_from_slice(vocabulary.get(left));
            joined.extend_from_slice(vocabulary.get(right));
            let has_parts = !vocabulary.get(left).is_empty() && !vocabulary.get(right).is_empty();
            let result = vocabulary.find(&joined).filter(|_| has_parts).ok_or_else(|| {
                Error::invalid(format!("the merge of {left} and {right} does not give a token"))
            })?;
            Ok(Merge { left, right, result })
        };
        let merges = merges.iter().map(merge).collect::<Result<_>>()?;
        Self::from_merges(vocabulary, merges, pattern, special_tokens)
    }

    /// [`Tokenizer::new`] for merges whose results are known, as a trainer returns them.
    pub(crate) fn from_trained<T: AsRef<[u8]>>(
        tokens: &[T],
        merges: Vec<Merge>,
        pattern: Pattern,
        special_tokens: &[(String, TokenId)],
    ) -> Result<Self> {
        let vocabulary = dense_vocabulary(tokens)?;
        for &Merge { left, right, result } in &merges {
            let [left_bytes, right_bytes] = [left, right].map(|id| vocabulary.get(id));
            let has_parts = !left_bytes.is_empty() && !right_bytes.is_empty();
            let joined = vocabulary.get(result).strip_prefix(left_bytes);
            if !has_parts || joined != Some(right_bytes) {
                return Err(Error::invalid(format!(
                    "the merge of {left} and {right} does not give the token {result}"
                )));
            }
        }
        Self::from_merges(vocabulary, merges, pattern, special_tokens)
    }

    fn from_merges(
        vocabulary: Vocabulary,
        merges: Vec<Merge>,
        pattern: Pattern,
        special_tokens: &[(String, TokenId)],
    ) -> Result<Self> {
        let model = Model::new(vocabulary, merges, Rules::default()).map_err(Error::Invalid)?;
        Self::with_pattern(model, pattern, special_tokens).map_err(Error::Invalid)
    }

    /// Returns the tokenizer of `model` and a pattern, without normalisation.
    pub(crate) fn with_pattern(
        model: Model,
        pattern: Pattern,
        special_tokens: &[(String, TokenId)],
    ) -> Result<Self, String> {
        let added = special_tokens
            .iter()
            .map(|(content, id)| AddedToken::special(content.clone(), *id))
            .collect();
        let passthrough = Passthrough {
            pre_tokenizer: sequence::to_json(&pattern),
            decoder: serde_json::json!({
                "type": "ByteLevel",
                "add_prefix_space": true,
                "trim_offsets": true,
                "use_regex": true,
            }),
            ..Passthrough::default()
        };
        Self::from_parts(Parts {
            model,
            normalizer: Normalizer::default(),
            pretokenizer: Pretokenizer::new(pattern),
            added,
            unspellable: BTreeMap::new(),
            passthrough,
            characters: None,
        })
    }

    /// Returns the tokenizer of `parts`; an error when an added token has the id of other bytes.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let Parts { model, normalizer, pretokenizer, added, unspellable, passthrough, characters } =
            parts;
        let added = AddedTokens::new(added, &normalizer)?;
        let text_of: fn(&str) -> Cow<'_, str> =
            if characters.is_some() { character_model::text_of } else { |text| text.into() };
        for token in &added.tokens {
            let bytes = model.vocabulary.get(token.id);
            if !bytes.is_empty() && bytes != text_of(&token.content).as_bytes() {
                return Err(format!(
                    "the added token {:?} has the id {}, which stands for {:?}",
                    token.content,
                    token.id,
                    String::from_utf8_lossy(bytes)
                ));
            }
        }
        let token_bytes = TokenBytes::new(&model, &added, text_of, &unspellable)?;
        let n_workspaces = MAX_WORKSPACES.min(threads::default_threads() * 2);
        Ok(Self(Arc::new(Inner {
            model,
            normalizer,
            pretokenizer,
            added,
            unspellable,
            passthrough,
            characters,
            token_bytes,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            workspaces: (0..n_workspaces).map(|_| Mutex::default()).collect(),
            fingerprint: OnceLock::new(),
        })))
    }

    /// Returns one more than the largest id: the number of rows that a model's embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.0.token_bytes.len()
    }

    /// Iterates over the special tokens with their ids, in ascending order of the ids.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, TokenId)> {
        self.0.added.specials().map(|token| (token.content.as_str(), token.id))
    }

    /// Returns the id of the token that ends a document: the one special token with a usual name
    /// for it; `None` when there are none or several.
    pub fn eos_id(&self) -> Option<TokenId> {
        let mut found =
            self.0.added.specials().filter(|token| EOS_CONTENTS.contains(&&*token.content));
        let first = found.next()?;
        found.next().is_none().then_some(first.id)
    }

    /// Returns the pattern that texts are pre-tokenised by.
    pub fn pattern(&self) -> &Pattern {
        self.0.pretokenizer.pattern()
    }

    /// Returns the bytes that `id` stands for; [`Error::UnknownToken`] when no token has it.
    pub fn token_bytes(&self, id: TokenId) -> Result<&[u8]> {
        self.0.token_bytes.get(id).ok_or_else(|| self.0.token_bytes.unknown(id))
    }

    /// Returns the id that stands for exactly `bytes`: of a token, or of an added token.
    pub fn token_id(&self, bytes: &[u8]) -> Option<TokenId> {
        let added = || {
            let text = std::str::from_utf8(bytes).ok()?;
            let unspellable =
                || self.0.unspellable.iter().find(|(_, name)| *name == text).map(|(&id, _)| id);
            self.0.added.by_content(text).map(|token| token.id).or_else(unspellable)
        };
        let is_listed = |id: &TokenId| *id < self.0.model.n_ids();
        self.0.model.vocabulary.find(bytes).filter(is_listed).or_else(added)
    }

    /// Returns what the tokenizer's file specifies and encoding does not do, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let passthrough = &self.0.passthrough;
        let mut notes = Vec::new();
        let kind = passthrough.post_processor.get("type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "ByteLevel") {
            notes.push(format!(
                "the post-processor {kind:?} is not applied: encode adds no ids except with its \
                 template"
            ));
        }
        let settings = [("truncation", &passthrough.truncation), ("padding", &passthrough.padding)];
        for (name, value) in settings {
            if !value.is_null() {
                notes.push(format!("{name} is not applied: encode returns all ids and no others"));
            }
        }
        notes
    }

    /// Returns by which code texts are split and merged, for people who wonder about speed.
    ///
    /// ```
    /// # let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    /// let pattern = lslm_bpe::pretokenize::Pattern::from_regex(r"\w+|\s+|.").unwrap();
    /// let tokenizer = lslm_bpe::Tokenizer::new(&bytes, &[], pattern, &[])?;
    /// assert!(tokenizer.engine().starts_with("split by an automaton"));
    /// # Ok::<(), lslm_runtime::Error>(())
    /// ```
    pub fn engine(&self) -> String {
        format!("split by {}; merged by {}", self.0.pretokenizer.method(), self.0.model.method())
    }

    /// Returns the policy by which the special tokens `names` become ids and no others do;
    /// [`Error::UnknownToken`] for a name that is not an added token.
    pub fn special_set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Special> {
        self.0.added.set(names, &self.0.normalizer).map(Special::Set)
    }

    /// Calls `f` with a workspace that earlier calls have warmed.
    ///
    /// A fork can leave a lock locked forever, so locks are only tried: a workspace whose lock is
    /// taken is passed over.
    pub fn with_workspace<R>(&self, f: impl FnOnce(&mut Workspace) -> R) -> R {
        let slots = &self.0.workspaces;
        let mut taken = slots.iter().find_map(|slot| slot.try_lock().ok()?.take());
        let workspace = taken.get_or_insert_default();
        let result = f(workspace);
        let free = slots.iter().find_map(|slot| slot.try_lock().ok().filter(|slot| slot.is_none()));
        if let Some(mut slot) = free {
            *slot = taken;
        }
        result
    }
}

/// Returns the vocabulary in which each of `tokens` that is not empty has its index as id.
fn dense_vocabulary<T: AsRef<[u8]>>(tokens: &[T]) -> Result<Vocabulary> {
    let numbered = (0..).zip(tokens.iter().map(AsRef::as_ref));
    Vocabulary::new(numbered.filter(|(_, token)| !token.is_empty())).map_err(Error::Invalid)
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_special = self.0.added.specials().count();
        write!(
            f,
            "Tokenizer({} ids, {:?}, {n_special} special tokens)",
            self.vocab_size(),
            self.pattern()
        )
    }
}
