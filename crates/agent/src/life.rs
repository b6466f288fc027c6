//! The stamp on the data partition: says for which life it was made, so that init keeps it at the next boot. Written when
//! the user data has run to a good end, never before.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use cluster::Digest;
use cluster::life::STAMP_FILE;
use cluster::plan::{NodePlan, Wipe};
use sha2::{Digest as _, Sha256};

/// Where init has mounted the data partition.
pub(crate) const DATA: &str = "/data";

/// Stamps the data, if the plan lets it be kept and this is the user data that the plan means: it may have been changed
/// since the plan was made.
///
/// # Errors
/// The stamp cannot be written; the next boot wipes.
pub(crate) fn stamp(plan: &NodePlan, user_data: &[u8], data: &Path) -> Result<()> {
    let (Wipe::OnChange(life), Some(stamp)) = (plan.wipe, plan.life_stamp()) else { return Ok(()) };
    if Digest(Sha256::digest(user_data).into()) != life.user_data {
        return Ok(());
    }
    let draft = data.join(format!("{STAMP_FILE}.new"));
    let mut file = File::create(&draft).context("writing what the data is made for")?;
    file.write_all(stamp.as_bytes()).context("writing what the data is made for")?;
    // What the user data wrote has to be there when its stamp is.
    nix::unistd::sync();
    file.sync_all().context("writing what the data is made for")?;
    fs::rename(&draft, data.join(STAMP_FILE)).context("noting what the data is made for")?;
    File::open(data).and_then(|folder| folder.sync_all()).context("noting what the data is made for")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use cluster::life::{Life, LifeNumber};

    fn plan(wipe: Wipe) -> NodePlan {
        let line = format!(
            "ip=10.0.0.2::10.0.0.1:255.255.255.0:n::off:10.0.0.1 fledermaus.head=10.0.0.1:80 fledermaus.system={}:1 \
             fledermaus.token={} fledermaus.wipe={wipe} foreman_user_data_url=http://x/",
            Digest([0; 32]),
            "ab".repeat(16)
        );
        NodePlan::parse(&line).unwrap()
    }

    #[test]
    fn only_the_user_data_that_the_plan_means_stamps_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"echo hello";
        let life = Life { user_data: Digest(Sha256::digest(text).into()), number: LifeNumber([7; 16]) };
        let kept = plan(Wipe::OnChange(life));
        stamp(&plan(Wipe::Always), text, folder.path()).unwrap();
        stamp(&kept, b"echo changed meanwhile", folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        stamp(&kept, text, folder.path()).unwrap();
        let written = fs::read_to_string(folder.path().join(STAMP_FILE)).unwrap();
        assert_eq!(Some(written), kept.life_stamp());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
