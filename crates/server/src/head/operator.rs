//! What operators change, each with its line in the audit log: both are written in the same turn.

use std::net::IpAddr;

use anyhow::Context;
use cluster::stack::StackWish;
use cluster::swarm::Rollout;
use cluster::view::{
    AccountView, AuditLine, NewToken, PowerDeed, RolloutWish, SwarmEvent, TokenKind, TokenView, TokenWish,
    UserDataVersion,
};
use tokio::sync::broadcast;

use super::access::Refusal;
use super::keeper::Wait;
use super::news::News;
use super::rollout::Steer;
use super::state::State;
use super::{GOING_DOWN, Head, now_ms};
use crate::access::{Account, Principal, Secret};
use crate::store::Write;
use crate::user_data::Owner;

const NO_POWER: &str = "cluster.toml names nothing that works the nodes' power: a program as `hook` in [power], or a web address as `webhook`";

impl Head {
    /// Makes a change that may be refused.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(change).await.unwrap_or_else(|| Err(Refusal::Conflict(GOING_DOWN.to_owned())))
    }

    /// Wants a node rebooted.
    pub(crate) async fn reboot(&self, who: Principal, name: String) -> Result<(), Refusal> {
        self.change(move |state| {
            if !state.reboot(&name) {
                return Err(no_node(&name));
            }
            state.audit(&who, "reboot", &name, "");
            Ok(())
        })
        .await
    }

    /// Has the operator's program or web address work a node's power. Noted in the audit log before.
    pub(crate) async fn power(&self, who: Principal, name: String, deed: PowerDeed) -> Result<(), Refusal> {
        let (way, node) = self
            .change(move |state| {
                let node = state.named(&name).ok_or_else(|| no_node(&name))?;
                let view = node.view(state.address(node), "");
                let power = state.settings.power.as_ref();
                let way = power.ok_or_else(|| Refusal::Conflict(NO_POWER.to_owned()))?.way.clone();
                state.audit(&who, &format!("power-{}", deed.word()), &name, "");
                Ok((way, view))
            })
            .await?;
        // In a task of its own: if whoever asked leaves, a node that is cycled is not left without power.
        let worked = tokio::spawn(async move { way.work(deed, &node).await }).await;
        let worked = worked.context("working the power broke").flatten();
        worked.map_err(|error| Refusal::Conflict(format!("{error:#}")))
    }

    /// Begins a rollout.
    pub(crate) async fn begin_rollout(&self, who: Principal, wish: RolloutWish) -> Result<Rollout, Refusal> {
        self.change(move |state| {
            let rollout = state.begin_rollout(&wish).map_err(Refusal::Conflict)?;
            let given = [("image", &wish.image), ("user data", &wish.user_data)];
            let given =
                given.into_iter().filter_map(|(what, text)| Some(format!(", {what} {}", text.as_ref()?)));
            let detail = format!("{} nodes{}", rollout.nodes.len(), given.collect::<String>());
            state.audit(&who, "rollout-begin", "", &detail);
            Ok(rollout)
        })
        .await
    }

    /// Resumes the rollout, stops it or takes it back.
    pub(crate) async fn steer_rollout(&self, who: Principal, steer: Steer) -> Result<Rollout, Refusal> {
        self.change(move |state| {
            let rollout = state.steer_rollout(steer).map_err(Refusal::Conflict)?;
            state.audit(&who, steer.word(), "", "");
            Ok(rollout)
        })
        .await
    }

    /// Keeps a stack and has it deployed.
    pub(crate) async fn put_stack(
        &self,
        who: Principal,
        name: String,
        wish: StackWish,
    ) -> Result<(), Refusal> {
        self.change(move |state| {
            let text = format!("{} bytes, {} files", wish.compose.len(), wish.files.len());
            state.put_stack(name.clone(), wish).map_err(Refusal::Conflict)?;
            state.audit(&who, "stack-deploy", &name, &text);
            Ok(())
        })
        .await
    }

    /// Has a stack removed.
    pub(crate) async fn remove_stack(&self, who: Principal, name: String) -> Result<(), Refusal> {
        self.change(move |state| {
            if !state.remove_stack(&name) {
                let text = format!("there is no stack {name:?}: `fledermaus stack list` shows all");
                return Err(Refusal::NotThere(text));
            }
            state.audit(&who, "stack-remove", &name, "");
            Ok(())
        })
        .await
    }

    /// Keeps a version of user data, of the node or the template of that name; before it what was found in the file, if
    /// nobody here wrote that.
    pub(crate) async fn note_user_data(
        &self,
        who: Principal,
        owner: Owner,
        name: String,
        found: Option<String>,
        text: String,
    ) -> Result<(), Refusal> {
        let unreadable = |error: anyhow::Error| Refusal::Conflict(format!("reading the history: {error:#}"));
        let newest =
            self.archive.versions(&owner).await.map_err(unreadable)?.first().map(|newest| newest.version);
        let kept = match newest {
            Some(version) => self.archive.version(&owner, version).await.map_err(unreadable)?,
            None => None,
        };
        let foreign = found.filter(|found| kept.as_ref() != Some(found));
        self.change(move |state| {
            if let Some(foreign) = foreign {
                state.keep_version(&owner, ("file", "file".to_owned()), foreign);
            }
            state.audit(&who, "user-data-set", &name, &format!("{} bytes", text.len()));
            state.keep_version(&owner, (&who.name, who.place()), text);
            Ok(())
        })
        .await
    }

    /// The versions of user data, newest first.
    pub(crate) async fn user_data_history(&self, owner: &Owner) -> anyhow::Result<Vec<UserDataVersion>> {
        self.archive.versions(owner).await
    }

    /// The text of one of them.
    pub(crate) async fn user_data_version(
        &self,
        owner: &Owner,
        version: u64,
    ) -> anyhow::Result<Option<String>> {
        self.archive.version(owner, version).await
    }

    /// Who a secret belongs to. Waits for nothing: who was told of it was told after it was on disk.
    pub(crate) async fn principal(&self, secret: String, kind: TokenKind, from: IpAddr) -> Option<Principal> {
        self.put(move |state| (state.principal(&secret, kind, from), Wait::No)).await.flatten()
    }

    /// Makes a token.
    pub(crate) async fn make_token(&self, who: Principal, wish: TokenWish) -> Result<NewToken, Refusal> {
        self.change(move |state| state.make_token(&who, &wish)).await
    }

    /// Tokens, sessions and one-time logins.
    pub(crate) async fn tokens(&self) -> Vec<TokenView> {
        self.ask(|state| state.tokens()).await.unwrap_or_default()
    }

    /// Ends a token or session.
    pub(crate) async fn revoke(&self, who: Principal, id: String) -> Result<(), Refusal> {
        self.change(move |state| state.revoke(&who, &id)).await
    }

    /// Makes a one-time login, and says when it ends.
    pub(crate) async fn make_login(&self, who: Principal) -> Result<(Secret, u64), Refusal> {
        self.change(move |state| state.make_login(&who)).await
    }

    /// Whether nobody ever logged in or was given a token.
    pub(crate) async fn is_unclaimed(&self) -> bool {
        self.ask(|state| state.is_unclaimed()).await.unwrap_or(false)
    }

    /// Whether an address may try to log in.
    pub(crate) async fn may_log_in(&self, from: IpAddr) -> bool {
        self.put(move |state| (state.may_log_in(from), Wait::No)).await.unwrap_or(false)
    }

    /// Uses a one-time login.
    pub(crate) async fn log_in_once(&self, login: String, from: IpAddr) -> Option<(TokenView, Secret)> {
        self.ask(move |state| state.log_in_once(&login, from)).await.flatten()
    }

    /// What is kept of an account's password.
    pub(crate) async fn password_of(&self, name: String) -> Option<String> {
        self.put(move |state| (state.password_of(&name), Wait::No)).await.flatten()
    }

    /// Logs in who gave the right password.
    pub(crate) async fn log_in_with_password(
        &self,
        name: String,
        from: IpAddr,
    ) -> Option<(TokenView, Secret)> {
        self.ask(move |state| state.log_in_with_password(&name, from)).await.flatten()
    }

    /// All accounts.
    pub(crate) async fn accounts(&self) -> Vec<AccountView> {
        self.ask(|state| state.accounts()).await.unwrap_or_default()
    }

    /// Makes or changes an account.
    pub(crate) async fn set_account(&self, who: Principal, mut account: Account) -> Result<(), Refusal> {
        account.set_ms = now_ms();
        self.change(move |state| state.set_account(&who, account)).await
    }

    /// Removes an account.
    pub(crate) async fn remove_account(&self, who: Principal, name: String) -> Result<(), Refusal> {
        self.change(move |state| state.remove_account(&who, &name)).await
    }

    /// The audit log before a line, newest first.
    pub(crate) async fn audit(&self, before: Option<u64>, limit: u32) -> anyhow::Result<Vec<AuditLine>> {
        self.archive.audit(before, limit).await
    }

    /// The swarm's events before one, newest first.
    pub(crate) async fn swarm_events(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> anyhow::Result<Vec<SwarmEvent>> {
        self.archive.events(before, limit).await
    }

    /// What changes from now on, as it is on disk.
    pub(crate) fn news(&self) -> broadcast::Receiver<std::sync::Arc<News>> {
        self.news.subscribe()
    }
}

impl State {
    fn keep_version(&mut self, owner: &Owner, (who, from): (&str, String), text: String) {
        self.versions += 1;
        let version = UserDataVersion {
            version: self.versions,
            at_ms: self.now_ms,
            who: who.to_owned(),
            from,
            bytes: text.len() as u64,
        };
        self.writes.push(Write::UserData(owner.clone(), Box::new((version, text))));
    }
}

/// The sentence for a name that nobody has.
pub(super) fn no_node(name: &str) -> Refusal {
    Refusal::NotThere(format!("there is no node {name:?}: `fledermaus node list` shows all"))
}
