//! Reads the documents that start in a byte range of plain text or JSONL.
//!
//! A bounded number of bytes before a document decide that it starts there. So a reader that starts
//! a little before its range finds the same boundaries as one that reads the whole file, and each
//! document belongs to the one range in which it starts.

use std::ops::Range;
use std::sync::Arc;

use lslm_runtime::{Result, Task};

use crate::document::{Fields, Found, Record};
use crate::encoding::TextEncoding;
use crate::input::Input;
use crate::jsonl::members::FieldKeys;
use crate::jsonl::read::parse_line;
use crate::jsonl::record::JsonRecord;
use crate::options::{Format, ReadOptions, Split, Utf8Policy};
use crate::statistics::BadReason;
use crate::stream::Stream;
use crate::utf8::Replacements;

/// The byte order mark of UTF-8, which is not part of the text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The role of a line for the documents around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    /// A part of a document.
    Content,
    /// An empty line; enough of them in a row end a document.
    Blank,
    /// The separator line.
    Separator,
}

/// How documents lie in the stream: [`Split`], or JSONL with its keys.
#[derive(Debug)]
enum Framing {
    Json(Arc<FieldKeys>),
    File,
    Lines,
    BlankLines(u64),
    Separator(Vec<u8>),
}

impl Framing {
    fn new(format: Format, options: &ReadOptions) -> Self {
        match (format, &options.split) {
            (Format::Jsonl, _) => {
                Self::Json(Arc::new(FieldKeys::new(&options.text_key, &options.id_key)))
            }
            (_, Split::File) => Self::File,
            (_, Split::Lines) => Self::Lines,
            (_, Split::BlankLines(count)) => Self::BlankLines(u64::from(*count).max(1)),
            (_, Split::Separator(line)) => Self::Separator(line.as_bytes().to_vec()),
        }
    }

    /// Returns how many bytes before a document decide that it starts there.
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

    fn kind_of(&self, line: &[u8]) -> LineKind {
        match self {
            Self::BlankLines(_) if line.is_empty() => LineKind::Blank,
            Self::Separator(separator) if line == separator => LineKind::Separator,
            _ => LineKind::Content,
        }
    }
}

/// Reads the documents that start in one range of an input.
#[derive(Debug)]
pub(crate) struct TextReader {
    stream: Stream,
    framing: Framing,
    encoding: TextEncoding,
    utf8: Utf8Policy,
    /// Whether documents have their record.
    keep: bool,
    /// The offsets of the range. Documents that start at `end` or later belong to another range.
    start: u64,
    end: u64,
    /// The empty lines right before the stream's position. The start of the file counts as enough.
    blank_lines: u64,
    /// Whether the file starts with a byte order mark.
    has_mark: bool,
    /// The marks before other lines of JSONL.
    inner_marks: u64,
    finished: bool,
}

/// A line that was read.
struct LineInfo {
    /// The offset of its first byte.
    position: u64,
    kind: LineKind,
    /// The bytes of its line break: 0, 1 or 2.
    break_len: usize,
}

impl TextReader {
    /// Returns the bytes after the end of gzip data, which are not read.
    pub(crate) fn trailing_bytes(&self) -> u64 {
        self.stream.trailing_bytes()
    }

    /// Returns the byte order marks before lines of JSONL other than the first.
    pub(crate) fn inner_marks(&self) -> u64 {
        self.inner_marks
    }

