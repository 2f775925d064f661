//! Agreement among the servers of an ensemble.

mod ensemble;

pub use ensemble::{Ensemble, EnsembleError};
