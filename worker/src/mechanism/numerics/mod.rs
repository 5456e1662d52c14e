//! The mathematics of representations: pure functions from matrices to numbers.
//!
//! Nothing here knows networks, tasks or files. Decompositions and what is reported
//! are f64; large products over trials are f32. Every sum has one fixed order, so
//! results don't depend on threads.

pub mod cka;
pub mod eigen;
pub mod folds;
pub mod glm;
pub mod matrix;
pub mod nested;
pub mod pca;
pub mod rsa;
pub mod solve;
pub mod standard;
pub mod targeted;
#[cfg(test)]
pub(crate) mod tests;
