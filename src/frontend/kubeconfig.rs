//! Where a webhook is and how it is spoken to, in the file format that kube-apiserver has for it: a kubeconfig,
//! whose current context names a cluster and a user.
//!
//! Read is what a webhook needs (`k8s.io/client-go/tools/clientcmd/api/v1`): the server, its authority and name, a
//! client certificate, a token. What could weaken or redirect a connection (`insecure-skip-tls-verify`,
//! `proxy-url`, `exec`, `auth-provider`, a user name with a password) is an error and not overlooked. Certificates
//! and keys in files are loaded again while they are in use; the file itself, and that of a token, are read once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;

use crate::document::{self, Diagnostics, Fields, Node, Source as Text, any_list, boolean, text};
use crate::tls::https::Client;
use crate::tls::{ClientContext, ClientMaterial, MinVersion, Source};

/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A webhook: reading it opened no connection.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where requests are posted to.
    pub url: String,
    /// Who trusts the webhook, and shows who we are.
    pub client: Client,
}

/// The file.
#[derive(Debug)]
pub struct Kubeconfig {
    current: String,
    contexts: Vec<(String, Context)>,
    clusters: Vec<(String, Cluster)>,
    users: Vec<(String, User)>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no kubeconfig. All that is wrong, a line each.
    #[error("{0}")]
    Malformed(String),
    /// It says something that a webhook's may not, or does not say something.
    #[error("{path}: {fault}")]
    Fault {
        /// The file.
        path: PathBuf,
        /// What.
        fault: String,
    },
}

#[derive(Debug)]
struct Context {
    cluster: String,
    user: Option<String>,
}

#[derive(Debug, Default)]
struct Cluster {
    server: String,
    tls_server_name: Option<String>,
    ca: Material,
}

#[derive(Debug, Default)]
struct User {
    certificate: Material,
    key: Material,
    token: Option<Secret>,
    token_file: Option<PathBuf>,
}

/// A file, or base64 in the kubeconfig itself, which takes precedence.
#[derive(Debug, Default)]
struct Material {
    file: Option<PathBuf>,
    data: Option<Secret>,
}

/// Text that is not shown.
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Kubeconfig {
    /// Reads a file, and makes of its current context what requests are sent with; `usage` names the client in the log. With it
    /// comes the client's TLS context, whose files can be loaded again ([`watch`](crate::tls::watch)).
    ///
    /// # Errors
    /// Where it cannot be read or used; where its server is not spoken to by HTTPS.
    pub fn read(path: &Path, usage: &'static str) -> Result<(Endpoint, Arc<ClientContext>), KubeconfigError> {
        let bytes =
            read(path).map_err(|error| KubeconfigError::Unreadable { path: path.to_owned(), error })?;
        let this = Self::parse(path, bytes)?;
        this.endpoint(path, usage).map_err(|fault| KubeconfigError::Fault { path: path.to_owned(), fault })
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, KubeconfigError> {
        let sources = [Text::new(path.display().to_string(), bytes)];
        let mut diagnostics = Diagnostics::new(&sources);
        let documents = document::parse(&sources, &mut diagnostics);
        let config = match documents.as_slice() {
            [one] => config(&one.root, &mut diagnostics),
            _ => None,
        };
        match config {
            Some(config) if !diagnostics.has_errors() => Ok(config),
            _ => Err(KubeconfigError::Malformed(faults(path, &diagnostics))),
        }
    }

    fn endpoint(self, path: &Path, usage: &'static str) -> Result<(Endpoint, Arc<ClientContext>), String> {
        let current = &self.current;
        let context = take(self.contexts, current)
            .ok_or_else(|| format!("`current-context` is `{current}`, and there is no such context"))?;
        let cluster = take(self.clusters, &context.cluster)
            .ok_or_else(|| format!("there is no cluster `{}`", context.cluster))?;
        let user = match &context.user {
            Some(name) => take(self.users, name).ok_or_else(|| format!("there is no user `{name}`"))?,
            None => User::default(),
        };
        let url = url(&cluster.server)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let certificate = user.certificate.source("client certificate", folder)?;
        let key = user.key.source("client key", folder)?;
        let pair = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("a client certificate and its key are given together or not at all".to_owned()),
        };
        let material = ClientMaterial {
            ca: cluster.ca.source("certificate authority", folder)?,
            server_name: cluster.tls_server_name,
            pair,
            min_version: MinVersion::Tls12,
        };
        let context =
            ClientContext::from_material(usage, material, None).map_err(|error| error.to_string())?;
        let mut client = Client::new(context.clone());
        if let Some(token) = token(user.token, user.token_file, folder)? {
            client = client.with_bearer_token(&token).map_err(|error| error.to_string())?;
        }
        Ok((Endpoint { url, client }, context))
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read};
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE_BYTES) {
        Ok(bytes)
    } else {
        Err(Error::new(ErrorKind::FileTooLarge, format!("longer than {MAX_FILE_BYTES} bytes")))
    }
}

