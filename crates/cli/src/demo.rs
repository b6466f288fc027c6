//! `fledermaus lab demo`: the whole promise in one run, from an image to a page served by a swarm.

use std::time::Duration;

use anyhow::Context;
use cluster::NodeName;
use cluster::stack::StackWish;
use lab::Lab;

use crate::arguments::LabNodes;
use crate::laboratory::{self, Measured};
use crate::surroundings::Surroundings;
use crate::{image, stack, table};

/// How long the nodes may take to their swarm.
const SWARM_LIMIT: Duration = Duration::from_secs(600);
/// How long the service may take until its page is there on a node.
const PAGE_LIMIT: Duration = Duration::from_secs(180);
/// The service: a web server of three replicas, from a container that the image brings along.
const HELLO: &str = include_str!("../../../example/stacks/hello.yml");

/// Runs the demo.
///
/// # Errors
/// The first thing that did not work: which node, which phase, and the end of its console.
pub(crate) fn run(
    arguments: &LabNodes,
    chosen: Option<&NodeName>,
    surroundings: &Surroundings,
) -> anyhow::Result<()> {
    image::ensure(arguments.image.as_deref(), surroundings)?;
    println!("Powering on {} blank nodes.", arguments.nodes);
    let lab = laboratory::start(arguments, chosen.map_or("demo", NodeName::as_str), surroundings)?;
    let measured = laboratory::bring_up(&lab, SWARM_LIMIT)?;
    println!("{} of {} nodes Ready. Deploying a service.", measured.ready, measured.nodes);
    let hello = StackWish { compose: HELLO.to_owned(), ..StackWish::default() };
    stack::deploy(&lab.client(), &"hello".parse()?, &hello)?;
    visit_every_node(&lab)?;
    summarise(&lab, &measured)?;
    lab.down()?;
    println!("\nThe lab is gone. Total: {:.1} s from power-on to a swarm.", measured.seconds_to_swarm);
    Ok(())
}

/// The swarm's routing mesh answers on every node, wherever the replicas are.
fn visit_every_node(lab: &Lab) -> anyhow::Result<()> {
    for board in lab.status()?.boards {
        let url = format!("http://{}/", board.address);
        let page = lab.wait_page(&url, PAGE_LIMIT).with_context(|| {
            format!(
                "fetching the page through {}; its console ends:\n{}",
                board.name,
                lab.console(&board.name, 25)
            )
        })?;
        println!("{url} through {}: {}", board.name, first_line(&page.body));
    }
    Ok(())
}

fn summarise(lab: &Lab, measured: &Measured) -> anyhow::Result<()> {
    println!("\n{}", table::nodes(&lab.nodes()?));
    for (node, spans) in &measured.phases {
        println!("\n{node}\n{}", table::spans(spans));
    }
    Ok(())
}

fn first_line(body: &str) -> String {
    body.lines().find(|line| !line.trim().is_empty()).unwrap_or("(empty)").chars().take(100).collect()
}
