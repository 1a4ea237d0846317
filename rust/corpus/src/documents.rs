//! Documents in a stream of bytes: text and JSONL.
//!
//! A byte range owns the documents that begin in it. Where documents begin is decided by the bytes
//! before alone, and by a bounded number of them; so a reader that starts a little before its range
//! finds the same borders as one that reads the whole file.

use std::ops::Range;

use lslm_runtime::{Result, Task};

use crate::input::Input;
use crate::json::{self, Keys};
use crate::options::{Format, ReadOptions, Split, Utf8Policy};
use crate::reader::Found;
use crate::statistics::BadReason;
use crate::stream::Stream;
use crate::utf8;

/// The byte order mark of UTF-8, which is no part of the text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What a line is to the documents around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    /// Part of a document.
    Content,
    /// Empty, and so the end of a document if enough of them follow each other.
    Blank,
    /// The separator.
    Separator,
}

/// How documents lie in the stream.
#[derive(Debug)]
enum Shape {
    Json(Keys),
    File,
    Lines,
    BlankLines(u64),
    Separator(Vec<u8>),
}

impl Shape {
    /// How many bytes before a document's first decide that it begins there.
    fn lookback(&self) -> u64 {
        match self {
            Self::File => 0,
            Self::Json(_) | Self::Lines => 1,
            // empty lines with `\r\n`, and the line break before them
            Self::BlankLines(count) => count.saturating_mul(2).saturating_add(1),
            // the separator with `\r\n`, and the line break before it
            Self::Separator(line) => line.len() as u64 + 3,
        }
    }

    fn kind(&self, line: &[u8]) -> LineKind {
        match self {
            Self::BlankLines(_) if line.is_empty() => LineKind::Blank,
            Self::Separator(separator) if line == separator => LineKind::Separator,
            _ => LineKind::Content,
        }
    }
}

/// The documents that begin in one range of an input.
#[derive(Debug)]
pub(crate) struct Documents {
    stream: Stream,
    shape: Shape,
    utf8: Utf8Policy,
    /// Documents that begin here or later are another's.
    end: u64,
    /// Where the range begins, for the progress.
    start: u64,
    /// Empty lines right before the stream's position; the start of the file counts as enough.
    blank: u64,
    /// Whether the file begins with a byte order mark.
    marked: bool,
    finished: bool,
}

/// A line as it was found.
struct Line {
    /// Where it begins.
    position: u64,
    kind: LineKind,
    /// Bytes of its line break: 0, 1 or 2.
    break_length: usize,
}

impl Documents {
    /// Over `input`, or the part of it that `range` is.
    pub(crate) fn open(
        input: &Input,
        range: Option<Range<u64>>,
        options: &ReadOptions,
        task: &Task,
    ) -> Result<Self> {
        let shape = match (input.format(), &options.split) {
            (Format::Jsonl, _) => Shape::Json(Keys::new(&options.text_key, &options.id_key)),
            (_, Split::File) => Shape::File,
            (_, Split::Lines) => Shape::Lines,
            (_, Split::BlankLines(count)) => Shape::BlankLines(u64::from(*count).max(1)),
            (_, Split::Separator(line)) => Shape::Separator(line.as_bytes().to_vec()),
        };
        let range = range.unwrap_or(0..u64::MAX);
        let from = range.start.saturating_sub(shape.lookback());
        // never begin within a byte order mark
        let from = if from <= MARK.len() as u64 { 0 } else { from };
        let mut documents = Self {
            stream: input.stream(from, options)?,
            shape,
            utf8: options.utf8,
            end: range.end,
            start: range.start,
            blank: u64::MAX,
            marked: false,
            finished: false,
        };
        if from > 0 {
            documents.stream.skip_line(task)?;
            documents.blank = 0;
        } else if documents.stream.peek(MARK.len())? == MARK {
            documents.stream.skip(MARK.len());
            documents.marked = true;
        }
        documents.seek_start(task)?;
        Ok(documents)
    }

    /// The stored bytes of the range that were read so far.
    pub(crate) fn consumed(&self) -> u64 {
        if self.end == u64::MAX {
            self.stream.stored_bytes()
        } else {
            self.stream.position().min(self.end).saturating_sub(self.start)
        }
    }

    /// Where the next byte lies; the first one lies at 0 even behind a mark, so that whoever owns
    /// the start of the file owns its first document.
    fn position(&self) -> u64 {
        let position = self.stream.position();
        if self.marked && position == MARK.len() as u64 { 0 } else { position }
    }

    /// Passes by the documents that begin before the range.
    fn seek_start(&mut self, task: &Task) -> Result<()> {
        if matches!(self.shape, Shape::File) {
            return Ok(());
        }
        // whether a document may begin at the stream's position
        let mut border = self.blank == u64::MAX;
        let mut blank = self.blank;
        while self.position() < self.start {
            let Some(line) = self.line(None, task)? else { break };
            match self.shape {
                Shape::Separator(_) => border = line.kind == LineKind::Separator,
                _ if line.kind == LineKind::Blank => blank = blank.saturating_add(1),
                _ => blank = 0,
            }
        }
        self.blank = blank;
        // a document that began before goes on to its end
        let inside = match self.shape {
            Shape::Separator(_) => !border && self.start > 0,
            Shape::BlankLines(count) => blank < count,
            _ => false,
        };
        if inside {
            self.pass_document(task)?;
        }
        Ok(())
    }

