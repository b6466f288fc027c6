//! Where a node is by its name and by its tokens: with ten thousand of them nobody is looked for one by one.

use std::collections::HashMap;

use cluster::{Digest, Mac, NodeName};

use crate::head::node::{Node, Remembered};

/// Names and tokens. Kept when a node is remembered; whoever finds a node by it looks at the node itself.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: HashMap<NodeName, Mac>,
    tokens: HashMap<Digest, Mac>,
    of: HashMap<Mac, (NodeName, [Option<Digest>; 3])>,
}

impl Index {
    /// The index of all nodes.
    pub(super) fn of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let mut index = Self::default();
        nodes.for_each(|node| index.keep(&node.kept));
        index
    }

    /// A node's name or tokens may be new.
    pub(super) fn keep(&mut self, node: &Remembered) {
        let tokens = [node.token_hash, node.offered_hash, node.successor_hash];
        if self.of.get(&node.mac).is_some_and(|(name, known)| *name == node.name && *known == tokens) {
            return;
        }
        self.forget(node.mac);
        self.names.insert(node.name.clone(), node.mac);
        self.tokens.extend(tokens.into_iter().flatten().map(|token| (token, node.mac)));
        self.of.insert(node.mac, (node.name.clone(), tokens));
    }

    /// A node is no more.
    pub(super) fn forget(&mut self, mac: Mac) {
        let Some((name, tokens)) = self.of.remove(&mac) else { return };
        if self.names.get(&name) == Some(&mac) {
            self.names.remove(&name);
        }
        for token in tokens.into_iter().flatten() {
            self.tokens.remove(&token);
        }
    }

    /// Who has a name.
    pub(super) fn named(&self, name: &NodeName) -> Option<Mac> {
        self.names.get(name).copied()
    }

    /// Whose a token is.
    pub(super) fn bearer(&self, token: &Digest) -> Option<Mac> {
        self.tokens.get(token).copied()
    }
}
