//! How alike the representations of two networks are: CKA and RSA.

use seedbed_proto::job::Question;

use super::{Answer, MechanismError, Study};

/// Answers [`Question::Similarity`].
///
/// # Errors
/// See [`super::ask`].
pub fn ask(_: &mut Study<'_>) -> Result<Answer, MechanismError> {
    Err(MechanismError::Missing(Question::Similarity))
}
