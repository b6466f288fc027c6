//! Which head is meant, and its client.

use std::path::PathBuf;

use lab::Place;
use server::client::Client;

use crate::arguments::HeadChoice;
use crate::surroundings::Surroundings;

/// The head of a machine that is nothing but a head.
const SOCKET: &str = "/var/lib/fledermaus/head.sock";

/// A client of the chosen head: a flag before the environment, that before the default.
pub(crate) fn choose(choice: &HeadChoice, surroundings: &Surroundings) -> Client {
    Client::new(&socket(choice, surroundings))
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
