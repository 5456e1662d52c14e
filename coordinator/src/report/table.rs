//! A table as data: made once, shown in a terminal, in Markdown and in HTML.

/// A table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    /// What it shows.
    pub title: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Rows in sections; sections are set apart.
    pub sections: Vec<Vec<Vec<String>>>,
    /// How to read it: n, method, interval.
    pub note: String,
}

/// A column's head.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Its text.
    pub head: String,
    /// Numbers stand at the right.
    pub numeric: bool,
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    /// Adds a column of text.
    pub fn text(mut self, head: impl Into<String>) -> Self {
        self.columns.push(Column {
            head: head.into(),
            numeric: false,
        });
        self
    }

    /// Adds a column of numbers.
    pub fn number(mut self, head: impl Into<String>) -> Self {
        self.columns.push(Column {
            head: head.into(),
            numeric: true,
        });
        self
    }

    /// Sets the note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Adds a section, unless it is empty.
    pub fn section(&mut self, rows: Vec<Vec<String>>) {
        if !rows.is_empty() {
            self.sections.push(rows);
        }
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }
}
