//! Direct logit attribution, the logit lens, and attention to slots.

use seedbed_proto::job::Question;

use super::{Answer, MechanismError, Study};

/// Answers [`Question::Lens`].
///
/// # Errors
/// See [`super::ask`].
pub fn ask(_: &mut Study<'_>) -> Result<Answer, MechanismError> {
    Err(MechanismError::Missing(Question::Lens))
}
