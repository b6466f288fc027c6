//! Several threads that take jobs off one list, in its order, and tell the caller's thread how far they are. Knows nothing
//! of what the jobs are.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::Result;

/// How many messages per thread may wait to be heard.
const UNHEARD_LIMIT: usize = 4;

/// Does all jobs, up to `workers` at once. `work` gets a job with its number and tells what `hear` shall hear, on the
/// caller's thread; where telling answers `false`, another job has failed and nobody listens any more.
///
/// # Errors
/// The first error of a job; jobs that were not begun by then never are.
pub(crate) fn run<Job: Sync, Message: Send>(
    workers: usize,
    jobs: &[Job],
    work: impl Fn(usize, &Job, &dyn Fn(Message) -> bool) -> Result<()> + Sync,
    mut hear: impl FnMut(Message),
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let (told, heard) = mpsc::sync_channel::<Result<Message>>(workers * UNHEARD_LIMIT);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(jobs.len()) {
            let (told, next, work) = (told.clone(), &next, &work);
            scope.spawn(move || {
                let is_heard = Cell::new(true);
                let tell = |message| {
                    is_heard.set(told.send(message).is_ok());
                    is_heard.get()
                };
                while is_heard.get() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { return };
                    if let Err(error) = work(number, job, &|message| tell(Ok(message))) {
                        tell(Err(error));
                    }
                }
            });
        }
        drop(told);
        // Leaving the loop drops the receiver, which ends the workers when they tell something next.
        for message in heard {
            hear(message?);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_and_all_of_it_is_heard() {
        let jobs: Vec<usize> = (0..100).collect();
        let mut heard = Vec::new();
        let work = |number: usize, job: &usize, tell: &dyn Fn((usize, usize)) -> bool| {
            assert!(tell((number, 0)) && tell((*job, 1)));
            Ok(())
        };
        run(3, &jobs, work, |message| heard.push(message)).expect("nothing fails");
        heard.sort_unstable();
        let all: Vec<_> = jobs.iter().flat_map(|job| [(*job, 0), (*job, 1)]).collect();
        assert_eq!(heard, all);
        run(3, &[], work, |_| panic!("there is no job")).expect("nothing to do");
    }

    #[test]
    fn the_first_error_ends_it_and_what_was_not_begun_is_left() {
        let (jobs, begun) = ([(); 10_000], AtomicUsize::new(0));
        let work = |number: usize, (): &(), tell: &dyn Fn(usize) -> bool| {
            begun.fetch_add(1, Ordering::Relaxed);
            anyhow::ensure!(number != 5, "job {number} is too much");
            tell(number);
            Ok(())
        };
        let error = run(2, &jobs, work, |_| {}).expect_err("one fails");
        assert_eq!(error.to_string(), "job 5 is too much");
        assert!(begun.into_inner() < jobs.len());
    }
}
