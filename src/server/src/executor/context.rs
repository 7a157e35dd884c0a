//! What an executor is given of a call.

use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::call::job::Job;
use crate::call::stage::OnStage;
use crate::nix::receipt::derive;
use crate::nix::run_derivation::CallDerivation;
use crate::sandbox::view::View;
use nix_store::store_path::StorePathError;

/// A call on its way through an executor.
pub struct CallContext<'a> {
    pub job: &'a Job,
    /// What the program sees of the host.
    pub view: &'a Arc<View>,
    /// Is told how far the call has come.
    pub on_stage: OnStage<'a>,
    pub cancelled: &'a CancellationToken,
    derivation: OnceCell<CallDerivation>,
}

impl<'a> CallContext<'a> {
    pub fn new(job: &'a Job, view: &'a Arc<View>, on_stage: OnStage<'a>, cancelled: &'a CancellationToken) -> Self {
        Self { job, view, on_stage, cancelled, derivation: OnceCell::new() }
    }

    /// Returns the call's derivation, which is computed when it is first asked for.
    ///
    /// # Errors
    ///
    /// As those of [`derive`].
    pub async fn derivation(&self) -> Result<&CallDerivation, StorePathError> {
        self.derivation.get_or_try_init(|| derive(self.job)).await
    }
}
