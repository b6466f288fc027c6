//! What is wished of nodes, who waits to become one, and what user data was before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Mac};

/// A machine that waits for approval, as `GET /v1/waiting` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WaitingView {
    /// Its hardware address.
    pub mac: Mac,
    /// When it was first heard since the head started, milliseconds since 1970.
    pub first_ms: u64,
    /// When it was last heard, milliseconds since 1970.
    pub seen_ms: u64,
}

/// Wishes for a node, as `PATCH /v1/nodes/{name}` takes them: keys as in `[[node]]`, labels as `label.NAME`; null takes one
/// back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NodeSet {
    /// The wishes.
    pub set: BTreeMap<String, Option<String>>,
}

/// One wish that changed, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeChange {
    /// The node, or `group` and its name; empty: the whole cluster.
    pub node: String,
    /// What of it.
    pub key: String,
    /// What it was; absent: nothing.
    pub from: Option<String>,
    /// What it is; absent: nothing.
    pub to: Option<String>,
}

/// What `POST /v1/apply` did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ApplyView {
    /// What changed, or would.
    pub changes: Vec<NodeChange>,
    /// The parts of the file that changed and are read only when the head starts.
    pub restart: Vec<String>,
}

/// An image that the head serves, as `GET /v1/images` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImageView {
    /// Its name in cluster.toml; `default` is that of all nodes for which no other is wished. Absent: it was replaced, and is
    /// kept for nodes that were told of it.
    pub name: Option<String>,
    /// SHA-256 of its manifest.
    pub id: Digest,
    /// The name of its recipe.
    pub recipe: String,
    /// Version of its kernel, as `uname -r` prints it.
    pub kernel_version: String,
    /// SHA-256 of its system image.
    pub system: Digest,
    /// Size of its kernel in bytes, compressed.
    pub kernel_bytes: u64,
    /// Size of its initramfs in bytes.
    pub initramfs_bytes: u64,
    /// Size of its system image in bytes.
    pub system_bytes: u64,
    /// Whether boards without a card can boot it.
    pub has_firmware: bool,
    /// How many nodes were last told to boot it.
    pub nodes: usize,
}

/// A template of user data, as `GET /v1/user-data` lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateView {
    /// The file's name in the user data directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The nodes whose user data it is; others may include it.
    pub nodes: u64,
    /// Whether it is the own one of a node, which has the file's name without `.sh`.
    pub own: bool,
}

/// A version of user data, as `GET /v1/user-data/{name}/history` lists it, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserDataVersion {
    /// Its number, rising.
    pub version: u64,
    /// When it was set, milliseconds since 1970.
    pub at_ms: u64,
    /// By whom; `file` if it was found so, changed by no operator.
    pub who: String,
    /// From where.
    pub from: String,
    /// Its length.
    pub bytes: u64,
}
