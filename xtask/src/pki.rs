//! Certificates: a certificate authority and what it signs.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::cache;

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

impl Pair {
    /// Writes `<name>.crt` and `<name>.key` into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        cache::write(&folder.join(format!("{name}.crt")), &self.certificate)?;
        cache::write(&folder.join(format!("{name}.key")), &self.key)
    }
}

/// A certificate authority of our own.
pub struct Authority {
    /// The authority's certificate, PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Creates an authority with a new key.
    pub fn create(name: &str) -> Result<Self> {
        let key = new_key()?;
        let mut params = params(name, &[], &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context("failed to sign a certificate authority")?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Signs a certificate that serves both as a server's, for these names and addresses, and as a client's.
    pub fn sign(&self, name: &str, groups: &[&str], hosts: &[String]) -> Result<Pair> {
        let key = new_key()?;
        let mut params = params(name, groups, hosts)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("failed to sign the certificate of {name}"))?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A new private key for signing tokens and the public key that checks them, both PEM.
pub fn signing_keys() -> Result<(String, String)> {
    let key = new_key()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn new_key() -> Result<KeyPair> {
    KeyPair::generate().context("failed to generate a key")
}

fn params(name: &str, groups: &[&str], hosts: &[String]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts.to_vec())
        .with_context(|| format!("failed to name the hosts of the certificate of {name}"))?;
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    Ok(params)
}
