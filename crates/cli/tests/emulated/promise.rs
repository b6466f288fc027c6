//! Blank boards become a swarm, and changed nodes come back as fresh installations, without a failed fetch.

use cluster::phase::{Phase, Step};
use cluster::plan::WipePolicy;
use cluster::view::NodeDetail;
use lab::Lab;
use lab::spec::Machine;

use crate::load::roll_out_under_load;
use crate::room::{
    PAGE_LIMIT, SWARM_LIMIT, Wanted, boots, example, fledermaus, lab_up, members, names, swarm,
};

/// Leaves a mark everywhere a node can be written, and fails if one is there already.
const FIRST_LIFE: &str = "#!/bin/sh
set -e
for mark in /data/last-life /root/last-life /etc/last-life; do
  [ ! -e $mark ] || { echo \"$mark is there already\"; exit 1; }
  echo written > $mark
done
docker volume create last-life
tar -c -f - /etc/hostname | docker import - last-life:1
docker create --name last-life last-life:1 /nothing
echo first life
";

/// Says what is left of the first life.
const SECOND_LIFE: &str = "#!/bin/sh
left=$(ls -d /data/last-life /root/last-life /etc/last-life 2>/dev/null | wc -l)
volumes=$(docker volume ls -q | grep -c last-life)
containers=$(docker ps -a | grep -c last-life)
echo \"second life on {{ node.name }}: $left files, $volumes volumes, $containers containers left\"
";

#[test]
fn three_blank_boards_become_a_swarm_and_are_made_new_in_turn_without_a_failed_fetch() {
    let lab = lab_up(&Wanted {
        name: "promise",
        machine: Machine::Virt,
        nodes: 3,
        managers: 1,
        wipe: WipePolicy::Always,
        user_data: FIRST_LIFE,
    });
    lab.wait_ready(3, SWARM_LIMIT).unwrap();
    assert_eq!(members(&lab), names(&["node1", "node2", "node3"]));

    fledermaus(&lab, &["stack", "deploy", "hello", &example("stacks/hello.yml")]);
    for address in ["10.78.0.11", "10.78.0.12", "10.78.0.13"] {
        let page = lab.wait_page(&format!("http://{address}/"), PAGE_LIMIT).unwrap();
        assert!(!page.body.is_empty());
    }
    assert!(user_data_said(&lab, "node2").contains("first life"), "{}", user_data_said(&lab, "node2"));

    let new = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(new.path(), SECOND_LIFE).unwrap();
    fledermaus(&lab, &["user-data", "set", "node2", new.path().to_str().unwrap()]);
    let shown = fledermaus(&lab, &["user-data", "render", "node2"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("second life on node2"));
    let before = boots(&lab);
    roll_out_under_load(&lab, 3, SWARM_LIMIT);
    assert!(
        before.iter().zip(boots(&lab)).all(|(before, after)| after == before + 1),
        "each once: {before:?}"
    );
    let said = user_data_said(&lab, "node2");
    assert!(said.contains("second life on node2: 0 files, 0 volumes, 0 containers left"), "{said}");
    assert_eq!(members(&lab), names(&["node1", "node2", "node3"]));
    assert!(swarm(&lab).members.iter().all(|member| member.ready), "{:?}", swarm(&lab).members);

    let directory = lab.place().directory();
    lab.down().unwrap();
    assert!(!directory.exists());
}

/// What the newest boot's user data printed last, as the timeline has it.
fn user_data_said(lab: &Lab, name: &str) -> String {
    let detail: NodeDetail = lab.client().get(&format!("/v1/nodes/{name}")).unwrap();
    let lines = detail.timeline.iter().rev();
    let ended = lines.into_iter().find(|line| line.phase == Phase::UserData && line.step == Step::Done);
    ended.map(|line| line.detail.clone()).unwrap_or_default()
}
