//! The sweep language: YAML → checked [`Sweep`] → stream of jobs.
//!
//! Everything here is pure and deterministic: text in, values out. Only
//! [`files::resolve`] reads files, and only where a client asks it to.
//!
//! ```text
//! text ─tree→ nodes with places ─decode (by the table in `fields`)→ settings
//!      ─axes, document→ Sweep ─check→ every mistake at once
//! Sweep + files ─expand→ jobs, one at a time ─cost→ what it will take
//! ```

pub mod axes;
mod check;
pub mod compare;
pub mod cost;
pub mod crossing;
pub mod decode;
pub mod document;
pub mod expand;
pub mod fields;
pub mod files;
pub mod inspect;
pub mod kinds;
pub mod model;
pub mod paths;
pub mod replicate;
mod results;
pub mod schema;
pub mod source;
#[cfg(test)]
mod tests;
mod tree;
pub mod values;

pub use compare::{Compare, Select};
pub use cost::{Plan, plan};
pub use document::{Keep, KeepWeights, Sweep, parse};
pub use expand::{Jobs, Planned, expand};
pub use files::{FileRef, Files, Role};
pub use inspect::{Inspect, Whose};
pub use replicate::Until;
pub use schema::schema;
pub use source::{Problem, SweepErrors};
