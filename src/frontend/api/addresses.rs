//! Gives services their addresses and the ports of nodes: each to one alone.
//!
//! Semantics: `k8s.io/kubernetes/pkg/registry/core/service/storage/alloc.go`. Which one a service gets is made from its name,
//! so that it is the same each time, as long as nobody else has it. Smaller: they are given when the service is stored, so
//! that admission does not see them yet.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use super::kinds::service::{
    CLUSTER_NET, MAX_NODE_PORT, MIN_NODE_PORT, has_node_ports, is_external_name, is_headless, node_port,
};
use super::meta::{self, items, text_at};
use crate::frontend::resources::{self, ResourceType};
use crate::frontend::status::{ApiError, Cause, CauseKind};
use crate::frontend::storage::{Object, Storage};

/// How many services can have an address: all of 10.96.0.0/16 but its first and last.
const ADDRESSES: u32 = 65_534;

/// Where addresses are given, one after the other.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<()>);

/// An object with all that was given to it. Nothing is given to another one before this is dropped, so that it is to be
/// stored until then.
pub(super) struct Given<'a> {
    /// The object.
    pub(super) object: Value,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl Addresses {
    /// Gives an object what it has to have, if it is a service.
    ///
    /// # Errors
    /// 422 where it asks for what another one has; 500 where nothing is left.
    pub(super) async fn give(
        &self,
        storage: &Storage,
        kind: &ResourceType,
        object: Value,
    ) -> Result<Given<'_>, ApiError> {
        let mut object = object;
        if kind.kind != "Service" {
            return Ok(Given { object, _turn: None });
        }
        let turn = self.0.lock().await;
        assign(storage, kind, &mut object)?;
        Ok(Given { object, _turn: Some(turn) })
    }
}

/// [`Addresses::give`] before requests come.
pub(in crate::frontend) fn assign(
    storage: &Storage,
    kind: &ResourceType,
    service: &mut Value,
) -> Result<(), ApiError> {
    let Some(services) = resources::find("", "services").filter(|services| *services == kind) else {
        return Ok(());
    };
    let is_itself = |other: &Object| {
        ["namespace", "name"].iter().all(|field| meta::text(other, field) == meta::text(service, field))
    };
    let others = || storage.list(services, None).items.into_iter().filter(|other| !is_itself(other));
    let others: Vec<Object> = others().collect();
    address(kind, service, &others)?;
    node_ports(kind, service, &others)
}

fn address(kind: &ResourceType, service: &mut Value, others: &[Object]) -> Result<(), ApiError> {
    if is_external_name(service) {
        return Ok(());
    }
    let wanted = text_at(service, "/spec/clusterIP").to_owned();
    if !is_headless(service) {
        let taken: BTreeSet<&str> = others.iter().map(|other| text_at(other, "/spec/clusterIP")).collect();
        if !wanted.is_empty() && taken.contains(&*wanted) {
            let why = format!("failed to allocate IP {wanted}: provided IP is already allocated");
            return Err(taken_by_another(kind, service, "spec.clusterIPs", &format!("[{wanted:?}]: {why}")));
        }
        if wanted.is_empty() {
            let free = around(seed(service), ADDRESSES).map(ip).find(|ip| !taken.contains(&**ip));
            let free =
                free.ok_or_else(|| ApiError::internal("all addresses of the cluster are given away"))?;
            meta::set_in(service, "spec", "clusterIP", free);
        }
    }
    let address = text_at(service, "/spec/clusterIP").to_owned();
    meta::set_in(service, "spec", "clusterIPs", json!([address]));
    Ok(())
}

