//! The images that a head serves: the default, those that groups and nodes name, and those that these replaced.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use cluster::Digest;
use cluster::view::ImageView;
use depot::Access;

use super::{Image, Source};

/// How many replaced images are kept: nodes that were told of one fetch it still. Their files stay open, and on the disk.
const FORMER_LIMIT: usize = 2;
/// What the image without a name is called where one is needed.
pub(crate) const DEFAULT: &str = "default";

/// Where images are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// That of all nodes for which no other is wished.
    pub(crate) default: Source,
    pub(crate) named: BTreeMap<String, Source>,
}

impl Sources {
    /// Opens and verifies them all, as [`Source::open`]; what has not changed since `now` was opened is not held twice.
    ///
    /// # Errors
    /// The first that cannot be opened, with its name.
    pub(crate) fn open(&self, access: &Access, state_dir: &Path) -> anyhow::Result<Images> {
        let default = Arc::new(self.default.open(access, state_dir)?);
        let mut images = Images { default, named: BTreeMap::new(), former: Vec::new() };
        for (name, source) in &self.named {
            let image =
                source.open(access, state_dir).with_context(|| format!("opening the image `{name}`"))?;
            let image = images.shared(image);
            images.named.insert(name.clone(), image);
        }
        Ok(images)
    }
}

/// Images that were all verified.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    default: Arc<Image>,
    named: BTreeMap<String, Arc<Image>>,
    /// Replaced while the head runs, the newest last.
    former: Vec<Arc<Image>>,
}

impl Images {
    /// Only this one.
    #[cfg(test)]
    pub(crate) fn only(image: Image) -> Self {
        Self { default: Arc::new(image), named: BTreeMap::new(), former: Vec::new() }
    }

    /// With another under this name.
    #[cfg(test)]
    pub(crate) fn and(mut self, name: &str, image: Image) -> Self {
        self.named.insert(name.to_owned(), Arc::new(image));
        self
    }

    /// The image of this name; the default if there is no name, or no such image any more.
    pub(crate) fn of(&self, name: Option<&str>) -> &Arc<Image> {
        name.and_then(|name| self.named.get(name)).unwrap_or(&self.default)
    }

    /// The image whose [`Image::id`] begins with these digits.
    pub(crate) fn by_digits(&self, digits: &str) -> Option<&Arc<Image>> {
        self.all().find(|image| image.id.to_string().starts_with(digits))
    }

    /// The image whose system image is at this path, which is its digest.
    pub(crate) fn by_path(&self, path: &str) -> Option<&Arc<Image>> {
        self.all().find(|image| image.system_sha256.to_string() == path)
    }

    /// These, as the next to be served; of the images that were served before, those that nodes may still fetch are kept,
    /// and those that are the same are held once.
    pub(crate) fn after(mut self, before: &Self) -> Self {
        let same = |image: &Arc<Image>| before.all().find(|old| old.id == image.id).unwrap_or(image).clone();
        self.default = same(&self.default);
        self.named.values_mut().for_each(|image| *image = same(image));
        let mut former: Vec<Arc<Image>> = before.former.clone();
        former.extend(before.named.values().chain([&before.default]).cloned());
        former.retain(|old| self.all().all(|image| image.id != old.id));
        former.dedup_by_key(|image| image.id);
        former.drain(..former.len().saturating_sub(FORMER_LIMIT));
        self.former = former;
        self
    }

    /// Whether there is an image of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// The names and their images, the default first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (&str, Digest)> {
        let named = self.named.iter().map(|(name, image)| (name.as_str(), image.id));
        std::iter::once((DEFAULT, self.default.id)).chain(named)
    }

    /// What an operator sees; `nodes` counts those that run an image.
    pub(crate) fn views(&self, nodes: impl Fn(&Digest) -> usize) -> Vec<ImageView> {
        let former = self.former.iter().map(|image| (None, image));
        let named = self.named.iter().map(|(name, image)| (Some(name.clone()), image));
        let all = std::iter::once((Some(DEFAULT.to_owned()), &self.default)).chain(named).chain(former);
        let view = |(name, image): (Option<String>, &Arc<Image>)| ImageView {
            name,
            id: image.id,
            recipe: image.recipe.clone(),
            kernel_version: image.kernel_version.clone(),
            system: image.system_sha256,
            kernel_bytes: image.kernel.bytes() as u64,
            initramfs_bytes: image.initramfs.bytes() as u64,
            system_bytes: image.system_bytes,
            has_firmware: !image.firmware.is_empty(),
            nodes: nodes(&image.id),
        };
        all.map(view).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Image>> {
        std::iter::once(&self.default).chain(self.named.values()).chain(&self.former)
    }

    /// The image, or the one of these that it is.
    fn shared(&self, image: Image) -> Arc<Image> {
        self.all().find(|held| held.id == image.id).cloned().unwrap_or_else(|| Arc::new(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_was_replaced_is_served_for_a_while() {
        let images = |number| Images::only(Image::numbered(number));
        let first = images(1).and("next", Image::numbered(2));
        let second = images(2).after(&first);
        assert!(second.by_path(&Digest([1; 32]).to_string()).is_some(), "a node may be in the middle of it");
        assert!(Arc::ptr_eq(second.of(None), first.of(Some("next"))), "held once");
        assert_eq!(second.views(|_| 0).len(), 2);
        let mut last = second;
        for number in 3..7 {
            last = images(number).after(&last);
        }
        let held: Vec<u8> = last.all().map(|image| image.system_sha256.0[0]).collect();
        assert_eq!(held, [6, 4, 5], "not more than two");
        assert_eq!(last.of(Some("gone")).system_sha256, Digest([6; 32]), "the default for want of it");
    }
}
