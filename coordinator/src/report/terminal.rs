//! The tables for a terminal of 100 columns.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table as Grid,
    TableStyle, Width,
};
use seedbed_proto::result::JobPhase;

use super::format::count;
use super::table::Table;
use super::{answer, tables};
use crate::aggregate::Analysis;

/// Columns that the tables may take.
const WIDTH: u16 = 100;

/// Columns of space that go with each column of a table.
const SPACE: u16 = 2;

/// More lines than this are not an answer in words.
const LINES_MAX: usize = 10;

/// Notes that are printed: they stand in the order of their weight, and a report has
/// them all.
const NOTES_MAX: usize = 6;

/// A line under the head and nothing else: rows are short, and vertical lines
/// cost three columns each.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// What the sweep says, for a terminal.
pub fn terminal(a: &Analysis) -> String {
    let mut text = format!("{}\n", head(a));
    let answer = answer::answer(a);
    // The table of differences says the same, and shorter where there are many.
    if answer.len() <= LINES_MAX {
        for line in answer {
            text.push_str(&format!("{}\n", wrap(&line, "")));
        }
    }
    let tables = [
        tables::verdict(a),
        tables::surface(a),
        tables::differences(a),
        tables::looks(a),
    ];
    for table in tables {
        if !table.is_empty() {
            text.push_str(&format!("\n{}\n{}\n", table.title, grid(&table)));
            if !table.note.is_empty() {
                text.push_str(&format!("{}\n", wrap(&table.note, " ")));
            }
        }
    }
    if !a.notes.is_empty() {
        text.push_str("\nNotes\n");
        for note in a.notes.iter().take(NOTES_MAX) {
            text.push_str(&format!("{}\n", wrap(&format!("- {note}"), " ")));
        }
        let more = a.notes.len().saturating_sub(NOTES_MAX);
        if more > 0 {
            let line = format!("- and {} in report.md", count(more, "more note"));
            text.push_str(&format!("{}\n", wrap(&line, " ")));
        }
    }
    text
}

/// "quickstart: 12 of 12 runs done, 6 seeds".
fn head(a: &Analysis) -> String {
    let mut head = format!(
        "{}: {} of {} done",
        a.name,
        a.in_phase(JobPhase::Done),
        count(a.runs(), "run")
    );
    for phase in JobPhase::ALL {
        let n = a.in_phase(phase);
        if phase != JobPhase::Done && n > 0 {
            head.push_str(&format!(", {n} {phase}"));
        }
    }
    head.push_str(&format!(", {}", count(a.seeds.len(), "seed")));
    if a.exploratory() {
        head.push_str(" (exploratory)");
    }
    head
}

fn grid(table: &Table) -> String {
    let mut grid = Grid::new();
    grid.load_style(STYLE)
        .force_no_tty()
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(heads(table));
    for (i, section) in table.sections.iter().enumerate() {
        if i > 0 {
            grid.add_row(table.columns.iter().map(|_| " "));
        }
        for row in section {
            grid.add_row(row.iter().map(Cell::new));
        }
    }
    for (i, (column, spec)) in grid.column_iter_mut().zip(&table.columns).enumerate() {
        // Between words, that is.
        let cells = table.sections.iter().flatten().map(|row| row[i].as_str());
        let words = cells.flat_map(|cell| cell.split(' '));
        let longest = words.map(|word| word.chars().count()).max().unwrap_or(0) as u16 + SPACE;
        if spec.numeric {
            column.set_cell_alignment(CellAlignment::Right);
            // Names may be broken, numbers may not.
            column.set_constraint(ColumnConstraint::ContentWidth);
        } else {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(longest)));
        }
    }
    let lines = grid.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// The heads of the columns; if the table is too wide for them, those that are
/// wider than everything below are broken.
fn heads(table: &Table) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let below = |column: usize| {
        let rows = table.sections.iter().flatten();
        rows.map(|row| width(&row[column])).max().unwrap_or(0)
    };
    let columns = || table.columns.iter().enumerate();
    let whole: usize = columns()
        .map(|(i, c)| width(&c.head).max(below(i)) + usize::from(SPACE))
        .sum();
    if whole <= usize::from(WIDTH) {
        return columns().map(|(_, c)| c.head.clone()).collect();
    }
    columns().map(|(i, c)| broken(&c.head, below(i))).collect()
}

/// A head in lines: parted at spaces, and behind the dots of a path.
fn broken(head: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in head.split(' ') {
        for (i, part) in word.split_inclusive('.').enumerate() {
            // Parts of a path stand together as they did.
            let space = if i == 0 { " " } else { "" };
            let longer = space.len() + part.chars().count();
            match lines.last_mut() {
                Some(line) if line.chars().count() + longer <= width => {
                    line.push_str(space);
                    line.push_str(part);
                }
                _ => lines.push(part.to_owned()),
            }
        }
    }
    lines.join("\n")
}

/// Breaks a text at spaces; later lines are indented by two more.
fn wrap(text: &str, indent: &str) -> String {
    let mut lines = vec![indent.to_owned()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        let blank = line.trim().is_empty();
        if !blank && line.chars().count() + 1 + word.chars().count() > usize::from(WIDTH) {
            lines.push(format!("{indent}  {word}"));
        } else {
            if !blank {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_head_is_broken_at_dots_and_has_no_spaces() {
        for (head, width, want) in [
            ("task.train", 10, "task.train"),
            ("task.train", 9, "task.\ntrain"),
            ("task.train", 3, "task.\ntrain"),
            ("train.batch size", 16, "train.batch size"),
            ("P (task.train)", 8, "P (task.\ntrain)"),
        ] {
            assert_eq!(broken(head, width), want, "{head:?} in {width}");
        }
    }
}
