//! A thread of its own for long texts, one at a time: what the analysis of one takes is bounded, and so is what all of
//! them take together. Short ones never wait behind them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The thread; it ends with this.
pub(crate) struct Analyst {
    jobs: mpsc::Sender<Job>,
}

impl Analyst {
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("analyst".to_owned()).spawn(move || {
            for job in waiting {
                job();
            }
        })?;
        Ok(Self { jobs })
    }

    /// Does the work after all that was given before. Whoever no longer waits for it is passed over.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (done, result) = oneshot::channel::<Result<T, Box<dyn Any + Send>>>();
        let job = move || {
            if !done.is_closed() {
                let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
            }
        };
        self.jobs.send(Box::new(job)).map_err(|_| Stopped)?;
        match result.await.map_err(|_| Stopped)? {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the thread that analyzes long texts has ended")]
pub(crate) struct Stopped;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Analyst;

    #[tokio::test(flavor = "multi_thread")]
    async fn one_text_is_analyzed_at_a_time() {
        let analyst = Analyst::start().unwrap();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..16).map(|index| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            analyst.run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                index
            })
        });
        let done = futures::future::join_all(jobs).await;
        assert_eq!(done.into_iter().map(Result::unwrap).collect::<Vec<_>>(), Vec::from_iter(0..16));
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_done() {
        let analyst = Analyst::start().unwrap();
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let first = analyst.run(move || closed.recv().is_ok());
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let mut first = Box::pin(first);
        let mut left = Box::pin(analyst.run(move || count.fetch_add(1, Ordering::SeqCst)));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut left).is_pending());
        drop(left);
        open.send(()).unwrap();
        assert!(first.await.unwrap());
        assert_eq!(analyst.run(|| 7).await.unwrap(), 7);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }
}
