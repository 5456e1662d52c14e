//! Activation patching: which activations carry what a counterfactual changes.

use seedbed_proto::job::Question;

use super::{Answer, MechanismError, Study};

/// Answers [`Question::Patching`].
///
/// # Errors
/// See [`super::ask`].
pub fn ask(_: &mut Study<'_>) -> Result<Answer, MechanismError> {
    Err(MechanismError::Missing(Question::Patching))
}