/// What is wrong, without the text that it is wrong in: that may be a secret.
fn faults(path: &Path, diagnostics: &Diagnostics) -> String {
    let faults: Vec<&str> = diagnostics.items.iter().map(|item| item.message.as_str()).collect();
    match faults.as_slice() {
        [] => format!("{}: must be one document", path.display()),
        faults => format!("{}: {}", path.display(), faults.join("; ")),
    }
}

fn take<T>(named: Vec<(String, T)>, name: &str) -> Option<T> {
    named.into_iter().find_map(|(found, value)| (found == name).then_some(value))
}

/// A webhook's address: HTTPS, and nothing that a request's own query could be confused with.
fn url(server: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("`server` is `{server}`, and must {why}");
    if !server.starts_with("https://") {
        return Err(wrong("begin with `https://`"));
    }
    if server.contains(['?', '#', '@']) || !server.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(wrong("have no user, no query, no fragment, and no spaces"));
    }
    Ok(server.to_owned())
}

fn token(token: Option<Secret>, file: Option<PathBuf>, folder: &Path) -> Result<Option<String>, String> {
    // As `clientcmd` does: the file takes precedence.
    let Some(file) = file else { return Ok(token.map(|Secret(token)| token)) };
    let path = folder.join(file);
    let text = read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = String::from_utf8(text).map_err(|_| format!("{}: is no text", path.display()))?;
    Ok(Some(text.trim().to_owned()))
}

impl Material {
    fn source(self, what: &'static str, folder: &Path) -> Result<Option<Source>, String> {
        if let Some(Secret(data)) = self.data {
            let data: String = data.split_ascii_whitespace().collect();
            let pem = BASE64.decode(data.as_bytes()).map_err(|_| format!("the {what} is no base64"))?;
            return Ok(Some(Source::Memory(what, pem)));
        }
        Ok(self.file.map(|file| Source::File(folder.join(file))))
    }
}

fn config(node: &Node, diagnostics: &mut Diagnostics) -> Option<Kubeconfig> {
    let mut fields = Fields::open(node, diagnostics)?;
    let version = fields.optional("apiVersion", diagnostics, text);
    let kind = fields.optional("kind", diagnostics, text);
    // What only kubectl needs.
    for ignored in ["preferences", "extensions"] {
        fields.node(ignored);
    }
    let current = fields.required("current-context", diagnostics, text);
    let contexts = fields.required("contexts", diagnostics, named("context", context));
    let clusters = fields.required("clusters", diagnostics, named("cluster", cluster));
    let users = match fields.node("users") {
        Some(node) => named("user", user)(node, diagnostics).unwrap_or_default(),
        None => Vec::new(),
    };
    let span = fields.span();
    fields.finish(diagnostics);
    if version.is_some_and(|version| version != "v1") || kind.is_some_and(|kind| kind != "Config") {
        diagnostics.push(document::Diagnostic::error(span, "this is no `Config` of `v1`"));
    }
    Some(Kubeconfig { current: current?, contexts: contexts?, clusters: clusters?, users })
}

/// A list of `{name: ..., KIND: {...}}`.
fn named<T>(
    kind: &'static str,
    decode: fn(&Node, &mut Diagnostics) -> Option<T>,
) -> impl FnMut(&Node, &mut Diagnostics) -> Option<Vec<(String, T)>> {
    any_list(move |node, diagnostics| {
        let mut fields = Fields::open(node, diagnostics)?;
        let name = fields.required("name", diagnostics, text);
        let value = fields.required(kind, diagnostics, decode);
        fields.finish(diagnostics);
        Some((name?, value?))
    })
}

fn context(node: &Node, diagnostics: &mut Diagnostics) -> Option<Context> {
    let mut fields = Fields::open(node, diagnostics)?;
    let cluster = fields.required("cluster", diagnostics, text);
    let user = fields.optional("user", diagnostics, text);
    for ignored in ["namespace", "extensions"] {
        fields.node(ignored);
    }
    fields.finish(diagnostics);
    Some(Context { cluster: cluster?, user })
}

fn cluster(node: &Node, diagnostics: &mut Diagnostics) -> Option<Cluster> {
    let mut fields = Fields::open(node, diagnostics)?;
    let server = fields.required("server", diagnostics, text);
    let cluster = Cluster {
        server: server.unwrap_or_default(),
        tls_server_name: fields.optional("tls-server-name", diagnostics, text),
        ca: material(&mut fields, diagnostics, ["certificate-authority", "certificate-authority-data"]),
    };
    if fields.optional("insecure-skip-tls-verify", diagnostics, boolean) == Some(true) {
        let message = "`insecure-skip-tls-verify` is not for a webhook that decides who may do what";
        diagnostics.push(document::Diagnostic::error(fields.span(), message));
    }
    for ignored in ["extensions", "disable-compression"] {
        fields.node(ignored);
    }
    fields.finish(diagnostics);
    Some(cluster)
}

