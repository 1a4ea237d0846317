//! Takes a split expression apart, so that an automaton can run it.
//!
//! Split expressions are lists of alternatives, of which two parts are beyond an automaton:
//!
//! ```text
//! \s+(?!\S)    white space but the last character before a word   → \s+, shortened when found
//! X++, X?+     possessive: never given back                       → X+, X?, where nothing would be
//! ```
//!
//! Nothing would be given back by X if all after it can match nothing, if only the end of the text
//! comes after it, or if X is one class and no character of it can come next.

use regex_syntax::hir::{Class, Hir, HirKind};

/// One alternative of an expression, in the syntax of regex-automata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alternative {
    pub(super) expression: String,
    /// `\s+(?!\S)`: of white space that does not end the text, the last character is not matched.
    pub(super) is_trailing: bool,
}

/// Returns the alternatives of `expression` in their order; `None` for what an automaton cannot run,
/// or may run differently, such as look-around, back references and matches without text.
pub(super) fn alternatives(expression: &str) -> Option<Vec<Alternative>> {
    let mut branches = split_branches(expression)?;
    while let [branch] = &branches[..] {
        let [Atom { text, quantifier: "" }] = branch[..] else { break };
        let Some(inner) = group(text) else { break };
        branches = split_branches(inner)?;
    }
    branches.iter().map(|branch| alternative(branch)).collect()
}

/// A part of an alternative, and how often it comes.
#[derive(Clone, Copy, Debug)]
struct Atom<'a> {
    /// A character, an escape, a class or a group.
    text: &'a str,
    /// `?`, `*`, `+` or `{…}`, perhaps lazy or possessive; empty for once.
    quantifier: &'a str,
}

/// Returns the inside of a group that neither looks around nor has flags or a name.
fn group(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    inner.strip_prefix("?:").or_else(|| (!inner.starts_with('?')).then_some(inner))
}

/// Returns the atoms of each top-level alternative; `None` for broken syntax and for flags that apply
/// to the rest of the expression.
fn split_branches(expression: &str) -> Option<Vec<Vec<Atom<'_>>>> {
    let mut branches = vec![Vec::new()];
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '|' {
            branches.push(Vec::new());
            rest = &rest[1..];
            continue;
        }
        let (text, after) = rest.split_at(atom_len(rest)?);
        if text.starts_with("(?")
            && text[2..].chars().all(|c| c.is_ascii_alphabetic() || "-)".contains(c))
        {
            return None;
        }
        let (quantifier, after) = after.split_at(quantifier_len(after)?);
        branches.last_mut()?.push(Atom { text, quantifier });
        rest = after;
    }
    Some(branches)
}

/// Returns the length of the atom that `text` begins with.
fn atom_len(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    match first {
        '\\' => escape_len(text),
        '[' => class_len(text),
        '(' => {
            let mut at = 1;
            while !text[at..].starts_with(')') {
                at += if text[at..].starts_with(['|', '?', '*', '+', '{', '}', ':']) {
                    1
                } else {
                    atom_len(&text[at..])?
                };
            }
            Some(at + 1)
        }
        '?' | '*' | '+' | '{' | ')' => None,
        _ => Some(first.len_utf8()),
    }
}

/// Returns the length of the escape that `text` begins with, such as `\s`, `\p{L}`, `\x{E9}`.
fn escape_len(text: &str) -> Option<usize> {
    let kind = text[1..].chars().next()?;
    let after = 1 + kind.len_utf8();
    let has_braces = matches!(kind, 'p' | 'P' | 'x' | 'u' | 'U') && text[after..].starts_with('{');
    if has_braces { Some(after + text[after..].find('}')? + 1) } else { Some(after) }
}

/// Returns the length of the class that `text` begins with, which may have classes in it.
fn class_len(text: &str) -> Option<usize> {
    let mut at = 1 + usize::from(text[1..].starts_with('^'));
    // A bracket that comes first is a member.
    at += usize::from(text[at..].starts_with(']'));
    loop {
        match text[at..].chars().next()? {
            ']' => return Some(at + 1),
            '[' => at += class_len(&text[at..])?,
            '\\' => at += escape_len(&text[at..])?,
            c => at += c.len_utf8(),
        }
    }
}

/// Returns the length of the quantifier that `text` begins with, 0 for none.
fn quantifier_len(text: &str) -> Option<usize> {
    let len = match text.chars().next() {
        Some('?' | '*' | '+') => 1,
        Some('{') => text.find('}')? + 1,
        _ => return Some(0),
    };
    Some(len + usize::from(text[len..].starts_with(['?', '+'])))
}

