//! The one TLS provider.

/// Makes ring the process-wide default provider of rustls. Every `main` calls this before anything else.
///
/// Calling it again changes nothing. A dependency may link a second provider; without this call rustls
/// could not choose between them and would panic at the first handshake.
pub fn install_crypto_provider() {
    // The only error is "already installed", which is what we want.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}
