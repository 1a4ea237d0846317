//! Keys and tokens of online services, JSON web tokens, private keys.

use memchr::memmem;

use crate::redact::haystack::{Haystack, Match};
use crate::redact::kind::Kind;

/// Bytes of a private key in PEM form, at most: 16,384 bits of RSA take 12,700.
const MAX_KEY_BYTES: usize = 1 << 14;
/// Bytes before a `-` or `_` that are read for the beginning of a token.
const MAX_PREFIX_BYTES: usize = 12;

/// The characters of a token after its prefix.
#[derive(Clone, Copy)]
enum Alphabet {
    Upper,
    Alphanumeric,
    /// Base64 as in URLs: also `-` and `_`.
    Base64Url,
    /// The same and full stops.
    Dotted,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
        }
    }
}

/// Prefixes of tokens, with the characters after them and how many there are at least; as the
/// services document them for secret scanning. Of two that match, the first counts.
const TOKENS: [(&str, Alphabet, usize); 53] = [
    ("AKIA", Alphabet::Upper, 16), // Amazon
    ("ASIA", Alphabet::Upper, 16),
    ("LTAI", Alphabet::Alphanumeric, 12), // Alibaba Cloud
    ("AKID", Alphabet::Alphanumeric, 32), // Tencent Cloud
    ("AIza", Alphabet::Base64Url, 35),    // Google
    ("ya29.", Alphabet::Base64Url, 20),
    ("GOCSPX-", Alphabet::Base64Url, 28),
    ("SG.", Alphabet::Dotted, 60),        // SendGrid
    ("ghp_", Alphabet::Alphanumeric, 36), // GitHub
    ("gho_", Alphabet::Alphanumeric, 36),
    ("ghu_", Alphabet::Alphanumeric, 36),
    ("ghs_", Alphabet::Alphanumeric, 36),
    ("ghr_", Alphabet::Alphanumeric, 36),
    ("github_pat_", Alphabet::Base64Url, 40),
    ("glpat-", Alphabet::Base64Url, 20), // GitLab
    ("gldt-", Alphabet::Base64Url, 20),
    ("glrt-", Alphabet::Base64Url, 20),
    ("sk-ant-", Alphabet::Base64Url, 24),  // Anthropic
    ("sk-proj-", Alphabet::Base64Url, 24), // OpenAI
    ("sk-svcacct-", Alphabet::Base64Url, 24),
    ("sk-or-v1-", Alphabet::Alphanumeric, 32), // OpenRouter
    ("sk-", Alphabet::Alphanumeric, 32),       // OpenAI, DeepSeek, Moonshot
    ("xoxb-", Alphabet::Base64Url, 20),        // Slack
    ("xoxp-", Alphabet::Base64Url, 20),
    ("xoxa-", Alphabet::Base64Url, 20),
    ("xoxr-", Alphabet::Base64Url, 20),
    ("xoxs-", Alphabet::Base64Url, 20),
    ("xapp-", Alphabet::Base64Url, 20),
    ("sk_live_", Alphabet::Alphanumeric, 16), // Stripe
    ("sk_test_", Alphabet::Alphanumeric, 16),
    ("rk_live_", Alphabet::Alphanumeric, 16),
    ("rk_test_", Alphabet::Alphanumeric, 16),
    ("whsec_", Alphabet::Alphanumeric, 32),
    ("hf_", Alphabet::Alphanumeric, 30),  // Hugging Face
    ("npm_", Alphabet::Alphanumeric, 36), // npm
    ("pypi-", Alphabet::Base64Url, 50),   // PyPI
    ("rubygems_", Alphabet::Alphanumeric, 48),
    ("dckr_pat_", Alphabet::Base64Url, 20),  // Docker
    ("dop_v1_", Alphabet::Alphanumeric, 64), // DigitalOcean
    ("shpat_", Alphabet::Alphanumeric, 32),  // Shopify
    ("shpss_", Alphabet::Alphanumeric, 32),
    ("sq0atp-", Alphabet::Base64Url, 22), // Square
    ("sq0csp-", Alphabet::Base64Url, 43),
    ("key-", Alphabet::Alphanumeric, 32),     // Mailgun
    ("lin_api_", Alphabet::Alphanumeric, 40), // Linear
    ("ntn_", Alphabet::Alphanumeric, 40),     // Notion
    ("gsk_", Alphabet::Alphanumeric, 40),     // Groq
    ("r8_", Alphabet::Alphanumeric, 37),      // Replicate
    ("xai-", Alphabet::Alphanumeric, 60),     // xAI
    ("pplx-", Alphabet::Alphanumeric, 40),    // Perplexity
    ("glsa_", Alphabet::Base64Url, 32),       // Grafana
    ("sbp_", Alphabet::Alphanumeric, 40),     // Supabase
    ("PMAK-", Alphabet::Base64Url, 50),       // Postman
];

