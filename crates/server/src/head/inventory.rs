//! Operators change the inventory: nodes are approved, named, set, labelled, forgotten; cluster.toml is applied anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use cluster::view::{ApplyView, ImageView, NodeChange, WaitingView};
use cluster::{Digest, Mac};

use super::Head;
use super::access::Refusal;
use super::news::Topic;
use super::node::Node;
use super::operator::no_node;
use super::state::State;
use super::wishes::{self, Groups, Wishes};
use crate::access::Principal;
use crate::artefacts::{DEFAULT, Images};
use crate::config::{Boot, Change, RESERVED_NAMES, Settings};
use crate::store::Write;

/// The most machines that wait for approval; who comes later is not noted.
pub(super) const WAITING_LIMIT: usize = 256;

impl Head {
    /// Changes what is wished of a node; `None` takes a wish back.
    pub(crate) async fn set_node(
        &self,
        who: Principal,
        name: String,
        set: BTreeMap<String, Option<String>>,
    ) -> Result<Vec<NodeChange>, Refusal> {
        self.change(move |state| state.set_node(&who, &name, &set)).await
    }

    /// Makes a machine a node that waits, or that is yet to come.
    pub(crate) async fn approve(&self, who: Principal, mac: Mac) -> Result<(), Refusal> {
        self.change(move |state| state.approve(&who, mac)).await
    }

    /// Forgets a node: its name, timeline, tokens, and the history of its user data. The template itself is the name's, and stays.
    pub(crate) async fn forget(&self, who: Principal, name: String) -> Result<(), Refusal> {
        self.change(move |state| state.forget(&who, &name)).await
    }

    /// The machines that wait for approval.
    pub(crate) async fn waiting(&self) -> Vec<WaitingView> {
        self.ask(|state| state.waiting.values().cloned().collect()).await.unwrap_or_default()
    }

    /// Has all that a configuration says be so, with its images, or tells what would change.
    pub(crate) async fn apply(
        &self,
        who: Principal,
        settings: Settings,
        images: Images,
        dry_run: bool,
    ) -> Result<ApplyView, Refusal> {
        let served = self.images.clone();
        let apply = move |state: &mut State| {
            let view = state.apply(&who, settings, images, dry_run);
            served.send_replace(Arc::new(state.images.clone()));
            Ok(view)
        };
        self.change(apply).await
    }

    /// The images that are served, and how many nodes have which.
    pub(crate) async fn image_views(&self) -> Vec<ImageView> {
        self.ask(|state| state.image_views()).await.unwrap_or_default()
    }

    /// Every node that is named or set, as tables of cluster.toml.
    pub(crate) async fn export(&self) -> String {
        self.ask(|state| state.export()).await.unwrap_or_default()
    }
}

impl State {
    pub(super) fn set_node(
        &mut self,
        who: &Principal,
        name: &str,
        set: &BTreeMap<String, Option<String>>,
    ) -> Result<Vec<NodeChange>, Refusal> {
        let node = self.named(name).ok_or_else(|| no_node(name))?;
        let (mac, before) = (node.kept.mac, node.kept.wishes.clone());
        let mut after = before.clone();
        for (key, text) in set {
            // A key that is taken back has to be one all the same.
            wishes::check(key, text.as_deref().or(before.get(key).map(String::as_str)).unwrap_or("any"))
                .or_else(|sentence| {
                    if text.is_none() && wishes::KEYS.contains(&key.as_str()) {
                        Ok(())
                    } else {
                        Err(sentence)
                    }
                })
                .map_err(Refusal::Wrong)?;
            match text {
                Some(text) => drop(after.insert(key.clone(), text.clone())),
                None => drop(after.remove(key)),
            }
        }
        if wishes::too_many_labels(&after) {
            return Err(Refusal::Wrong("a node has at most 32 labels".to_owned()));
        }
        self.check_free(mac, &after)?;
        let changed = told(name, &before, &after);
        for change in &changed {
            let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let detail = format!("{}: {} → {}", change.key, word(&change.from), word(&change.to));
            self.audit(who, "node-set", name, &detail);
        }
        self.wish(mac, after);
        Ok(changed)
    }

