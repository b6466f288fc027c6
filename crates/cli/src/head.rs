//! Which head is meant, and its client.

use std::path::PathBuf;

use lab::Place;
use server::client::{Client, Remote};

use crate::arguments::HeadChoice;
use crate::surroundings::Surroundings;

/// The head of a machine that is nothing but a head.
const SOCKET: &str = "/var/lib/fledermaus/head.sock";

/// A client of the chosen head: a flag before the environment, that before the default.
///
/// # Errors
/// The address or the token is none.
pub(crate) fn choose(choice: &HeadChoice, surroundings: &Surroundings) -> anyhow::Result<Client> {
    let is_local = choice.socket.is_some() || choice.lab.is_some();
    let url = choice.url.as_ref().or(surroundings.url.as_ref().filter(|_| !is_local));
    let Some(url) = url else { return Ok(Client::new(&socket(choice, surroundings))) };
    let token = choice.token.as_ref().or(surroundings.token.as_ref());
    Ok(Client::remote(Remote::parse(url, token.map_or("", String::as_str))?))
}

fn socket(choice: &HeadChoice, surroundings: &Surroundings) -> PathBuf {
    if let Some(socket) = &choice.socket {
        return socket.clone();
    }
    if let Some(name) = &choice.lab {
        return Place::new(&surroundings.labs, name.clone()).head_socket();
    }
    surroundings.socket.clone().unwrap_or_else(|| PathBuf::from(SOCKET))
}