/// Returns the alternative of `atoms`.
fn alternative(atoms: &[Atom<'_>]) -> Option<Alternative> {
    if let [Atom { text: r"\s", quantifier: "+" }, Atom { text: r"(?!\S)", quantifier: "" }] = atoms
    {
        return Some(Alternative { expression: r"\s+".to_owned(), is_trailing: true });
    }
    let mut expression = String::new();
    for (i, atom) in atoms.iter().enumerate() {
        let is_possessive = atom.quantifier.len() > 1 && atom.quantifier.ends_with('+');
        if is_possessive && !gives_nothing_back(atom, &atoms[i + 1..]) {
            return None;
        }
        // A possessive quantifier in a group would be read as a greedy one.
        if atom.text.starts_with('(')
            && ["++", "?+", "*+", "}+"].iter().any(|p| atom.text.contains(p))
        {
            return None;
        }
        expression.push_str(atom.text);
        expression.push_str(greedy(atom.quantifier));
    }
    let hir = regex_syntax::parse(&expression).ok()?;
    (hir.properties().minimum_len()? > 0).then_some(Alternative { expression, is_trailing: false })
}

/// Returns a quantifier that is greedy where `quantifier` is possessive.
fn greedy(quantifier: &str) -> &str {
    if quantifier.len() > 1 {
        quantifier.strip_suffix('+').unwrap_or(quantifier)
    } else {
        quantifier
    }
}

/// Whether an atom would never match less so that `rest` can match.
fn gives_nothing_back(atom: &Atom<'_>, rest: &[Atom<'_>]) -> bool {
    let is_end = |text: &str| matches!(text, "$" | r"\z");
    if matches!(rest, [end] if is_end(end.text)) {
        return true;
    }
    let is_optional = |atom: &Atom<'_>| {
        atom.quantifier.starts_with(['?', '*']) || atom.quantifier.starts_with("{0,")
    };
    if rest.iter().all(is_optional) {
        return true;
    }
    let Some(next) = rest.first().filter(|next| !is_optional(next)) else { return false };
    let (Some(mut one), Some(other)) = (class_of(atom.text), class_of(next.text)) else {
        return false;
    };
    one.intersect(&other);
    one.ranges().is_empty()
}

/// Returns the characters of an atom that is one character.
fn class_of(text: &str) -> Option<regex_syntax::hir::ClassUnicode> {
    let hir: Hir = regex_syntax::parse(text).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        HirKind::Literal(literal) => {
            let mut chars = std::str::from_utf8(&literal.0).ok()?.chars();
            let (c, None) = (chars.next()?, chars.next()) else { return None };
            Some(regex_syntax::hir::ClassUnicode::new([regex_syntax::hir::ClassUnicodeRange::new(
                c, c,
            )]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str) -> Option<Vec<String>> {
        let list = alternatives(expression)?;
        Some(
            list.into_iter()
                .map(|one| one.expression + if one.is_trailing { " trailing" } else { "" })
                .collect(),
        )
    }

    #[test]
    fn published_expressions_are_lists_of_alternatives() {
        use super::super::published::{CL100K_TIKTOKEN, GPT2, O200K};
        assert_eq!(of(GPT2).unwrap().len(), 12);
        assert_eq!(of(GPT2).unwrap()[10..], [r"\s+ trailing", r"\s+"]);
        assert_eq!(of(O200K).unwrap().len(), 7);
        let list = of(CL100K_TIKTOKEN).unwrap();
        assert_eq!(list[1], r"[^\r\n\p{L}\p{N}]?\p{L}+");
        assert_eq!(list[4], r"\s+$");
        assert_eq!(of(&format!("({GPT2})")), of(GPT2));
        assert_eq!(of(&format!("(?:{GPT2})")), of(GPT2));
        assert_eq!(of(r"[\p{L}&&[^\p{Han}]]+|[]|]|\|").unwrap().len(), 3);
    }

    #[test]
    fn what_an_automaton_may_run_differently_is_left_to_the_engine() {
        for expression in [
            r"\p{N}{1,3}(?=(?:\p{N}{3})*\b)", // look-around
            r"(a)\1",
            r"a*",         // matches without text
            r"a++a",       // gives back
            r"[ab]?+[bc]", // may give back
            r"(?:a++b)a",
            r"(?i)a|B", // flags for all that follows
            r"(?x) a",
            r"a|(?>b)",
            "(",
            "[",
        ] {
            assert_eq!(of(expression), None, "{expression}");
        }
        assert_eq!(of(r"[ab]?+[cd]").unwrap(), ["[ab]?[cd]"]);
        assert_eq!(of(r"[ab]++c*").unwrap(), ["[ab]+c*"]);
    }
}