    /// Goes on to where the document that the stream is in has ended.
    fn pass_document(&mut self, task: &Task) -> Result<()> {
        while let Some(line) = self.line(None, task)? {
            match (line.kind, &self.shape) {
                (LineKind::Separator, _) => return Ok(()),
                (LineKind::Blank, Shape::BlankLines(count)) => {
                    self.blank = self.blank.saturating_add(1);
                    if self.blank >= *count {
                        return Ok(());
                    }
                }
                _ => self.blank = 0,
            }
        }
        Ok(())
    }

    /// Takes one line; its content with the line break goes to `into`.
    fn line(&mut self, into: Option<&mut Vec<u8>>, task: &Task) -> Result<Option<Line>> {
        let position = self.position();
        let Some(line) = self.stream.line(task)? else { return Ok(None) };
        let content = without_break(line);
        let found = Line {
            position,
            kind: self.shape.kind(content),
            break_length: line.len() - content.len(),
        };
        if let Some(into) = into {
            into.extend_from_slice(line);
        }
        Ok(Some(found))
    }

    /// The next document, or what is wrong with it.
    pub(crate) fn next(&mut self, task: &Task) -> Result<Option<Found>> {
        if self.finished {
            return Ok(None);
        }
        let found = match self.shape {
            Shape::Json(_) | Shape::Lines => self.next_line(task),
            Shape::File => self.whole_file(task),
            Shape::BlankLines(_) | Shape::Separator(_) => self.next_of_lines(task),
        };
        self.finished = !matches!(found, Ok(Some(_)));
        found
    }

    fn whole_file(&mut self, task: &Task) -> Result<Option<Found>> {
        let bytes = self.stream.rest(task)?;
        self.finished = true;
        Ok((!bytes.is_empty()).then(|| text(0, utf8::decode_owned(bytes, self.utf8))))
    }

    fn next_line(&mut self, task: &Task) -> Result<Option<Found>> {
        loop {
            let position = self.position();
            if position >= self.end {
                return Ok(None);
            }
            let Some(line) = self.stream.line(task)? else { return Ok(None) };
            let line = without_break(line);
            let Shape::Json(keys) = &self.shape else {
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(text(position, utf8::decode(line, self.utf8))));
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(match utf8::decode(line, self.utf8) {
                Err(offset) => ill_formed(position, offset),
                Ok((line, replaced)) => match json::record(&line, keys, self.utf8) {
                    Err((reason, detail)) => Found::Bad { position, reason, detail },
                    Ok(record) => Found::Document {
                        replaced: record.replaced + replaced,
                        text: record.text,
                        id: record.id,
                        metadata: record.metadata,
                    },
                },
            }));
        }
    }

    fn next_of_lines(&mut self, task: &Task) -> Result<Option<Found>> {
        loop {
            let mut bytes = Vec::new();
            let mut position = None;
            // how much of `bytes` belongs to the document for certain
            let mut length = 0;
            loop {
                if position.is_none() && self.position() >= self.end {
                    return Ok(None);
                }
                let Some(line) = self.line(Some(&mut bytes), task)? else { break };
                match (&self.shape, line.kind) {
                    (_, LineKind::Separator) => {
                        position = position.or(Some(line.position));
                        // the break before the separator goes with it, as the separator's own is
                        let own = if line.break_length == 0 { 2 } else { line.break_length };
                        length -= trailing_break(&bytes[..length]).min(own);
                        break;
                    }
                    (Shape::BlankLines(count), LineKind::Blank) => {
                        self.blank = self.blank.saturating_add(1);
                        if position.is_none() {
                            bytes.clear();
                        } else if self.blank >= *count {
                            break;
                        }
                        continue;
                    }
                    (Shape::BlankLines(_), _) => {
                        self.blank = 0;
                        length = bytes.len() - line.break_length;
                    }
                    _ => length = bytes.len(),
                }
                position = position.or(Some(line.position));
            }
            let Some(position) = position else { return Ok(None) };
            if let Shape::Separator(_) = self.shape
                && length == bytes.len()
            {
                // the file ends without a separator: its last line break goes
                length -= trailing_break(&bytes);
            }
            bytes.truncate(length);
            if !bytes.is_empty() {
                return Ok(Some(text(position, utf8::decode_owned(bytes, self.utf8))));
            }
        }
    }
}

fn text(position: u64, decoded: Result<(impl Into<String>, u64), usize>) -> Found {
    match decoded {
        Err(offset) => ill_formed(position, offset),
        Ok((text, replaced)) => {
            Found::Document { text: text.into(), replaced, id: None, metadata: None }
        }
    }
}

fn ill_formed(position: u64, offset: usize) -> Found {
    Found::Bad {
        position,
        reason: BadReason::IllFormedUtf8,
        detail: format!("not UTF-8, {offset} bytes into the document"),
    }
}

fn without_break(line: &[u8]) -> &[u8] {
    &line[..line.len() - trailing_break(line)]
}

/// The length of the line break at the end: 0, 1 or 2 bytes.
fn trailing_break(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}