    /// Whether name, address and file of these wishes are nobody else's and there.
    fn check_free(&self, mac: Mac, wishes: &Wishes) -> Result<(), Refusal> {
        let others = || self.nodes.values().filter(|node| node.kept.mac != mac);
        if let Some(name) = wishes.get("name") {
            let has =
                |node: &&Node| node.kept.name.as_str() == name || node.kept.wishes.get("name") == Some(name);
            if RESERVED_NAMES.contains(&name.as_str()) || others().any(|node| has(&node)) {
                return Err(Refusal::Conflict(format!("the name {name} is taken: choose another")));
            }
        }
        if let Some(address) = wishes.get("address").and_then(|text| text.parse::<Ipv4Addr>().ok()) {
            if let Some(other) = others().find(|node| node.fixed == Some(address)) {
                return Err(Refusal::Conflict(format!("{address} belongs to {}", other.kept.name)));
            }
            self.check_address(address).map_err(Refusal::Wrong)?;
        }
        self.check_there(wishes)
    }

    /// Whether the group, the image and the file of these wishes are there.
    pub(super) fn check_there(&self, wishes: &Wishes) -> Result<(), Refusal> {
        if let Some(group) = wishes.get("group").filter(|group| !self.settings.groups.contains_key(*group)) {
            return Err(Refusal::Wrong(format!(
                "there is no group {group}: write a [[group]] into cluster.toml, and `fledermaus apply`"
            )));
        }
        if let Some(image) = wishes.get("image").filter(|image| *image != DEFAULT && !self.images.has(image))
        {
            return Err(Refusal::Wrong(format!(
                "there is no image {image}: name its place in [image.more] of cluster.toml, and `fledermaus apply`"
            )));
        }
        if let Some(file) = wishes.get("user_data")
            && !self.settings.user_data.directory.join(file).is_file()
        {
            let place = self.settings.user_data.directory.display();
            return Err(Refusal::Wrong(format!(
                "`user_data`: there is no {file} in {place}: write it first"
            )));
        }
        Ok(())
    }

    pub(super) fn wish(&mut self, mac: Mac, wishes: Wishes) {
        let Some(node) = self.nodes.get_mut(&mac) else { return };
        node.kept.wishes = wishes;
        node.heed(&self.settings.groups);
        // Nobody knows it by its name yet.
        if node.kept.boot == 0 {
            self.take_name(mac);
        }
        self.remember(mac);
        self.zone_changes();
        self.tend_swarm();
    }

    /// A node gets the name that is wished, and its user data's file goes with it.
    pub(super) fn take_name(&mut self, mac: Mac) {
        let Some((name, old)) =
            self.nodes.get(&mac).and_then(|node| Some((node.new_name()?, node.kept.name.clone())))
        else {
            return;
        };
        if self.named(name.as_str()).is_some() {
            return;
        }
        let library = &self.settings.user_data;
        let (from, to) = (library.own(&old), library.own(&name));
        if from.is_file()
            && !to.exists()
            && let Err(error) = std::fs::rename(&from, &to)
        {
            tracing::error!("renaming {} to {}: {error}", from.display(), to.display());
        }
        self.swarm.renamed(&old, &name);
        if let Some(node) = self.nodes.get_mut(&mac) {
            node.kept.name = name;
        }
        self.zone_changes();
        self.unheard.topic(Topic::Nodes);
    }

    pub(super) fn approve(&mut self, who: &Principal, mac: Mac) -> Result<(), Refusal> {
        if self.nodes.contains_key(&mac) {
            return Err(Refusal::Conflict(format!("{mac} is a node already")));
        }
        let name = self.free_name(mac);
        let mut node = Node::new(mac, name.clone());
        node.kept.approved = true;
        self.nodes.insert(mac, node);
        self.waiting.remove(&mac);
        self.remember(mac);
        self.unheard.topic(Topic::Nodes);
        self.audit(who, "node-approve", name.as_str(), &mac.to_string());
        Ok(())
    }

