//! HTTP/1.1, by actix.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Request};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, fn_service, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use actix_web::web::ServiceConfig;
use futures_util::future::LocalBoxFuture;

use super::activity::{Connected, Transport};
use super::answer::{Services, answer};
use super::{HEAD_TIMEOUT, KEEP_ALIVE};

/// How long closing a connection may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Builds the application, and HTTP/1.1 over it.
pub(super) async fn service<F>(configure: F) -> io::Result<Services>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let factory = map_config(App::new().configure(|config| configure(config)), |()| AppConfig::default());
    let app = factory
        .into_factory()
        .new_service(())
        .await
        .map_err(|()| io::Error::other("the application cannot be built"))?;
    let app = actix_service::boxed::rc_service(app);

    // actix asks for the signal once for each connection, while it is being handed over: `draining` is the connection's.
    let draining: Rc<Cell<Option<LocalBoxFuture<'static, ()>>>> = Rc::default();
    let next_draining = draining.clone();
    let app_of_requests = app.clone();
    let http1 = HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A client that left does not read its answer: its request is given up.
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(move || {
            next_draining.take().unwrap_or_else(|| Box::pin(std::future::pending()))
        })
        .on_connect_ext(|transport: &Transport, data| {
            data.insert(transport.connected.clone());
        })
        .h1(fn_service(move |request: Request| {
            let app = app_of_requests.clone();
            async move {
                let connected = request.conn_data::<Connected>().cloned();
                match connected {
                    Some(connected) => Ok(answer(app, request, connected).await),
                    None => Err(actix_web::error::ErrorInternalServerError("a request of no connection")),
                }
            }
        }))
        .new_service(())
        .await
        .map_err(|()| io::Error::other("HTTP/1.1 cannot be set up"))?;

    let http1 = Rc::new(http1);
    let serve = move |transport: Transport, drain: LocalBoxFuture<'static, ()>| {
        let address = transport.connected.peer.address;
        draining.set(Some(drain));
        let connection = http1.call((transport, Some(address)));
        let served: LocalBoxFuture<'static, ()> = Box::pin(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "connection ended");
            }
        });
        served
    };
    Ok(Services { app, http1: Rc::new(serve) })
}