    /// Returns a reader of the byte range `range` of `input`, or of all of it. With `keep`, documents
    /// have their record.
    pub(crate) fn open(
        input: &Input,
        range: Option<Range<u64>>,
        options: &ReadOptions,
        keep: bool,
        task: &Task,
    ) -> Result<Self> {
        let framing = Framing::new(input.format(), options);
        let range = range.unwrap_or(0..u64::MAX);
        let from = range.start.saturating_sub(framing.lookback());
        // never start inside a byte order mark
        let from = if from <= BYTE_ORDER_MARK.len() as u64 { 0 } else { from };
        let mut reader = Self {
            stream: input.stream(from, options)?,
            framing,
            encoding: input.encoding,
            utf8: options.utf8,
            keep,
            start: range.start,
            end: range.end,
            blank_lines: u64::MAX,
            has_mark: false,
            inner_marks: 0,
            finished: false,
        };
        if from > 0 {
            reader.stream.skip_line(task)?;
            reader.blank_lines = 0;
        } else if reader.stream.peek(BYTE_ORDER_MARK.len())? == BYTE_ORDER_MARK {
            reader.stream.skip(BYTE_ORDER_MARK.len());
            reader.has_mark = true;
        }
        reader.seek_first_document(task)?;
        Ok(reader)
    }

    /// Returns the stored bytes of the range that were read.
    pub(crate) fn consumed(&self) -> u64 {
        if self.end == u64::MAX {
            self.stream.stored_bytes()
        } else {
            self.stream.position().min(self.end).saturating_sub(self.start)
        }
    }

    /// Returns the offset of the next byte. The first byte after a byte order mark has offset 0, so
    /// that the range from 0 on owns the first document even if it ends inside the mark.
    fn position(&self) -> u64 {
        let position = self.stream.position();
        if self.has_mark && position == BYTE_ORDER_MARK.len() as u64 { 0 } else { position }
    }

    /// Skips the documents that start before the range.
    fn seek_first_document(&mut self, task: &Task) -> Result<()> {
        if matches!(self.framing, Framing::File) {
            return Ok(());
        }
        // whether a document may start at the stream's position
        let mut at_boundary = self.blank_lines == u64::MAX;
        let mut blank_lines = self.blank_lines;
        while self.position() < self.start {
            let Some(line) = self.read_line(None, task)? else { break };
            match self.framing {
                Framing::Separator(_) => at_boundary = line.kind == LineKind::Separator,
                _ if line.kind == LineKind::Blank => blank_lines = blank_lines.saturating_add(1),
                _ => blank_lines = 0,
            }
        }
        self.blank_lines = blank_lines;
        let inside_document = match self.framing {
            Framing::Separator(_) => !at_boundary && self.start > 0,
            Framing::BlankLines(count) => blank_lines < count,
            _ => false,
        };
        if inside_document {
            self.skip_document(task)?;
        }
        Ok(())
    }

    /// Skips the rest of the document at the stream's position.
    fn skip_document(&mut self, task: &Task) -> Result<()> {
        while let Some(line) = self.read_line(None, task)? {
            match (line.kind, &self.framing) {
                (LineKind::Separator, _) => return Ok(()),
                (LineKind::Blank, Framing::BlankLines(count)) => {
                    self.blank_lines = self.blank_lines.saturating_add(1);
                    if self.blank_lines >= *count {
                        return Ok(());
                    }
                }
                _ => self.blank_lines = 0,
            }
        }
        Ok(())
    }

    /// Reads one line, and appends it with its line break to `out`. Returns `None` at the end.
    fn read_line(&mut self, out: Option<&mut Vec<u8>>, task: &Task) -> Result<Option<LineInfo>> {
        let position = self.position();
        let Some(line) = self.stream.line(task)? else { return Ok(None) };
        let content = without_break(line);
        let info = LineInfo {
            position,
            kind: self.framing.kind_of(content),
            break_len: line.len() - content.len(),
        };
        if let Some(out) = out {
            out.extend_from_slice(line);
        }
        Ok(Some(info))
    }

    /// Returns the next document or bad document, or `None` after the last of the range.
    pub(crate) fn next(&mut self, task: &Task) -> Result<Option<Found>> {
        if self.finished {
            return Ok(None);
        }
        let found = match self.framing {
            Framing::Json(_) | Framing::Lines => self.next_line(task),
            Framing::File => self.whole_file(task),
            Framing::BlankLines(_) | Framing::Separator(_) => self.next_lines(task),
        };
        self.finished = !matches!(found, Ok(Some(_)));
        found
    }