    pub(super) fn forget(&mut self, who: &Principal, name: &str) -> Result<(), Refusal> {
        let node = self.named(name).ok_or_else(|| no_node(name))?;
        let mac = node.kept.mac;
        if node.kept.applied.is_some() {
            let text =
                format!("{name} is named in cluster.toml: remove it there, and `fledermaus apply` first");
            return Err(Refusal::Conflict(text));
        }
        if self.is_ready(node) {
            let text =
                format!("{name} is in the swarm: power it off, and try again when the swarm has noticed");
            return Err(Refusal::Conflict(text));
        }
        let name_in_swarm = node.kept.name.clone();
        self.nodes.remove(&mac);
        self.forget_index(mac);
        self.ready.remove(&mac);
        self.writes.push(Write::NoNode(mac));
        self.zone_changes();
        self.unheard.topic(Topic::Nodes);
        self.audit(who, "node-forget", name, &mac.to_string());
        self.bid_farewell(name_in_swarm.clone());
        // The board that replaces it, if it is there, has not told anybody another name yet.
        let is_heir = |node: &&Node| node.kept.boot == 0 && node.new_name().as_ref() == Some(&name_in_swarm);
        if let Some(heir) = self.nodes.values().find(is_heir).map(|node| node.kept.mac) {
            self.take_name(heir);
            self.remember(heir);
        }
        Ok(())
    }

    pub(super) fn apply(
        &mut self,
        who: &Principal,
        settings: Settings,
        images: Images,
        dry_run: bool,
    ) -> ApplyView {
        let mut view = ApplyView { changes: Vec::new(), restart: settings.differences(&self.settings) };
        view.changes.extend(settings.changes_since(&self.settings).into_iter().map(of_the_cluster));
        view.changes.extend(self.new_images(&images));
        let mut next: BTreeMap<Mac, (Wishes, Option<Wishes>)> = BTreeMap::new();
        for node in &settings.nodes {
            let file = wishes::of(node);
            let before = self.nodes.get(&node.mac).map(|node| node.kept.wishes.clone()).unwrap_or_default();
            view.changes.extend(told(node.name.as_str(), &before, &file));
            next.insert(node.mac, (file.clone(), Some(file)));
        }
        // Nodes that are not in the file: some once were, and some were set to what is not there any more.
        for node in self.nodes.values().filter(|node| !next.contains_key(&node.kept.mac)).collect::<Vec<_>>()
        {
            let (now, base) = (&node.kept.wishes, node.kept.applied.as_ref());
            let left = base.map_or_else(|| now.clone(), |base| wishes::merged(now, base, &Wishes::new()));
            let after = wishes::that_are_there(&left, &settings.groups, &images);
            view.changes.extend(told(node.kept.name.as_str(), now, &after));
            if base.is_some() || after != *now {
                next.insert(node.kept.mac, (after, None));
            }
        }
        view.changes.extend(new_groups(&self.settings.groups, &settings.groups));
        if !dry_run {
            self.take_over(settings, images, next);
            self.audit(who, "apply", "cluster.toml", &format!("{} changes", view.changes.len()));
        }
        view
    }

    /// The configuration is what the head runs with from now on.
    fn take_over(
        &mut self,
        settings: Settings,
        images: Images,
        next: BTreeMap<Mac, (Wishes, Option<Wishes>)>,
    ) {
        let Settings { boot, user_data, managers, power, groups, nodes, images: sources, .. } = settings;
        let now = self.settings.clone();
        // Boot programs are told and served as at start: as long as they differ, a restart is advised.
        let boot = Boot { programs: now.boot.programs.clone(), ..boot };
        self.settings = Settings { boot, user_data, managers, power, groups, nodes, images: sources, ..now };
        self.images = images.after(&self.images);
        for (mac, (wished, applied)) in next {
            // A name that another board still has is this one's as soon as that is forgotten.
            let name = wished.get("name").filter(|name| self.named(name).is_none());
            let name = name.and_then(|name| name.parse().ok()).unwrap_or_else(|| self.free_name(mac));
            let node = self.nodes.entry(mac).or_insert_with(|| Node::new(mac, name));
            node.kept.applied = applied;
            self.wish(mac, wished);
        }
        for node in self.nodes.values_mut() {
            node.heed(&self.settings.groups);
        }
        self.free_names();
        self.tend_swarm();
        self.unheard.topic(Topic::Nodes);
    }

