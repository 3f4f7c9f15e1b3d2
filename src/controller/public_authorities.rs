//! The public certificate authorities that the operator itself trusts: those of its image.

use tokio::{sync::OnceCell, task::spawn_blocking};

use crate::search::system_authorities;

/// Read once, when they are first needed.
#[derive(Default)]
pub struct PublicAuthorities(OnceCell<Vec<Vec<u8>>>);

impl PublicAuthorities {
    /// These (DER), instead of the image's.
    pub fn of(certificates: Vec<Vec<u8>>) -> PublicAuthorities {
        PublicAuthorities(OnceCell::new_with(Some(certificates)))
    }

    /// As certificates (DER); none where the image has none.
    pub async fn get(&self) -> &[Vec<u8>] {
        // Some hundred certificates are read and parsed.
        let read = self.0.get_or_try_init(|| spawn_blocking(system_authorities)).await;
        read.map(Vec::as_slice).unwrap_or_default()
    }
}
