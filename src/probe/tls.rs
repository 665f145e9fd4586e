//! TLS to a target, as a load balancer does it: whatever certificate is presented is taken, and looked at.
//!
//! A load balancer does not check the certificates of targets.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html>

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use webpki::{EndEntityCert, KeyUsage};

use super::{
    ProbeError,
    observed::{Certificate, Tls, TlsFailure},
};

/// A load balancer gives up on a handshake with a target after this. Source: as the connect timeout.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// So many names of a certificate are told.
const MAX_NAMES: usize = 10;

/// Everything that a handshake needs.
#[derive(Clone)]
pub(super) struct Handshakes {
    connector: TlsConnector,
    provider: Arc<CryptoProvider>,
    host: String,
    now: jiff::Timestamp,
}

impl Handshakes {
    /// Handshakes with a host.
    pub(super) fn new(host: &str, now: jiff::Timestamp) -> Result<Self, ProbeError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(TakesAll(Arc::clone(&provider)));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ProbeError::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            provider,
            host: host.to_owned(),
            now,
        })
    }

    /// One handshake.
    pub(super) async fn shake(&self, stream: TcpStream) -> (Tls, Option<TlsStream<TcpStream>>) {
        let name = match ServerName::try_from(self.host.clone()) {
            Ok(name) => name,
            // A name that no certificate can hold: then none is sent.
            Err(_) => match stream.peer_addr() {
                Ok(address) => ServerName::IpAddress(address.ip().into()),
                Err(error) => return (failed(0.0, TlsFailure::Closed, error.to_string()), None),
            },
        };
        let started = Instant::now();
        let done = timeout(HANDSHAKE_TIMEOUT, self.connector.connect(name, stream)).await;
        let seconds = started.elapsed().as_secs_f64();
        match done {
            Err(_) => {
                (failed(seconds, TlsFailure::TimedOut, "no end of it in 10 s".to_owned()), None)
            }
            Ok(Err(error)) => (failed(seconds, failure(&error), error.to_string()), None),
            Ok(Ok(stream)) => {
                let (_, connection) = stream.get_ref();
                let protocol = connection
                    .protocol_version()
                    .and_then(|version| version.as_str())
                    .map(|version| version.replace('_', "."))
                    .unwrap_or_default();
                let cipher = connection
                    .negotiated_cipher_suite()
                    .and_then(|suite| suite.suite().as_str())
                    .unwrap_or_default()
                    .to_owned();
                let certificate = connection
                    .peer_certificates()
                    .and_then(<[_]>::first)
                    .map(|certificate| self.certificate(certificate));
                (Tls::Established { seconds, protocol, cipher, certificate }, Some(stream))
            }
        }
    }

    /// What a certificate says.
    fn certificate(&self, der: &CertificateDer<'_>) -> Certificate {
        let mut said = Certificate {
            names: Vec::new(),
            covers_host: false,
            is_self_signed: false,
            is_expired: false,
            is_not_yet_valid: false,
            not_after: None,
            unreadable: None,
        };
        let (certificate, anchor) =
            match (EndEntityCert::try_from(der), webpki::anchor_from_trusted_cert(der)) {
                (Ok(certificate), Ok(anchor)) => (certificate, anchor),
                (Err(error), _) | (_, Err(error)) => {
                    said.unreadable = Some(error.to_string());
                    return said;
                }
            };
        said.names = certificate.valid_dns_names().take(MAX_NAMES).map(ToOwned::to_owned).collect();
        said.is_self_signed = certificate.subject() == certificate.issuer();
        said.covers_host = ServerName::try_from(self.host.as_str())
            .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok());
        // Nobody asks whether it is trusted: only the time of the certificate matters, which is looked
        // at first. At the end of all times it says when its own ended.
        let at = |seconds: u64| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            certificate
                .verify_for_usage(
                    self.provider.signature_verification_algorithms.all,
                    std::slice::from_ref(&anchor),
                    &[],
                    time,
                    KeyUsage::server_auth(),
                    None,
                    None,
                )
                .err()
        };
        match at(u64::try_from(self.now.as_second()).unwrap_or_default()) {
            Some(webpki::Error::CertExpired { .. }) => said.is_expired = true,
            Some(webpki::Error::CertNotValidYet { .. }) => said.is_not_yet_valid = true,
            _ => {}
        }
        if let Some(webpki::Error::CertExpired { not_after, .. }) = at(u64::MAX / 2) {
            said.not_after = i64::try_from(not_after.as_secs())
                .ok()
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        }
        said
    }
}

fn failed(seconds: f64, failure: TlsFailure, error: String) -> Tls {
    Tls::Failed { seconds, failure, error }
}

/// The TLS library's error inside of an I/O error.
fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn failure(error: &io::Error) -> TlsFailure {
    match inner(error) {
        Some(Error::InvalidMessage(_)) => TlsFailure::NotTls,
        Some(Error::AlertReceived(_)) => TlsFailure::Alert,
        Some(Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::NoCipherSuitesInCommon,
        )) => TlsFailure::NothingInCommon,
        Some(_) => TlsFailure::Other,
        None => TlsFailure::Closed,
    }
}

/// The alert that a target sent in place of a response, in words.
pub(super) fn alert(error: &io::Error) -> Option<String> {
    match inner(error) {
        Some(error @ Error::AlertReceived(_)) => Some(error.to_string()),
        _ => None,
    }
}

/// Whether the host is an address, for which no server name is sent.
pub(super) fn sends_server_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_err()
}

/// Takes every certificate; the signature of the handshake has to be right all the same.
#[derive(Debug)]
struct TakesAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if EndEntityCert::try_from(certificate).is_err() {
            // An odd certificate, such as one of version 1, is no reason for a load balancer.
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if EndEntityCert::try_from(certificate).is_err() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}
