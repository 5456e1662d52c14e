//! Targeted dimensionality reduction, after Mante et al. 2013.

use seedbed_proto::job::Question;

use super::{Answer, MechanismError, Study};

/// Answers [`Question::Tdr`].
///
/// # Errors
/// See [`super::ask`].
pub fn ask(_: &mut Study<'_>) -> Result<Answer, MechanismError> {
    Err(MechanismError::Missing(Question::Tdr))
}
