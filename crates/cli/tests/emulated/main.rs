//! The whole promise in the lab, each a file: [`promise`], [`rack`], [`outages`], [`five`], [`thirty`], [`pi3`],
//! [`card`], [`scripts`], [`wire`], [`killed`] and [`ends`].
//!
//! Needs an image (`make image`); `FLEDERMAUS_IMAGE` names its directory. Nothing is faked: U-Boot, kernel, Docker.

#![allow(clippy::unwrap_used)]

mod card;
mod ends;
mod five;
mod killed;
mod load;
mod outages;
mod pi3;
mod promise;
mod rack;
mod room;
mod scripts;
mod seen;
mod thirty;
mod wire;