    /// The images that are others than those that are served.
    fn new_images(&self, images: &Images) -> Vec<NodeChange> {
        let texts = |images: &Images| -> Wishes {
            images.ids().map(|(name, id)| (name.to_owned(), short(&id))).collect()
        };
        let of_image = |(name, from, to)| of_the_cluster((format!("image {name}"), from, to));
        wishes::changes(&texts(&self.images), &texts(images)).into_iter().map(of_image).collect()
    }

    fn image_views(&self) -> Vec<ImageView> {
        let mut counts: BTreeMap<Digest, usize> = BTreeMap::new();
        for id in self.nodes.values().filter_map(|node| node.kept.image) {
            *counts.entry(id).or_default() += 1;
        }
        self.images.views(|id| counts.get(id).copied().unwrap_or_default())
    }

    /// A name and an address have one node: if two wish for it, the one that the file gives it to.
    pub(super) fn free_names(&mut self) {
        for key in ["name", "address"] {
            let by_file = self.nodes.values().filter_map(|node| {
                let own = node.kept.applied.as_ref()?.get(key)?;
                (node.kept.wishes.get(key) == Some(own)).then(|| own.clone())
            });
            let given: BTreeSet<String> = by_file.collect();
            let lost = self.nodes.values().filter(|node| {
                let own = node.kept.applied.as_ref().and_then(|applied| applied.get(key));
                node.kept.wishes.get(key).is_some_and(|text| given.contains(text) && own != Some(text))
            });
            for mac in lost.map(|node| node.kept.mac).collect::<Vec<_>>() {
                let Some(node) = self.nodes.get_mut(&mac) else { continue };
                node.kept.wishes.remove(key);
                node.heed(&self.settings.groups);
                self.remember(mac);
            }
        }
    }

    pub(super) fn export(&self) -> String {
        let mut nodes: Vec<&Node> = self.nodes.values().collect();
        nodes
            .retain(|node| node.kept.approved || node.kept.applied.is_some() || !node.kept.wishes.is_empty());
        nodes.sort_by(|one, other| one.kept.name.cmp(&other.kept.name));
        let table = |node: &Node| {
            let mut wishes = node.kept.wishes.clone();
            wishes.entry("name".to_owned()).or_insert_with(|| node.kept.name.to_string());
            wishes::table(node.kept.mac, &wishes)
        };
        nodes.into_iter().map(table).collect::<Vec<_>>().join("\n")
    }
}

/// A change that is no node's and no group's.
fn of_the_cluster((key, from, to): Change) -> NodeChange {
    NodeChange { node: String::new(), key, from, to }
}

/// What is other in groups.
fn new_groups(before: &Groups, after: &Groups) -> Vec<NodeChange> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let wishes =
        |groups: &Groups, name: &str| groups.get(name).map(|group| group.wishes.clone()).unwrap_or_default();
    let group = |name: &String| told(&format!("group {name}"), &wishes(before, name), &wishes(after, name));
    names.into_iter().flat_map(group).collect()
}

/// The first digits of a digest, for people.
fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(12).collect()
}

fn told(node: &str, before: &Wishes, after: &Wishes) -> Vec<NodeChange> {
    let change = |(key, from, to)| NodeChange { node: node.to_owned(), key, from, to };
    wishes::changes(before, after).into_iter().map(change).collect()
}

#[cfg(test)]
#[path = "inventory/tests.rs"]
mod tests;
