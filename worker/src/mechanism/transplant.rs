//! Transplants between networks, and the loss on the line between them.

use seedbed_proto::job::Question;

use super::{Answer, MechanismError, Study};

/// Answers [`Question::Transplant`].
///
/// # Errors
/// See [`super::ask`].
pub fn ask(_: &mut Study<'_>) -> Result<Answer, MechanismError> {
    Err(MechanismError::Missing(Question::Transplant))
}
