//! The stage behind a listener: what a client shows on the wire is what the authenticators see.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};

use super::*;
use crate::server::{self, ListenerSettings, serve};
use crate::tls::https::Client;
use crate::tls::{ClientContext, MinVersion, ServerContext};

async fn whoami(request: HttpRequest, authenticators: web::Data<Authenticators>) -> HttpResponse {
    let peer = server::peer(&request).unwrap();
    let head = Head { headers: request.headers(), peer: &peer, query: &[] };
    match authenticators.authenticate(&head, now()).await.who {
        Some(found) => HttpResponse::Ok().body(format!("{} by {}", found.subject.user, found.method)),
        None => HttpResponse::Unauthorized().finish(),
    }
}

#[tokio::test]
async fn a_client_is_known_by_what_it_shows_on_its_connection_and_in_its_request() {
    let Fixture { users, proxies: _, authenticators, _folder } = Fixture::new();
    let authority = Authority::new("server").unwrap();
    let localhost = Ipv4Addr::LOCALHOST;
    let identity = authority.server(&["localhost"], &[localhost.into()]).unwrap();
    let stranger = Authority::new("users").unwrap().client("ada", &["system:masters"]).unwrap();
    let ada = users.client("ada", &[]).unwrap();
    let authenticators = web::Data::new(authenticators);
    for version in [MinVersion::Tls12, MinVersion::Tls13] {
        let tls = ServerContext::asking_from_pem("test", &identity, version).unwrap();
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let shared = authenticators.clone();
        let configure = move |config: &mut web::ServiceConfig| {
            config.app_data(shared.clone()).route("/whoami", web::get().to(whoami));
        };
        let listener = ListenerSettings::new("whoami", SocketAddr::from((localhost, 0)));
        let running = serve(listener, Some(tls), configure, stopped).unwrap();
        let url = format!("https://{}/whoami", running.address);
        let said = async |identity: Option<&Identity>, token: Option<&str>| {
            let context = ClientContext::from_pem("test", authority.ca_pem(), identity, version).unwrap();
            let mut client = Client::new(context);
            if let Some(token) = token {
                client = client.with_bearer_token(token).unwrap();
            }
            let answer = client.get(&url, Instant::now() + Duration::from_secs(20)).await.unwrap();
            (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
        };
        assert_eq!(said(None, None).await, (200, "system:anonymous by anonymous".to_owned()));
        assert_eq!(said(Some(&ada), None).await, (200, "ada by client certificate".to_owned()));
        assert_eq!(said(Some(&stranger), None).await, (401, String::new()));
        let by_token = (200, "bob by static token file".to_owned());
        assert_eq!(said(Some(&stranger), Some("static")).await, by_token);
        assert_eq!(said(None, Some("static")).await, by_token);
        assert_eq!(said(None, Some("nonsense")).await, (401, String::new()));
    }
}
