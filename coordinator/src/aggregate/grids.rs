//! The grids of the selected axis: arms that choose from more values may win by the
//! choice alone, so a comparison is fair over equal grids only.

use std::collections::BTreeSet;

use super::cells::Cell;
use crate::results::{Point, label};

/// Stands for the one value of an arm whose axis was not varied.
const NOT_VARIED: &str = "not varied";

/// The values of the selected axis that one arm had in one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// The arm.
    pub arm: String,
    /// Where arms meet.
    pub block: Point,
    /// The values as text, in the sweep's order.
    pub values: Vec<String>,
}

impl Grid {
    /// Whether both hold the same values, in whatever order.
    pub fn equals(&self, other: &Self) -> bool {
        let set = |g: &Self| g.values.iter().cloned().collect::<BTreeSet<_>>();
        set(self) == set(other)
    }
}

/// The grid of every arm and block, in the sweep's order; empty where nothing is
/// selected over.
pub(super) fn grids(cells: &[Cell]) -> Vec<Grid> {
    let mut grids: Vec<Grid> = Vec::new();
    if cells.iter().all(|c| c.value.is_none()) {
        return grids;
    }
    for cell in cells {
        let value = cell.value.as_ref();
        let value = value.map_or_else(|| NOT_VARIED.to_owned(), label);
        let here = |g: &&mut Grid| g.arm == cell.arm && g.block == cell.block;
        match grids.iter_mut().find(here) {
            Some(grid) if grid.values.contains(&value) => {}
            Some(grid) => grid.values.push(value),
            None => grids.push(Grid {
                arm: cell.arm.clone(),
                block: cell.block.clone(),
                values: vec![value],
            }),
        }
    }
    grids
}

/// A line for each block whose arms chose from different grids; `place` names a
/// block.
pub(super) fn unequal(grids: &[Grid], place: impl Fn(&Point) -> String) -> Vec<String> {
    let mut blocks: Vec<&Point> = Vec::new();
    for grid in grids {
        if !blocks.contains(&&grid.block) {
            blocks.push(&grid.block);
        }
    }
    let lines = blocks.into_iter().filter_map(|block| {
        let here: Vec<&Grid> = grids.iter().filter(|g| &g.block == block).collect();
        let differ = here.iter().any(|g| !g.equals(here[0]));
        let each: Vec<String> = here
            .iter()
            .map(|g| format!("{} {}", g.arm, g.values.join(", ")))
            .collect();
        differ.then(|| {
            format!(
                "{}: arms chose from different grids: {}",
                place(block),
                each.join("; ")
            )
        })
    });
    lines.collect()
}
