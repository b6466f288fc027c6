//! User data: whose it is, what a node gets, and what a change of a template would break. The templates of many nodes are
//! looked at beside the state's task: DHCP must not wait for the disk.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::BootToken;
use cluster::view::TemplateView;

use super::access::Refusal;
use super::{GOING_DOWN, Head};
use crate::user_data::{self, Draft, Facts, Library};

/// Who a node's user data is for, and where its template lies.
#[derive(Clone, Debug)]
pub(crate) struct UserData {
    pub(crate) file: PathBuf,
    pub(crate) own: PathBuf,
    pub(crate) facts: Facts,
}

impl UserData {
    /// What the node gets.
    pub(crate) fn rendered(&self) -> anyhow::Result<String> {
        let template = user_data::read(&self.file)?;
        self.render(&template).with_context(|| format!("rendering {}", self.file.display()))
    }

    /// What it would get of another template.
    pub(crate) fn render(&self, template: &str) -> anyhow::Result<String> {
        user_data::render(template, &self.facts, self.directory(), None)
    }

    /// What it would get if another template, which it may be made of, were as in this draft.
    pub(crate) fn rendered_with(&self, draft: &Draft) -> anyhow::Result<String> {
        let template = if user_data::is_same(&self.file, &self.directory().join(&draft.name)) {
            draft.text.clone()
        } else {
            user_data::read(&self.file)?
        };
        user_data::render(&template, &self.facts, self.directory(), Some(draft))
    }

    /// What the facts' node gets, by the name of the file that is wished for it. Looks at the disk.
    pub(super) fn of(library: &Library, facts: Facts, named: Option<&str>) -> Self {
        // Never the file that [[node]] names: other nodes may share it.
        let own = library.own(&facts.name);
        Self { file: library.file(&facts.name, named), own, facts }
    }

    fn directory(&self) -> &Path {
        self.own.parent().unwrap_or(Path::new("."))
    }
}

impl Head {
    /// What a node's user data is; `None` if the token is not of a boot at that address, or it is burnt.
    pub(crate) async fn user_data(&self, token: BootToken, client: Ipv4Addr) -> Option<UserData> {
        self.ask(move |state| state.user_data_of(&token, client)).await.flatten()
    }

    /// A node's user data, for the operator.
    pub(crate) async fn user_data_named(&self, name: String) -> Option<UserData> {
        self.ask(move |state| state.user_data_named(&name)).await.flatten()
    }

    /// The file of a template that nodes share.
    pub(crate) async fn shared_user_data(&self, name: String) -> Result<PathBuf, Refusal> {
        self.change(move |state| state.shared_user_data(&name)).await
    }

    /// Whether no node that gets user data now would get none any more if a template were as in this draft. Of a thousand
    /// nodes at most.
    pub(crate) async fn check_user_data(&self, draft: Draft) -> anyhow::Result<()> {
        let (library, nodes) = self.ask(|state| state.recipients()).await.context(GOING_DOWN)?;
        let check = move || {
            user_data::check_place(&library.directory, &draft.name)?;
            user_data::check_syntax(&draft)?;
            for (facts, named) in nodes {
                let user = UserData::of(&library, facts, named.as_deref());
                if let Err(error) = user.rendered_with(&draft)
                    && user.rendered().is_ok()
                {
                    anyhow::bail!("{} would get no user data any more: {error:#}", user.facts.name);
                }
            }
            Ok(())
        };
        tokio::task::spawn_blocking(check).await.context("checking the user data broke")?
    }

    /// All templates.
    pub(crate) async fn templates(&self) -> Vec<TemplateView> {
        let Some((library, nodes)) = self.ask(|state| state.names_of_templates()).await else {
            return Vec::new();
        };
        let look = move || {
            let mut users: HashMap<PathBuf, (u64, bool)> = HashMap::new();
            for (node, named) in &nodes {
                let file = library.file(node, named.as_deref());
                let is_own = file == library.own(node);
                let (count, own) = users.entry(file).or_default();
                (*count, *own) = (*count + 1, *own || is_own);
            }
            let view = |(name, bytes): (String, u64)| {
                let file = library.directory.join(&name);
                let (nodes, own) = users.get(&file).copied().unwrap_or_default();
                TemplateView { name, bytes, nodes, own }
            };
            library.list().into_iter().map(view).collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}
