//! STUB until the projector lands.
#![allow(missing_docs, clippy::unused_async)]
pub struct Sinks {
    pub stdout: bool,
    pub file: Option<std::path::PathBuf>,
    pub rotate_size: Option<u64>,
    pub keep: usize,
}
pub struct Projector;
impl Projector {
    pub fn start(_l: std::sync::Arc<dyn crate::effect::Ledger>, _s: Sinks) -> Self {
        Self
    }
    pub async fn drain(self, _t: std::time::Duration) {}
}