    /// Returns the whole file as one document.
    fn whole_file(&mut self, task: &Task) -> Result<Option<Found>> {
        let bytes = self.stream.rest(task)?;
        self.finished = true;
        Ok((!bytes.is_empty()).then(|| document(0, self.encoding.decode_owned(bytes, self.utf8))))
    }

    /// Returns the next document of one line.
    fn next_line(&mut self, task: &Task) -> Result<Option<Found>> {
        loop {
            let position = self.position();
            if position >= self.end {
                return Ok(None);
            }
            let Some(line) = self.stream.line(task)? else { return Ok(None) };
            let line = without_break(line);
            let Framing::Json(keys) = &self.framing else {
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(document(position, self.encoding.decode(line, self.utf8))));
            };
            // joined files have marks inside; a BOM is not white space of JSON
            let line = match line.strip_prefix(BYTE_ORDER_MARK) {
                None => line,
                Some(rest) => {
                    self.inner_marks += 1;
                    rest
                }
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(match self.encoding.decode(line, self.utf8) {
                Err(offset) => ill_formed(position, offset),
                Ok((line, replaced)) => match parse_line(&line, keys, self.utf8, self.keep) {
                    Err((reason, detail)) => Found::Bad { position, reason, detail },
                    Ok(fields) => Found::Document {
                        replaced: fields.replaced + replaced.count(),
                        surplus: replaced.surplus(fields.value),
                        text: fields.text,
                        id: fields.id,
                        record: record_of(fields.record),
                    },
                },
            }));
        }
    }

    /// Returns the next document of several lines, which empty lines or a separator end.
    fn next_lines(&mut self, task: &Task) -> Result<Option<Found>> {
        loop {
            let mut bytes = Vec::new();
            let mut position = None;
            // the bytes that are certain to belong to the document
            let mut len = 0;
            loop {
                if position.is_none() && self.position() >= self.end {
                    return Ok(None);
                }
                let Some(line) = self.read_line(Some(&mut bytes), task)? else { break };
                match (&self.framing, line.kind) {
                    (_, LineKind::Separator) => {
                        position = position.or(Some(line.position));
                        // remove the line break before the separator, at most as long as its own
                        let own = if line.break_len == 0 { 2 } else { line.break_len };
                        len -= trailing_break(&bytes[..len]).min(own);
                        break;
                    }
                    (Framing::BlankLines(count), LineKind::Blank) => {
                        self.blank_lines = self.blank_lines.saturating_add(1);
                        if position.is_none() {
                            bytes.clear();
                        } else if self.blank_lines >= *count {
                            break;
                        }
                        continue;
                    }
                    (Framing::BlankLines(_), _) => {
                        self.blank_lines = 0;
                        len = bytes.len() - line.break_len;
                    }
                    _ => len = bytes.len(),
                }
                position = position.or(Some(line.position));
            }
            let Some(position) = position else { return Ok(None) };
            if let Framing::Separator(_) = self.framing
                && len == bytes.len()
            {
                // the file ends without a separator: remove its last line break
                len -= trailing_break(&bytes);
            }
            bytes.truncate(len);
            if !bytes.is_empty() {
                return Ok(Some(document(position, self.encoding.decode_owned(bytes, self.utf8))));
            }
        }
    }
}

fn record_of(line: Option<JsonRecord>) -> Record {
    line.map_or_else(Record::default, |line| Record(Fields::Line(Box::new(line))))
}

/// Returns the outcome for a plain text that was decoded.
fn document(position: u64, decoded: Result<(impl Into<String>, Replacements), usize>) -> Found {
    match decoded {
        Err(offset) => ill_formed(position, offset),
        Ok((text, replaced)) => {
            let text = text.into();
            Found::Document {
                replaced: replaced.count(),
                surplus: replaced.surplus(0..text.len()),
                text,
                id: None,
                record: Record::default(),
            }
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

/// Returns the length of the line break at the end: 0, 1 or 2 bytes.
fn trailing_break(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}
