//! Where in a sweep file something stands, and how a mistake in it is shown.

use std::fmt;
use std::sync::Arc;

/// Problems shown at once; the rest is counted.
const SHOWN_MAX: usize = 50;
/// Problems held in memory: a hostile file may have one in every byte.
const HELD_MAX: usize = 1000;
/// Longest piece of a source line that is shown.
const LINE_CHARS_MAX: usize = 120;

/// A piece of the source text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A sweep file's name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// For messages only.
    pub file_name: Arc<str>,
    /// The text as it was read.
    pub text: Arc<str>,
}

impl Source {
    /// Line and column of a byte, both from 1; the column counts characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let (before, _) = self.text.split_at(self.boundary(byte));
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = 1 + before.bytes().filter(|b| *b == b'\n').count();
        (line, 1 + before[line_start..].chars().count())
    }

    /// The largest character boundary at or before `byte`.
    fn boundary(&self, byte: usize) -> usize {
        let mut at = byte.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn line_of(&self, byte: usize) -> &str {
        let at = self.boundary(byte);
        let start = self.text[..at].rfind('\n').map_or(0, |i| i + 1);
        self.text[start..].lines().next().unwrap_or("")
    }
}

/// One mistake, with its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands in the text.
    pub span: Span,
    /// Where it stands in the structure: `axes.learning_rate[2]`; may be empty.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// The way out, where there is one to name.
    pub help: Option<String>,
}

/// The mistakes of a file, collected while it is walked.
#[derive(Debug, Default)]
pub struct Problems {
    /// Different ones, up to [`HELD_MAX`].
    held: Vec<Problem>,
    /// How many there were in all.
    total: usize,
}

impl Problems {
    /// Adds a mistake.
    pub fn push(&mut self, span: Span, place: &str, message: impl Into<String>) {
        self.add(span, place, message.into(), None);
    }

    /// Adds a mistake with its way out.
    pub fn push_help(
        &mut self,
        span: Span,
        place: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(span, place, message.into(), Some(help.into()));
    }

    fn add(&mut self, span: Span, place: &str, message: String, help: Option<String>) {
        let place = place.to_owned();
        let problem = Problem {
            span,
            place,
            message,
            help,
        };
        // The same mistake is met once per combination that it stands in.
        if self.held.len() < HELD_MAX && !self.held.contains(&problem) {
            self.held.push(problem);
        }
        self.total += 1;
    }

    /// How often something was wrong: it grows with every mistake.
    pub fn len(&self) -> usize {
        self.total
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether there are more than anyone will read.
    pub fn is_full(&self) -> bool {
        self.held.len() >= 4 * SHOWN_MAX
    }

    /// `Ok` if nothing is wrong; else everything that is, in the file's order.
    ///
    /// # Errors
    /// If there is any problem.
    pub fn into_result(mut self, source: &Source) -> Result<(), SweepErrors> {
        if self.is_empty() {
            return Ok(());
        }
        self.held.sort_by_key(|p| p.span.start);
        Err(SweepErrors {
            source: source.clone(),
            problems: self.held,
        })
    }
}

/// Everything that is wrong with a sweep file. Its `Display` shows each mistake
/// with line, column and the source line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepErrors {
    source: Source,
    problems: Vec<Problem>,
}

impl SweepErrors {
    /// The mistakes, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line and column of a mistake, both from 1.
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        self.source.position(problem.span.start)
    }
}

impl std::error::Error for SweepErrors {}

impl fmt::Display for SweepErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.source.file_name;
        match self.problems.len() {
            HELD_MAX.. => writeln!(f, "{file}: {HELD_MAX} problems or more")?,
            1 => writeln!(f, "{file}: 1 problem")?,
            n => writeln!(f, "{file}: {n} problems")?,
        }
        for problem in self.problems.iter().take(SHOWN_MAX) {
            writeln!(f)?;
            self.source.show(f, problem)?;
        }
        if let Some(more) = self.problems.len().checked_sub(SHOWN_MAX + 1) {
            write!(f, "\n… and {} more", more + 1)?;
        }
        Ok(())
    }
}

impl Source {
    fn show(&self, f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
        let (line_number, column) = self.position(problem.span.start);
        write!(f, "{}:{line_number}:{column}: ", self.file_name)?;
        if !problem.place.is_empty() {
            write!(f, "{}: ", problem.place)?;
        }
        writeln!(f, "{}", problem.message)?;

        let number = line_number.to_string();
        let gutter = " ".repeat(number.len());
        let line = self.line_of(problem.span.start);
        // A window on a long line, so that its mistake is in sight.
        let skip = if line.chars().count() > LINE_CHARS_MAX {
            (column - 1).saturating_sub(LINE_CHARS_MAX / 2)
        } else {
            0
        };
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String = line
            .chars()
            .skip(skip)
            .take(LINE_CHARS_MAX)
            .map(printable)
            .collect();
        let (start, end) = (
            self.boundary(problem.span.start),
            self.boundary(problem.span.end),
        );
        let marked = self.text[start..end.max(start)]
            .lines()
            .next()
            .map_or(0, |text| text.trim_end().chars().count());
        let room = shown.chars().count().saturating_sub(column - 1 - skip);
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", shown.trim_end())?;
        writeln!(
            f,
            "{gutter} | {}{}",
            " ".repeat(column - 1 - skip),
            "^".repeat(marked.min(room).max(1))
        )?;
        if let Some(help) = &problem.help {
            writeln!(f, "{gutter} = {help}")?;
        }
        Ok(())
    }
}