/// Returns the token that starts at `start`.
pub(crate) fn token(haystack: Haystack<'_>, start: usize) -> Option<Match> {
    let before = haystack.before(start, 1);
    if before.is_ascii_alphanumeric() || before == b'_' {
        return None;
    }
    let rest = &haystack.bytes()[start..];
    let (prefix, alphabet, min) =
        TOKENS.iter().find(|(prefix, ..)| rest.starts_with(prefix.as_bytes()))?;
    let body = &rest[prefix.len()..];
    let length = body.iter().take_while(|byte| alphabet.has(**byte)).count();
    // a full stop or hyphen at the end belongs to the sentence
    let length =
        body[..length].iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    let body = &body[..length];
    let is_random = body.iter().any(u8::is_ascii_digit)
        || body.iter().filter(|b| b.is_ascii_uppercase()).count() > 3;
    let is_longer = matches!(alphabet, Alphabet::Upper)
        && (length != *min || rest.get(4 + length).is_some_and(u8::is_ascii_alphanumeric));
    if length < *min || !is_random || is_longer {
        return None;
    }
    Some(Match::new(Kind::ApiKey, start..start + prefix.len() + length))
}

/// Returns the token whose prefix has its first `-` or `_` at `at`.
#[inline]
pub(crate) fn token_around(haystack: Haystack<'_>, at: usize) -> Option<Match> {
    /// Bytes of any token after the first separator, at least: `key-` and 32 more are the fewest.
    const MIN_BYTES: usize = 16;
    // `well-known` and `snake_case` end here
    let body = haystack.bytes().get(at + 1..at + 1 + MIN_BYTES)?;
    if !body.iter().all(|byte| Alphabet::Base64Url.has(*byte)) {
        return None;
    }
    let is_part = |back: &usize| haystack.before(at, *back).is_ascii_alphanumeric();
    let back = (1..=MAX_PREFIX_BYTES).take_while(is_part).count();
    if matches!(back, 2..=8) { token(haystack, at - back) } else { None }
}

/// Returns the token of a Telegram bot whose number starts at `start` and has `digits` digits.
pub(crate) fn telegram(haystack: Haystack<'_>, start: usize, digits: usize) -> Option<Match> {
    /// Characters after the colon.
    const LENGTH: usize = 35;
    let end = start + digits + 1 + LENGTH;
    let body = haystack.bytes().get(start + digits + 1..end)?;
    let is_token = (8..=10).contains(&digits)
        && haystack.byte(start + digits) == b':'
        && body.iter().all(|byte| Alphabet::Base64Url.has(*byte))
        && !Alphabet::Base64Url.has(haystack.byte(end))
        && !haystack.before(start, 1).is_ascii_alphanumeric();
    if is_token { Some(Match::new(Kind::ApiKey, start..end)) } else { None }
}

/// Returns the JSON web token that starts with the `eyJ` at `start`: header, payload, signature.
pub(crate) fn jwt(haystack: Haystack<'_>, start: usize) -> Option<Match> {
    let part = |from: usize| {
        haystack.bytes()[from..].iter().take_while(|byte| Alphabet::Base64Url.has(**byte)).count()
    };
    let before = haystack.before(start, 1);
    if before.is_ascii_alphanumeric() || before == b'_' {
        return None;
    }
    let header = start + part(start);
    if header < start + 12 || haystack.byte(header) != b'.' {
        return None;
    }
    let payload = header + 1 + part(header + 1);
    if payload < header + 5 || haystack.byte(payload) != b'.' {
        return None;
    }
    let end = payload + 1 + part(payload + 1);
    Some(Match::new(Kind::Jwt, start..end))
}

/// Returns the private key in PEM form that starts with the hyphens at `start`, to the end of its
/// last line; without such a line, to the end of what can be its body.
pub(crate) fn private_key(haystack: Haystack<'_>, start: usize) -> Option<Match> {
    let rest = &haystack.bytes()[start..];
    let label = rest.strip_prefix(b"-----BEGIN ")?;
    let length = label.iter().take(40).position(|byte| *byte == b'-')?;
    if !label[..length].ends_with(b"PRIVATE KEY")
        && !label[..length].ends_with(b"PRIVATE KEY BLOCK")
    {
        return None;
    }
    let body = 11 + length + 5;
    // a program that looks for keys has no line break here
    if !matches!(rest.get(body), Some(b'\n' | b'\r' | b'\\' | b' ')) {
        return None;
    }
    let window = rest.get(body..rest.len().min(MAX_KEY_BYTES))?;
    let end = match memmem::find(window, b"-----END ") {
        Some(end) => {
            let tail = &window[end + 9..];
            let line = tail.iter().position(|byte| *byte == b'\n').unwrap_or(tail.len());
            let close = memmem::find(&tail[..line], b"-----").map_or(0, |close| close + 5);
            body + end + 9 + close
        }
        None => {
            body + window
                .split_inclusive(|byte| *byte == b'\n')
                .take_while(|line| is_base64(line))
                .map(<[u8]>::len)
                .sum::<usize>()
        }
    };
    if end > body { Some(Match::new(Kind::PrivateKey, start..start + end)) } else { None }
}

/// Returns whether a line, empty or not, is part of the body of a private key.
fn is_base64(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty()
        || (line.len() > 15
            && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)))
}
