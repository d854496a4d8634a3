//! The service as its user runs it: the real binary with a configuration file, beside a real OpenLDAP.

mod commands;
mod demo;
mod frontend;
mod facts;
mod feed;
mod fixture;
mod kept;
mod lookup;
mod outage;
mod refusals;
mod reload;
mod shutdown;
mod watches;
