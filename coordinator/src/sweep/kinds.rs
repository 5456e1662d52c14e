//! What the rows of the language's tables are made of.

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, both ends included.
    Uint(u64, u64),
    /// A number.
    Float(Bounds),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of these words, each at most once.
    Words(&'static [&'static str]),
    /// Any text that is not empty.
    Text,
    /// A name that can stand in paths and URLs.
    Name,
    /// Path of a file or folder.
    Path,
    /// Paths of files.
    Paths,
    /// `auto`, or a value.
    Auto(&'static Kind),
    /// `[smallest, largest]`.
    Pair,
    /// Ascending, separate pairs.
    Bins,
    /// `online`, or a number of trials.
    TrainSet,
    /// The name of a template, or a mapping that holds one.
    Template,
    /// Evaluation splits.
    Splits,
    /// Two texts.
    TwoTexts,
    /// `final`, `matched`, `all`, or an ascending list of steps.
    Checkpoints,
    /// How weights start.
    Init,
    /// Which weights stay.
    Frozen,
    /// A mapping with these keys.
    Block(&'static [Field]),
    /// A mapping that says where a base model comes from.
    Model,
    /// The name of an axis.
    AxisName,
    /// `none`, or axis → how its value is chosen.
    Select,
    /// Axis → values.
    Axes,
    /// Lists of axis → value.
    Patterns,
}

/// What a number may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Smallest.
    pub min: f64,
    /// Whether `min` itself is out.
    pub above: bool,
    /// Largest.
    pub max: f64,
    /// Whether `max` itself is out.
    pub below: bool,
}

/// A key of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// As it stands in the file.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default as JSON; none if the key has to be given, or may be absent.
    pub default: Option<&'static str>,
    /// One or two sentences for people.
    pub doc: &'static str,
}

/// A row of a table.
pub const fn field(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Field {
    Field {
        name,
        kind,
        default,
        doc,
    }
}

/// A number from `min` to `max`, both included.
pub const fn within(min: f64, max: f64) -> Kind {
    Kind::Float(Bounds {
        min,
        above: false,
        max,
        below: false,
    })
}

/// The same without `min`.
pub const fn above(min: f64, max: f64) -> Kind {
    Kind::Float(Bounds {
        min,
        above: true,
        max,
        below: false,
    })
}

/// The same without `max`.
pub const fn below(min: f64, max: f64) -> Kind {
    Kind::Float(Bounds {
        min,
        above: false,
        max,
        below: true,
    })
}
