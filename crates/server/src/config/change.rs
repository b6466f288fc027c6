//! How one configuration differs from another: in what `apply` takes over, and in what a head reads only when it starts.

use super::Settings;
use super::boot::{Boot, Programs};
use crate::head::wishes::{self, Wishes};
use crate::power::Way;
use crate::user_data::Library;

/// A key of the file, what it was and what it is; nothing where the file says nothing and there is no default.
pub(crate) type Change = (String, Option<String>, Option<String>);

impl Settings {
    /// What is other here than in settings before, of what holds for the whole cluster and is taken over while the head runs.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = wishes::changes(&before.whole(), &self.whole());
        let [was, is] = [before, self].map(|settings| settings.power.as_ref().map(|power| &power.way));
        if was != is {
            // The address of a webhook may have a password in it, and these words go to terminals and their logs.
            let word = |way: &Way| match way {
                Way::Hook(program) => format!("hook {}", program.display()),
                Way::Webhook(_) if is == Some(way) && matches!(was, Some(Way::Webhook(_))) => {
                    "another webhook".to_owned()
                }
                Way::Webhook(_) => "webhook".to_owned(),
            };
            changes.push(("[power]".to_owned(), was.map(word), is.map(word)));
        }
        changes
    }

    /// The values that are told as they are. Every field is named: a new one is told, or is one that is read at start.
    fn whole(&self) -> Wishes {
        let Boot { kernel_parameters, wipe, root, programs: _ } = &self.boot;
        let Library { directory, default, url, limit_secs, line: _ } = &self.user_data;
        let texts = [
            ("[boot] kernel_parameters", Some(kernel_parameters.clone()).filter(|text| !text.is_empty())),
            ("[boot] wipe", Some(wipe.word().to_owned())),
            ("[boot] root", Some(root.word().to_owned())),
            ("[user_data] dir", Some(directory.display().to_string())),
            ("[user_data] default", Some(default.clone())),
            ("[user_data] url", url.clone()),
            ("[user_data] limit_secs", Some(limit_secs.to_string())),
            ("[swarm] managers", Some(self.managers.to_string())),
        ];
        texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?))).collect()
    }

    /// The tables and keys in which these settings differ from others, of those that a head reads only when it starts.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        // What is printed of them is all that they hold.
        let texts = |settings: &Self| {
            let Programs { files, bios, uefi_x64, uefi_arm64, ipxe } = &settings.boot.programs;
            let subnets: Vec<_> = settings.subnets.iter().map(|subnet| &subnet.value).collect();
            [
                ("name", format!("{:?}", settings.name)),
                ("domain", format!("{:?}", settings.domain)),
                ("[network]", format!("{:?}", settings.network)),
                ("[[subnet]]", format!("{subnets:?}")),
                ("[boot] files", format!("{files:?}")),
                ("[boot] bios", format!("{bios:?}")),
                ("[boot] uefi_x64", format!("{uefi_x64:?}")),
                ("[boot] uefi_arm64", format!("{uefi_arm64:?}")),
                ("[boot] ipxe", format!("{ipxe:?}")),
                ("[operator]", format!("{:?}", settings.operator)),
                ("[store]", format!("{:?}", settings.store)),
            ]
        };
        let pairs = texts(self).into_iter().zip(texts(other));
        pairs.filter(|(own, other)| own != other).map(|((name, _), _)| name.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    fn told(before: &str, after: &str) -> Vec<Change> {
        let [before, after] =
            [before, after].map(|text| parse(Path::new("/etc/cluster.toml"), text).expect("valid"));
        after.changes_since(&before)
    }

    #[test]
    fn what_holds_for_the_whole_cluster_is_told_key_by_key() {
        let text = "[boot]\nwipe = \"on-change\"\nkernel_parameters = \"quiet\"\n[user_data]\nurl = \"http://x/y\"\n\
                    [swarm]\nmanagers = 3\n[power]\nhook = \"power.sh\"\n";
        let some = |text: &str| Some(text.to_owned());
        let changes = [
            ("[boot] kernel_parameters", None, some("quiet")),
            ("[boot] wipe", some("always"), some("on-change")),
            ("[swarm] managers", some("1"), some("3")),
            ("[user_data] url", None, some("http://x/y")),
            ("[power]", None, some("hook /etc/power.sh")),
        ];
        assert_eq!(told("", text), changes.map(|(key, was, is)| (key.to_owned(), was, is)));
        assert_eq!(told(text, &format!("# Elsewhere in the file.\n\n{text}")), []);
    }

    #[test]
    fn that_a_webhook_changed_is_told_without_its_password() {
        let power = |password| format!("[power]\nwebhook = \"http://me:{password}@plug/{{{{ deed }}}}\"\n");
        let changes = told(&power("one"), &power("other"));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(changes, [("[power]".to_owned(), some("webhook"), some("another webhook"))]);
        assert_eq!(told(&power("one"), &power("one")), []);
        assert_eq!(told(&power("one"), "")[0].1, some("webhook"));
    }
}