fn user(node: &Node, diagnostics: &mut Diagnostics) -> Option<User> {
    // `{}`: nobody in particular.
    if matches!(&node.value, document::Value::Mapping(entries) if entries.is_empty()) {
        return Some(User::default());
    }
    let mut fields = Fields::open(node, diagnostics)?;
    let user = User {
        certificate: material(&mut fields, diagnostics, ["client-certificate", "client-certificate-data"]),
        key: material(&mut fields, diagnostics, ["client-key", "client-key-data"]),
        token: fields.optional("token", diagnostics, text).map(Secret),
        token_file: fields.optional("tokenFile", diagnostics, text).map(PathBuf::from),
    };
    fields.node("extensions");
    fields.finish(diagnostics);
    Some(user)
}

fn material(
    fields: &mut Fields<'_>,
    diagnostics: &mut Diagnostics,
    [file, data]: [&'static str; 2],
) -> Material {
    Material {
        file: fields.optional(file, diagnostics, text).map(PathBuf::from),
        data: fields.optional(data, diagnostics, text).map(Secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Authority;

    struct Fixture {
        folder: tempfile::TempDir,
        authority: Authority,
    }

    impl Fixture {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new("ca").unwrap() }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn read(&self, cluster: &str, user: &str) -> Result<Endpoint, KubeconfigError> {
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: webhook\n\
                 contexts: [{{name: other, context: {{cluster: none, user: none}}}}, \
                            {{name: webhook, context: {{cluster: c, user: u}}}}]\n\
                 clusters: [{{name: c, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
            );
            Kubeconfig::read(&self.write("config", &text), "test").map(|(endpoint, _)| endpoint)
        }
    }

    #[test]
    fn files_beside_the_kubeconfig_and_data_within_it_make_a_client() {
        let fixture = Fixture::new();
        fixture.write("ca.crt", fixture.authority.ca_pem());
        let client = fixture.authority.client("apiserver", &[]).unwrap();
        fixture.write("client.crt", &client.cert_pem);
        fixture.write("client.key", &client.key_pem);
        fixture.write("token", "s3cret\n");
        let encoded = |text: &str| BASE64.encode(text.as_bytes());
        let data = format!(
            "client-certificate-data: {}, client-key-data: {}",
            encoded(&client.cert_pem),
            encoded(&client.key_pem)
        );
        let ca_data = format!("certificate-authority-data: {}", encoded(fixture.authority.ca_pem()));
        for (ca, user) in [
            ("certificate-authority: ca.crt", "client-certificate: client.crt, client-key: client.key"),
            (ca_data.as_str(), data.as_str()),
            ("tls-server-name: hook.example", "tokenFile: token"),
            ("certificate-authority: ca.crt", "token: s3cret"),
            ("certificate-authority: ca.crt", ""),
        ] {
            let server = "server: \"https://hook.example:8443/authorize\"";
            let endpoint = fixture.read(&format!("{server}, {ca}"), user).unwrap();
            assert_eq!(endpoint.url, "https://hook.example:8443/authorize");
            assert!(!format!("{endpoint:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_would_weaken_or_redirect_a_connection_is_an_error() {
        let fixture = Fixture::new();
        let good = "server: \"https://hook.example/\"";
        for (cluster, user, why) in [
            ("server: \"http://hook.example/\"", "", "https://"),
            ("server: \"http://127.0.0.1/\"", "", "https://"),
            ("server: \"https://hook.example/?a=b\"", "", "no query"),
            ("server: \"https://user@hook.example/\"", "", "no user"),
            ("server: \"https://h/\", insecure-skip-tls-verify: true", "", "insecure-skip-tls-verify"),
            ("server: \"https://h/\", proxy-url: \"http://p/\"", "", "proxy-url"),
            (good, "exec: {command: x}", "exec"),
            (good, "username: a, password: s3cret", "username"),
            (good, "client-certificate-data: \"?s3cret\", client-key-data: \"\"", ""),
            (good, "client-certificate: client.crt", "together"),
            (good, "tokenFile: none", "none"),
            ("certificate-authority: none, server: \"https://h/\"", "", "none"),
            ("tls-server-name: x", "", "server"),
        ] {
            let error = fixture.read(cluster, user).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_context_a_cluster_and_a_user_that_are_named_must_be_there() {
        let fixture = Fixture::new();
        for text in [
            "current-context: a\ncontexts: []\nclusters: []\n",
            "current-context: a\ncontexts: [{name: a, context: {cluster: b}}]\nclusters: []\n",
            "current-context: a\ncontexts: [{name: a, context: {cluster: b, user: u}}]\n\
             clusters: [{name: b, cluster: {server: \"https://h/\"}}]\n",
            "contexts: []\nclusters: []\n",
            "kind: Pod\ncurrent-context: a\ncontexts: []\nclusters: []\n",
            "",
            "---\na: b\n---\nc: d\n",
        ] {
            assert!(Kubeconfig::read(&fixture.write("config", text), "test").is_err(), "{text}");
        }
        assert!(Kubeconfig::read(&fixture.folder.path().join("none"), "test").is_err());
    }
}
