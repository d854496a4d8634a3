//! The service from outside: real sockets, real certificates.

mod serving;
