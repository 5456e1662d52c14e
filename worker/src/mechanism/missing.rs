//! Why numbers are missing, said once for all places.

use std::collections::BTreeMap;

use super::rows::Rows;

/// Reasons by the name of what is missing, with the places.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeMap<(String, String), Vec<String>>);

impl Missing {
    /// One more place where `name` is not available for this reason.
    pub fn add(&mut self, name: &str, reason: impl ToString, place: String) {
        let key = (name.to_owned(), reason.to_string());
        self.0.entry(key).or_default().push(place);
    }

    /// A note for each name and reason.
    pub fn put(self, out: &mut Rows) {
        for ((name, reason), places) in self.0 {
            let shown = places
                .iter()
                .take(3)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            let more = match places.len() {
                0..=3 => String::new(),
                n => format!(" and {} more places", n - 3),
            };
            out.note(&name, format!("{reason}: {shown}{more}"));
        }
    }
}
