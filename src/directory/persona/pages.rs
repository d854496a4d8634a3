//! Paged results (RFC 2696) of one connection.

use std::collections::HashMap;

use super::controls::{self, Paged};
use super::manner::{Manner, PageCookies};
use super::reply::{Outcome, Reply};

/// What is left of the paged searches of a connection, by their cookies.
#[derive(Debug, Default)]
pub(super) struct Pages {
    left: HashMap<Vec<u8>, Vec<Reply>>,
    cookies: u64,
}

impl Pages {
    /// The first page of a search that was answered so.
    pub(super) fn first(&mut self, paged: &Paged, replies: Vec<Reply>, manner: &Manner) -> Vec<Reply> {
        if manner.one_paged_search {
            self.left.clear();
        }
        self.page(paged, replies, manner)
    }

    /// The page after that with this cookie.
    pub(super) fn next(&mut self, paged: &Paged, manner: &Manner) -> Vec<Reply> {
        match self.left.remove(&paged.cookie) {
            Some(_) if paged.size == 0 => vec![Reply::Done(Outcome::success().with(controls::paged(b"")))],
            Some(replies) => self.page(paged, replies, manner),
            None => vec![Reply::Done(Outcome::new(53, "paged results cookie is invalid or old"))],
        }
    }

    fn page(&mut self, paged: &Paged, mut replies: Vec<Reply>, manner: &Manner) -> Vec<Reply> {
        let size = paged.size.min(manner.max_page_size.unwrap_or(usize::MAX)).max(1);
        let entries = replies.iter().filter(|reply| matches!(reply, Reply::Entry { .. })).count();
        if entries <= size {
            if let Some(Reply::Done(outcome)) = replies.last_mut()
                && outcome.code == 0
            {
                outcome.controls.push(controls::paged(b""));
            }
            return replies;
        }
        let rest = replies.split_off(size);
        let is_later = !paged.cookie.is_empty() && manner.page_cookies != PageCookies::New;
        let cookie = if is_later { paged.cookie.clone() } else { self.cookie() };
        let left =
            if manner.page_cookies == PageCookies::Endless { [&*replies, &*rest].concat() } else { rest };
        self.left.insert(cookie.clone(), left);
        replies.push(Reply::Done(Outcome::success().with(controls::paged(&cookie))));
        replies
    }

    /// Eight octets, as OpenLDAP's are, but never the same twice.
    fn cookie(&mut self) -> Vec<u8> {
        self.cookies += 1;
        self.cookies.to_le_bytes().to_vec()
    }
}