fn node_ports(kind: &ResourceType, service: &mut Value, others: &[Object]) -> Result<(), ApiError> {
    let mut taken: BTreeSet<i64> =
        others.iter().flat_map(|other| items(other, "/spec/ports")).map(node_port).collect();
    for port in items(service, "/spec/ports").map(node_port).filter(|port| *port != 0) {
        if !taken.insert(port) {
            let why = format!("{port}: provided port is already allocated");
            return Err(taken_by_another(kind, service, "spec.ports.nodePort", &why));
        }
    }
    if !has_node_ports(service) {
        return Ok(());
    }
    let (seed, count) = (seed(service), MAX_NODE_PORT.saturating_sub(MIN_NODE_PORT).saturating_add(1));
    let count = u32::try_from(count).unwrap_or_default();
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter(|port| node_port(port) == 0) {
        let mut ports = around(seed, count).map(|nth| MIN_NODE_PORT.saturating_add(nth.into()));
        let free = ports.find(|port| !taken.contains(port));
        let free = free.ok_or_else(|| ApiError::internal("all ports of the nodes are given away"))?;
        taken.insert(free);
        if let Some(fields) = port.as_object_mut() {
            fields.insert("nodePort".to_owned(), free.into());
        }
    }
    Ok(())
}

fn taken_by_another(kind: &ResourceType, service: &Value, field: &str, why: &str) -> ApiError {
    let cause = Cause::new(CauseKind::Invalid, field, why);
    ApiError::invalid(kind, meta::text(service, "name"), &[cause])
}

/// Where the search for something free begins, which depends on the name alone.
fn seed(service: &Value) -> u32 {
    let name = format!("{}/{}", meta::text(service, "namespace"), meta::text(service, "name"));
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(4).fold(0, |seed, byte| seed << 8 | u32::from(*byte))
}

/// All numbers below `count`, from `seed` on and then from the beginning.
fn around(seed: u32, count: u32) -> impl Iterator<Item = u32> {
    let start = seed.checked_rem(count).unwrap_or_default();
    (start..count).chain(0..start)
}

/// The address of this number; the first is 10.96.0.1.
fn ip(nth: u32) -> String {
    let [first, second] = CLUSTER_NET;
    let [_, _, third, fourth] = nth.saturating_add(1).to_be_bytes();
    Ipv4Addr::new(first, second, third, fourth).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, address: &str) -> Value {
        json!({
            "metadata": {"namespace": "a", "name": name},
            "spec": {"type": "NodePort", "clusterIP": address, "ports": [{"port": 80}, {"port": 81}]},
        })
    }

    #[tokio::test]
    async fn who_finds_its_place_taken_gets_the_next_one() {
        let services = resources::find("", "services").unwrap();
        let (storage, mut first) = (Storage::new(), service("web", ""));
        assign(&storage, services, &mut first).unwrap();
        let (address, ports) = (first["spec"]["clusterIP"].clone(), first["spec"]["ports"].clone());
        assert_ne!(ports[0]["nodePort"], ports[1]["nodePort"]);
        // Another one has all of that already.
        first["metadata"]["name"] = "other".into();
        storage.create(services, "a", "other", first).await.unwrap();
        let mut second = service("web", "");
        assign(&storage, services, &mut second).unwrap();
        assert_ne!(second["spec"]["clusterIP"], address);
        for port in second["spec"]["ports"].as_array().unwrap() {
            assert!(!ports.as_array().unwrap().iter().any(|taken| taken["nodePort"] == port["nodePort"]));
        }
        let mut thief = service("thief", address.as_str().unwrap());
        assert_eq!(assign(&storage, services, &mut thief).unwrap_err().code, 422);
        let mut thief = service("thief", "");
        thief["spec"]["ports"][0]["nodePort"] = ports[0]["nodePort"].clone();
        assert_eq!(assign(&storage, services, &mut thief).unwrap_err().code, 422);
    }

    #[test]
    fn every_place_is_looked_at_once() {
        let all: BTreeSet<u32> = around(7, 10).collect();
        assert_eq!((all.len(), around(7, 10).count(), around(7, 10).next()), (10, 10, Some(7)));
        assert_eq!((ip(0), ip(ADDRESSES - 1)), ("10.96.0.1".to_owned(), "10.96.255.254".to_owned()));
    }
}
