//! What a build tells while it runs. Draws nothing: the caller does.

/// Where a build reports to. The calls come from the thread that called [`crate::build`].
pub trait Progress {
    /// A step begins; the one before has ended.
    fn step(&mut self, name: &str);
    /// The current step did `done` of `total` bytes.
    fn bytes(&mut self, done: u64, total: u64);
    /// Something that a person should know and that does not stop the build: one sentence.
    fn notice(&mut self, text: &str);
}

/// Reports to nobody.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _: &str) {}
    fn bytes(&mut self, _: u64, _: u64) {}
    fn notice(&mut self, _: &str) {}
}
