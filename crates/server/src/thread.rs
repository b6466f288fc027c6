//! A thread with a runtime of its own, for tasks that hand each packet on to one another: between them no processor core
//! is woken, which costs more than the work itself.

use anyhow::Context;
use tokio::sync::oneshot;

/// A running thread. It ends when this is dropped.
pub(crate) struct Thread {
    ended: oneshot::Receiver<anyhow::Result<()>>,
    /// Its end tells the thread.
    _stop: oneshot::Sender<()>,
}

impl Thread {
    /// Starts a thread that runs what `work` makes there, to its end.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub(crate) fn start<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let (tell, ended) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("making a runtime")?;
        let body = move || {
            let result = runtime.block_on(async {
                tokio::select! {
                    result = work() => result,
                    _ = stopped => Ok(()),
                }
            });
            let _ = tell.send(result);
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(body).context("starting a thread")?;
        Ok(Self { ended, _stop: stop })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What its work ended with; that it panicked.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.ended).await.context("the thread panicked")?
    }
}
