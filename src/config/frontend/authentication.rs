//! `authentication`: who is let in, and how they show who they are.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Paths, People, people};
use crate::document::{Diagnostic, Diagnostics, Fields, Node, boolean, duration, list, text};
use crate::frontend::authn::{
    DEFAULT_CACHE, DEFAULT_MAX_EXPIRATION, Issuer, RequestHeaderSettings, ServiceAccountSettings, Settings,
    SigningKeySource, TokenReviewSettings,
};

pub(super) fn authentication(
    node: &Node,
    paths: &Paths,
    diagnostics: &mut Diagnostics,
) -> Option<(Settings, Option<People>)> {
    let mut fields = Fields::open(node, diagnostics)?;
    let path = |node: &Node, diagnostics: &mut Diagnostics| paths.decode(node, diagnostics);
    let client_ca_file = fields.optional("clientCAFile", diagnostics, path);
    let token_file = fields.optional("tokenFile", diagnostics, path);
    let request_header = fields.optional("requestHeader", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let ca_file = fields.required("caFile", diagnostics, path);
        let allowed_names = fields.optional("allowedNames", diagnostics, list(text));
        fields.finish(diagnostics);
        Some(RequestHeaderSettings { ca_file: ca_file?, allowed_names: allowed_names.unwrap_or_default() })
    });
    let service_accounts = fields.optional("serviceAccounts", diagnostics, |node, diagnostics| {
        service_accounts(node, paths, diagnostics)
    });
    let token_review = fields.optional("tokenReview", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let kubeconfig = fields.required("kubeconfigFile", diagnostics, path);
        let audiences = fields.optional("audiences", diagnostics, list(text));
        let cache = fields.optional("cacheTTL", diagnostics, duration);
        fields.finish(diagnostics);
        let cache = cache.map_or(DEFAULT_CACHE, signed);
        Some(TokenReviewSettings { kubeconfig: kubeconfig?, audiences: audiences.unwrap_or_default(), cache })
    });
    let directory = fields.optional("basic", diagnostics, |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let directory =
            fields.required("directory", diagnostics, |node, diagnostics| people(node, paths, diagnostics));
        fields.finish(diagnostics);
        directory
    });
    let anonymous = fields.optional("anonymous", diagnostics, boolean);
    let source_address_key = fields.optional("sourceAddressKey", diagnostics, text);
    let mut ways =
        ["clientCAFile", "tokenFile", "requestHeader", "serviceAccounts", "tokenReview", "basic"].into_iter();
    let is_nobody = !ways.any(|name| fields.key(name).is_some());
    let anonymous = anonymous.unwrap_or(false);
    if is_nobody && !anonymous {
        let message = "nobody could show who they are, and nobody is let in without";
        diagnostics.push(Diagnostic::error(node.span, message).help("set one of them, or `anonymous: true`"));
    }
    fields.finish(diagnostics);
    let settings = Settings {
        client_ca_file,
        request_header,
        token_file,
        service_accounts,
        token_review,
        basic: directory.is_some(),
        anonymous,
        source_address_key,
    };
    Some((settings, directory))
}

fn service_accounts(
    node: &Node,
    paths: &Paths,
    diagnostics: &mut Diagnostics,
) -> Option<ServiceAccountSettings> {
    let mut fields = Fields::open(node, diagnostics)?;
    let path = |node: &Node, diagnostics: &mut Diagnostics| paths.decode(node, diagnostics);
    let url = fields.required("issuer", diagnostics, text);
    let audiences = fields.optional("audiences", diagnostics, list(text));
    let signing_key = fields.optional("signingKeyFile", diagnostics, path);
    let key_files = fields.optional("keyFiles", diagnostics, list(path));
    let longest = fields.optional("maxExpiration", diagnostics, duration);
    let jwks_uri = fields.optional("jwksURI", diagnostics, text);
    fields.finish(diagnostics);
    let url = url?;
    Some(ServiceAccountSettings {
        issuer: Issuer {
            audiences: audiences.unwrap_or_else(|| vec![url.clone()]),
            url,
            max_expiration: longest.map_or(DEFAULT_MAX_EXPIRATION, signed),
            jwks_uri,
        },
        signing_key: signing_key.map_or(SigningKeySource::Ephemeral, SigningKeySource::File),
        key_files: key_files.unwrap_or_default(),
    })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
